import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { MiB, PrimaError, seededRandom } from '@prima/base';
import type { ObjectStore } from '@prima/storage';
import { openRepository } from '../repository.ts';
import { backup, diskOf, fresh, secret, small, sound } from '../repository-fixture.ts';

test('every flipped, cut, swapped or missing object is found, named and never restored silently', async () => {
  const { store, repository } = await fresh();
  const device = await diskOf(3 * MiB, [{ offset: 0, length: 3 * MiB }]);
  await backup(repository, device);
  await device.write(0, randomBytes(2 * MiB));
  await backup(repository, device);
  const objects = new Map<string, Uint8Array>();
  for await (const { key } of store.list('')) objects.set(key, Uint8Array.from(await store.get(key)));
  const seed = Date.now() % 1e6;
  const random = seededRandom(seed);
  const keys = [...objects.keys()].filter((key) => !key.endsWith('/marker'));
  const replace = async (key: string, bytes: Uint8Array | undefined) => {
    await store.delete(key);
    if (bytes) await store.putIfAbsent(key, bytes);
  };
  for (const key of keys) {
    const whole = objects.get(key) ?? new Uint8Array();
    const flipped = Uint8Array.from(whole);
    const at = random.below(whole.length);
    flipped[at] = (flipped[at] ?? 0) ^ (1 << random.below(8));
    const twin = keys.find((other) => other !== key && other.split('/')[0] === key.split('/')[0]);
    const damages: [string, Uint8Array | undefined][] = [
      ['flipped', flipped],
      ['cut', whole.subarray(0, random.below(whole.length))],
      ['missing', undefined],
      ...(twin ? [['swapped', objects.get(twin)] as [string, Uint8Array | undefined]] : []),
    ];
    for (const [what, bytes] of damages) {
      await replace(key, bytes);
      const message = `${what} ${key} (byte ${at}, seed ${seed})`;
      assert.ok(await isDetected(store), message);
      await replace(key, whole);
    }
  }
  await sound(await openRepository(store, secret, small));
});

/** True when opening raises or a full check reports. */
async function isDetected(store: ObjectStore): Promise<boolean> {
  try {
    const repository = await openRepository(store, secret, small);
    const report = await repository.check({ readData: true });
    return (
      report.faults.length > 0 ||
      report.leftovers.some((text) => /log of roots|is damaged|belongs to no/.test(text))
    );
  } catch (error) {
    assert.ok(error instanceof PrimaError && error.code !== 'internal', String(error));
    return true;
  }
}
