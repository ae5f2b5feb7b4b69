/** Hot and cold backups of a plain QEMU host's machine: consistent, incremental, and distrustful where they must be. */
import assert from 'node:assert/strict';
import { appendFile, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { MiB, runProgram, systemClock } from '@prima/base';
import { type Machine, type MachineReading, openFolder } from '@prima/platforms';
import { waitUntil } from '@prima/testbed';
import {
  applyChanges,
  assertCleanFileSystem,
  assertSameFiles,
  assertUntouched,
  createGuest,
  failureOf,
  inRun,
  saveReading,
  shell,
  startGuest,
  type TestHost,
  testHost,
} from './qemu-host-fixture.ts';

test('hot and cold backups of one machine', async (t) => {
  const host = await testHost(t);
  const { platform, scratch } = host;
  let machine = await startGuest(host, await createGuest(host, 'db01'));
  const opened: MachineReading[] = [];
  t.after(() => Promise.all(opened.map((reading) => reading.close())));
  const open = async (options: object = {}) => {
    const reading = await platform.openForBackup(machine, { mode: 'auto', owner: 'one', ...options });
    opened.push(reading);
    return reading;
  };
  let since: MachineReading['checkpoint'] | undefined;

  await t.test('a first hot backup is quiesced, stands still, and leaves nothing behind', async () => {
    const reading = await open();
    assert.equal(reading.mode, 'hot');
    assert.equal(reading.quiesced, true, reading.why.join('; '));
    assert.deepEqual(reading.skipped, []);
    for (const disk of reading.disks) assert.match(disk.whyFull ?? '', /no earlier point/);
    assert.deepEqual(
      reading.files.map(({ name }) => name),
      ['db01.vmx', 'machine.launch.json'],
    );
    const files = await saveReading(reading, scratch, 'full');
    const busy = await failureOf(open());
    assert.equal(busy.code, 'busy');
    assert.match(busy.message, /a hot backup/);
    await systemClock.sleep(2000); // the guest overwrites what was just read
    for (const [index, again] of (await saveReading(reading, scratch, 'again')).entries()) {
      await assertSameFiles(files[index] ?? '', again);
      await assertCleanFileSystem(again);
    }
    await reading.succeed();
    await reading.close();
    await assertUntouched(machine, 1);
    since = reading.checkpoint;
  });

  await t.test('an incremental one, put over the first, is the same as a full one', async () => {
    const reading = await open({ since });
    const whole = await saveReading(reading, scratch, 'whole');
    for (const index of [0, 1]) {
      const file = join(scratch, `full-disk${index}.raw`);
      const bytes = await applyChanges(reading, index, file);
      assert.ok(bytes < 64 * MiB, `${bytes} bytes have changed`);
      await assertSameFiles(file, whole[index] ?? '');
    }
    await reading.close(); // it failed: no `succeed`
    await assertUntouched(machine, 1);
  });

  await t.test('after one that failed the next still starts from the same point', async () => {
    const reading = await open({ since });
    const whole = await saveReading(reading, scratch, 'whole2');
    await applyChanges(reading, 1, join(scratch, 'full-disk1.raw'));
    await assertSameFiles(join(scratch, 'full-disk1.raw'), whole[1] ?? '');
    await reading.succeed();
    await reading.close();
    since = reading.checkpoint;
  });

  await t.test('two repositories do not disturb each other', async () => {
    const other = await platform.openForBackup(machine, { mode: 'hot', owner: 'two' });
    await other.succeed();
    await other.close();
    await assertUntouched(machine, 2);
    const reading = await open({ since });
    assert.ok(reading.disks.every(({ changed }) => changed));
    await reading.close();
    const strange = await open({ since: other.checkpoint, owner: 'three' });
    await strange.close();
    await assertUntouched(machine, 2);
  });

  await t.test('a full scratch file fails the backup, never the guest', async () => {
    const reading = await open({ scratch: { limitBytes: 2 * MiB } });
    const overwrite = 'dd if=/dev/urandom of=/data/churn bs=64k count=256 conv=notrunc,fsync 2>/dev/null';
    await shell(machine, `${overwrite}; rm -f /data/churn /data/records; sync`);
    const { code, message } = await failureOf(saveReading(reading, scratch, 'overflow'));
    assert.equal(code, 'no-space', message);
    assert.match(message, /scratch file .* is full/);
    await reading.close();
    assert.equal(await shell(machine, 'echo fine > /data/after; sync; cat /data/after'), 'fine');
    await assertUntouched(machine, 2);
  });

  await t.test('a paused machine stays paused', async () => {
    await platform.power(machine, 'pause');
    const reading = await open({ since });
    assert.equal(reading.quiesced, false);
    await reading.close();
    assert.equal((await platform.find('db01')).state, 'paused');
    await platform.power(machine, 'continue');
  });

  await t.test('off: cold, incremental where the file keeps the bitmap', async () => {
    const last = await open({ since });
    const [before] = await saveReading(last, scratch, 'last');
    await last.succeed();
    await last.close();
    await platform.power(machine, 'stop');
    const reading = await open({ since: last.checkpoint });
    assert.equal(reading.mode, 'cold');
    assert.match(reading.disks[1]?.whyFull ?? '', /stopped or restarted/);
    const busy = await failureOf(platform.power(machine, 'start'));
    assert.equal(busy.code, 'busy', busy.message);
    await applyChanges(reading, 0, before ?? '');
    const [now] = await saveReading(reading, scratch, 'cold');
    await assertSameFiles(before ?? '', now ?? '');
    await reading.succeed();
    await reading.close();
    since = reading.checkpoint;
  });

  await t.test('the next hot one starts from the cold one', async () => {
    machine = await startGuest(host, machine);
    const reading = await open({ since });
    const [, second] = reading.disks;
    const [file] = await saveReading(reading, scratch, 'warmed');
    const cold = join(scratch, 'cold-disk0.raw');
    await applyChanges(reading, 0, cold);
    await assertSameFiles(cold, file ?? '');
    assert.match(second?.whyFull ?? '', /no changes were tracked/);
    await reading.close();
  });

  await t.test('after a crash of QEMU nothing is believed, and it says why', async () => {
    machine = await crash(host, machine);
    const reading = await open({ since });
    assert.match(reading.disks[0]?.whyFull ?? '', /inconsistent: the machine crashed/);
    assert.match(reading.disks[1]?.whyFull ?? '', /no changes were tracked/);
    await reading.succeed();
    await reading.close();
    await assertUntouched(machine, 1);
    since = reading.checkpoint;
    const interrupted = await open({ since });
    process.kill(Number(await readFile(inRun(machine, 'qemu.pid'), 'utf8')), 'SIGKILL');
    const { code, message } = await failureOf(saveReading(interrupted, scratch, 'interrupted'));
    assert.equal(code, 'source-changed', message);
    await interrupted.close();
    assert.deepEqual(
      (await readdir(inRun(machine, ''))).filter((name) => /^scratch|^backup/.test(name)),
      [],
    );
    const cold = await waitForOff(host, machine, () => open({ since }));
    assert.match(cold.disks[0]?.whyFull ?? '', /bitmap is gone: the machine crashed/);
    assert.match(cold.disks[1]?.whyFull ?? '', /stopped or restarted/);
    await cold.succeed();
    await cold.close();
    since = cold.checkpoint;
  });

  await t.test('a resized disk, a new disk, a removed bitmap: read in full, and it says why', async () => {
    const folder = machine.folder ?? '';
    await runProgram('qemu-img', ['resize', '-q', '-f', 'qcow2', join(folder, 'disk0.qcow2'), '160M']);
    await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', join(folder, 'new.qcow2'), '32M']);
    await appendFile(
      join(folder, 'db01.vmx'),
      'scsi0:2.present = "TRUE"\nscsi0:2.fileName = "new.qcow2"\nscsi0:3.fileName = "gone.raw"\n',
    );
    machine = await platform.find('db01');
    const cold = await open({ since });
    assert.match(cold.disks[0]?.whyFull ?? '', /resized, from 134217728 to 167772160/);
    assert.match(cold.disks[2]?.whyFull ?? '', /added since/);
    assert.deepEqual(
      cold.skipped.map(({ disk }) => disk.slot),
      ['scsi0:3'],
    );
    assert.match(cold.skipped[0]?.why ?? '', /gone\.raw/);
    await cold.succeed();
    await cold.close();
    const [name = ''] = (await bitmapNames(join(folder, 'disk0.qcow2'))) ?? [];
    await runProgram('qemu-img', ['bitmap', '--remove', '-f', 'qcow2', join(folder, 'disk0.qcow2'), name]);
    const again = await open({ since: cold.checkpoint });
    assert.match(again.disks[0]?.whyFull ?? '', /bitmap is gone/);
    assert.equal(again.disks[2]?.changed?.length, 0);
    await again.close();
  });

  await t.test('a folder that no host has loaded', async () => {
    const { platform: folderPlatform, machine: found } = await openFolder(machine.folder ?? '');
    assert.equal(found.id, machine.id);
    const reading = await folderPlatform.openForBackup(found, { mode: 'auto', owner: 'one' });
    assert.equal(reading.mode, 'cold');
    assert.equal(reading.disks.length, 3);
    await reading.close();
  });
});

/** Kills QEMU as a crash would, and starts the machine again. */
async function crash(host: TestHost, machine: Machine): Promise<Machine> {
  process.kill(Number(await readFile(inRun(machine, 'qemu.pid'), 'utf8')), 'SIGKILL');
  return waitForOff(host, machine, () => startGuest(host, machine));
}

async function waitForOff<T>(host: TestHost, machine: Machine, task: () => Promise<T>): Promise<T> {
  const off = async () => (await host.platform.find(machine.name)).state === 'off';
  await waitUntil(off, { what: `${machine.name} to be off` });
  return task();
}

async function bitmapNames(path: string): Promise<string[]> {
  const { stdout } = await runProgram('qemu-img', ['info', '--output=json', path]);
  const info = JSON.parse(stdout) as { 'format-specific': { data: { bitmaps?: { name: string }[] } } };
  return (info['format-specific'].data.bitmaps ?? []).map(({ name }) => name);
}
