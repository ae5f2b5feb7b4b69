/** Warm backups within a chain of points: what changed after one is known to the next. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Checkpoint } from '@prima/platforms';
import { temporaryFolder } from '@prima/testbed';
import { defineGuest, libvirtWorld, shell, startGuest, verifyGuest } from './libvirt-fixture.ts';
import { applyChanges, assertSameFiles, saveReading } from './qemu-host-fixture.ts';

test('a warm backup reads all disks, and the next hot one what changed since', async (t) => {
  const world = await libvirtWorld(t);
  const { platform } = world;
  const folder = await temporaryFolder(t);
  const machine = await startGuest(world, await defineGuest(world, 'web'));
  const read = async (mode: 'hot' | 'warm', owner: string, since?: Checkpoint) => {
    const reading = await platform.openForBackup(machine, { mode, owner, ...(since ? { since } : {}) });
    const files = await saveReading(reading, folder, `${owner}-${mode}`);
    await reading.committing?.();
    await reading.succeed();
    return { reading, files };
  };
  const first = await read('hot', 'a');
  await first.reading.close();
  const other = await read('hot', 'b');
  await other.reading.close();
  await shell(world, 'web', 'dd if=/dev/urandom of=/one bs=64k count=20; sync');
  const warm = await read('warm', 'a', first.reading.checkpoint);
  for (const { whyFull } of warm.reading.disks) assert.match(whyFull ?? '', /its memory was saved/);
  await warm.reading.close();
  await shell(world, 'web', 'dd if=/dev/urandom of=/two bs=64k count=20; sync');
  for (const [owner, before] of [
    ['a', warm],
    ['b', other],
  ] as const) {
    const files = before.files;
    const next = await platform.openForBackup(machine, {
      mode: 'hot',
      owner,
      since: before.reading.checkpoint,
    });
    const whole = await saveReading(next, folder, `${owner}-next`);
    for (const index of [0, 1]) {
      await applyChanges(next, index, files[index] ?? '');
      await assertSameFiles(files[index] ?? '', whole[index] ?? '');
    }
    await next.close();
  }
  assert.equal((await verifyGuest(world, 'web')).bad, 0);
});
