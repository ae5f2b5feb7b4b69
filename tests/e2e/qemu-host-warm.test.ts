/** Warm backups and restores: the machine goes on exactly where its memory was taken. */
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { copyDevice, openRawFile, type WritableDevice } from '@prima/block';
import type { ConfigFile, Machine, Platform, RestoreTarget } from '@prima/platforms';
import { verifyRecords } from '@prima/testbed';
import {
  assertCleanFileSystem,
  assertUntouched,
  createGuest,
  failureOf,
  saveDevice,
  saveReading,
  shell,
  startGuest,
  type TestHost,
  testHost,
  withAgent,
} from './qemu-host-fixture.ts';

/** What a restore point would hold. */
interface Saved {
  id: string;
  files: readonly ConfigFile[];
  disks: { slot: string; name: string; size: number; format: string; file: string }[];
  memory?: string;
  memorySize: number;
}

test('a warm backup is restored where it was', async (t) => {
  const host = await testHost(t);
  const { platform, root } = host;
  let machine = await startGuest(host, await createGuest(host, 'app01'));
  const before = await facts(machine);
  const saved = await save(host, machine, 'warm');
  await assertUntouched(machine, 0);
  const after = await facts(machine);
  assert.equal(after.bootId, before.bootId);

  await t.test('a copy beside the original gets an identity of its own', async () => {
    const target = await prepare(platform, saved, 'app02');
    assert.match(target.notes.join('; '), /new UUID/);
    assert.deepEqual(
      (await platform.inventory()).map(({ name }) => name),
      ['app01'],
    );
    await fill(target, saved);
    const copy = await target.commit();
    await target.abort(); // does nothing any more
    assert.equal(copy.state, 'suspended');
    assert.notEqual(copy.id, machine.id);
    await platform.delete(copy);
  });

  await t.test('an aborted restore leaves nothing', async () => {
    const names = await readdir(root);
    const target = await prepare(platform, saved, 'app03');
    await target.abort();
    await target.abort();
    assert.deepEqual(await readdir(root), names);
    assert.equal((await failureOf(prepare(platform, saved, 'app01'))).code, 'exists');
    assert.equal((await failureOf(prepare(platform, saved, '../app03'))).code, 'usage');
  });

  await t.test('the original, gone and restored, goes on: same boot, no record lost', async () => {
    await platform.power(machine, 'kill');
    await platform.delete(machine);
    const target = await prepare(platform, saved, 'app01');
    await fill(target, saved);
    const restored = await target.commit({ start: true });
    assert.equal(restored.state, 'running');
    assert.equal(restored.id, machine.id);
    const now = await facts(restored);
    assert.equal(now.bootId, before.bootId);
    assert.ok(now.counter >= before.counter, `the counter went from ${before.counter} to ${now.counter}`);
    const report = await withAgent(restored, (agent) => verifyRecords(agent));
    assert.equal(report.bad, 0, JSON.stringify(report));
    assert.ok(report.records > 0);
    machine = restored;
  });

  await t.test('a hot backup, restored and started anew, has all records too', async () => {
    const hot = await save(host, machine, 'hot');
    for (const { file } of hot.disks) await assertCleanFileSystem(file);
    await platform.power(machine, 'kill');
    await platform.delete(machine);
    const target = await prepare(platform, hot, 'app04');
    await fill(target, hot);
    const restored = await startGuest(host, await target.commit());
    assert.notEqual((await facts(restored)).bootId, before.bootId);
    const report = await withAgent(restored, (agent) => verifyRecords(agent));
    assert.equal(report.bad, 0, JSON.stringify(report));
  });
});

async function facts(machine: Machine): Promise<{ bootId: string; counter: number }> {
  const [bootId = '', counter] = (
    await shell(machine, 'cat /proc/sys/kernel/random/boot_id /run/counter')
  ).split('\n');
  return { bootId, counter: Number(counter) };
}

async function save(host: TestHost, machine: Machine, mode: 'hot' | 'warm'): Promise<Saved> {
  const reading = await host.platform.openForBackup(machine, { mode, owner: 'one' });
  try {
    assert.equal(reading.mode, mode);
    assert.equal(reading.quiesced, mode === 'hot', reading.why.join('; '));
    assert.equal(reading.memory !== undefined, mode === 'warm');
    const files = await saveReading(reading, host.scratch, mode);
    const memory = reading.memory && (await saveDevice(reading.memory, join(host.scratch, `${mode}-memory`)));
    return {
      id: machine.id,
      files: reading.files,
      disks: reading.disks.map(({ disk }, index) => ({ ...disk, file: files[index] ?? '' })),
      memory,
      memorySize: reading.memory?.size ?? 0,
    };
  } finally {
    await reading.close();
  }
}

async function prepare(platform: Platform, saved: Saved, name: string): Promise<RestoreTarget> {
  const { id, files, disks, memory, memorySize } = saved;
  return platform.prepareRestore({
    id,
    name,
    files,
    disks,
    memory: memory === undefined ? undefined : { size: memorySize },
  });
}

async function fill(target: RestoreTarget, saved: Saved): Promise<void> {
  const copy = async (path: string, device: WritableDevice) => {
    const source = await openRawFile(path);
    try {
      await copyDevice(source, device, { targetIsZero: true });
    } finally {
      await source.close();
    }
  };
  for (const { slot, device } of target.disks) {
    assert.ok(device);
    await copy(saved.disks.find((disk) => disk.slot === slot)?.file ?? '', device);
  }
  if (target.memory) await copy(saved.memory ?? '', target.memory);
}
