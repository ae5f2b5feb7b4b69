/** Redo logs of a machine that writes: added, stacked, merged while it runs; and what its disks' modes make of them. */
import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Machine } from '@prima/platforms';
import { verifyRecords } from '@prima/testbed';
import {
  assertCleanFileSystem,
  assertUntouched,
  createGuest,
  failureOf,
  saveReading,
  shell,
  startGuest,
  type TestHost,
  testHost,
  withAgent,
} from './qemu-host-fixture.ts';

/** Every record that the guest wrote is there. */
async function assertRecords(machine: Machine, after = 0): Promise<number> {
  const report = await withAgent(machine, (agent) => verifyRecords(agent));
  assert.equal(report.bad, 0, JSON.stringify(report));
  assert.ok(report.last > after, `it has written on: ${report.last} after ${after}`);
  return report.last;
}

async function logFiles(machine: Machine): Promise<string[]> {
  return (await readdir(machine.folder ?? '')).filter((name) => /REDO|redo/.test(name)).sort();
}

function redoOf({ platform }: TestHost) {
  return platform.redo ?? assert.fail('the host has redo logs');
}

test('redo logs of a running machine', async (t) => {
  const host = await testHost(t);
  const { platform, scratch } = host;
  const redo = redoOf(host);
  const look = () => platform.find('web01');
  let machine = await startGuest(host, await createGuest(host, 'web01'));
  const folder = machine.folder ?? '';
  let last = await assertRecords(machine);

  await t.test('a log on every disk, all at one moment', async () => {
    const { done, frozenMs, why } = await redo.add(machine);
    assert.deepEqual(
      done.map(({ disk }) => disk),
      ['scsi0:0', 'scsi0:1'],
    );
    assert.ok(frozenMs !== undefined, why.join('; '));
    machine = await look();
    assert.deepEqual(
      machine.disks.map(({ path }) => path),
      [join(folder, 'disk0.qcow2.REDO'), join(folder, 'disk1.raw.REDO')],
    );
    assert.equal(machine.disks[0]?.base, join(folder, 'disk0.qcow2'));
    await assertCleanFileSystem(join(folder, 'disk1.raw'));
    last = await assertRecords(machine, last);
  });

  await t.test('a second one, the first one merged while it takes the writes, then the second', async () => {
    await redo.add(machine);
    last = await assertRecords(machine, last);
    const beneath = await redo.commit(machine, { level: 1 });
    assert.equal(beneath.done.length, 2);
    assert.equal(beneath.pausedMs, undefined, 'nobody notices');
    assert.deepEqual(await logFiles(machine), [
      'disk0.qcow2.REDO.REDO',
      'disk0.qcow2.redo.json',
      'disk1.raw.REDO.REDO',
      'disk1.raw.redo.json',
    ]);
    last = await assertRecords(machine, last);
    const { pausedMs } = await redo.commit(machine, { level: 0 });
    assert.ok(pausedMs !== undefined);
    t.diagnostic(`paused for ${Math.round(pausedMs)} ms for two disks`);
    assert.deepEqual(await logFiles(machine), []);
    last = await assertRecords(machine, last);
    await assertUntouched(machine, 0);
  });

  await t.test('with freeze the machine stands still for all of it', async () => {
    await redo.add(machine, { disks: ['disk1'] });
    await redo.commit(machine, { freeze: true });
    last = await assertRecords(machine, last);
    assert.deepEqual(await logFiles(machine), []);
  });

  await t.test('what a running machine has read cannot be taken back', async () => {
    await redo.add(machine, { quiesce: false });
    const { code, message } = await failureOf(redo.discard(machine));
    assert.equal(code, 'state', message);
    assert.match(message, /cannot be discarded while it is running/);
  });

  await t.test(
    'a hot backup by bitmaps works over logs, and reads all where the disk is another',
    async () => {
      const reading = await platform.openForBackup(machine, { mode: 'hot', owner: 'one' });
      const files = await saveReading(reading, scratch, 'over-logs');
      for (const file of files) await assertCleanFileSystem(file);
      await reading.succeed();
      await reading.close();
      await redo.commit(machine);
      const next = await platform.openForBackup(machine, {
        mode: 'hot',
        owner: 'one',
        since: reading.checkpoint,
      });
      for (const { whyFull } of next.disks) assert.match(whyFull ?? '', /another disk was there/);
      await next.close();
      last = await assertRecords(machine, last);
    },
  );

  await t.test('a hot backup by redo logs', async () => {
    const reading = await platform.openForBackup(machine, { mode: 'hot', owner: 'one', method: 'redo' });
    assert.equal(reading.quiesced, true, reading.why.join('; '));
    last = await assertRecords(machine, last);
    const files = await saveReading(reading, scratch, 'by-redo');
    for (const file of files) await assertCleanFileSystem(file);
    await reading.succeed();
    await reading.close();
    assert.deepEqual(await logFiles(machine), []);
    last = await assertRecords(machine, last);
    await assertUntouched(machine, 1);
  });

  await t.test('a suspended machine goes on in its memory and its logs', async () => {
    await redo.add(machine);
    await platform.power(machine, 'suspend');
    const refused = await failureOf(redo.discard(await look()));
    assert.equal(refused.code, 'state', refused.message);
    await redo.commit(await look(), {});
    await redo.add(await look());
    machine = await platform.power(await look(), 'resume');
    last = await assertRecords(machine, last);
    await redo.commit(machine);
  });

  await t.test('QEMU killed while logs are there: the next start is right', async () => {
    await redo.add(machine);
    await shell(machine, 'echo kept > /data/mark; sync');
    await platform.power(machine, 'kill');
    machine = await startGuest(host, await look());
    assert.equal(await shell(machine, 'cat /data/mark'), 'kept');
    last = await assertRecords(machine);
    await redo.commit(machine);
    assert.equal(await shell(machine, 'cat /data/mark'), 'kept');
  });

  await t.test('off: merged and discarded by our own code', async () => {
    await shell(machine, 'echo base > /data/mark; sync');
    await platform.power(machine, 'stop');
    await redo.add(await look(), { disks: ['disk1'] });
    machine = await startGuest(host, await look());
    await shell(machine, 'echo log > /data/mark; sync');
    await platform.power(machine, 'stop');
    await redo.discard(await look());
    machine = await startGuest(host, await look());
    assert.equal(await shell(machine, 'cat /data/mark'), 'base');
    await platform.power(machine, 'stop');
    assert.deepEqual(await logFiles(machine), []);
  });

  await t.test('a foreign log keeps the machine from starting', async () => {
    const foreign = join(folder, 'disk1.raw.REDO');
    await writeFile(foreign, 'what another tool left');
    const { code, message } = await failureOf(platform.power(await look(), 'start'));
    assert.equal(code, 'refused', message);
    assert.match(message, /did not make: disk1.raw.REDO/);
    const reading = await platform.openForBackup(await look(), { mode: 'cold', owner: 'one' });
    await reading.close();
    assert.match(reading.why.join('; '), /without redo logs that Prima did not make: disk1.raw.REDO;/);
    assert.equal(await readFile(foreign, 'utf8'), 'what another tool left');
  });
});

test('disk modes', async (t) => {
  const host = await testHost(t);
  const { platform } = host;
  const made = await createGuest(host, 'app01');
  const vmx = join(made.folder ?? '', 'app01.vmx');
  const text = await readFile(vmx, 'utf8');
  const mode = (name: string) => writeFile(vmx, `${text}scsi0:1.mode = "${name}"\n`);
  const look = () => platform.find('app01');
  const run = async (script: string, options: object = {}, end: object = {}) => {
    const { platform: own } = host;
    await own.power(await look(), 'start', options);
    const machine = await startGuest(host, await look());
    const said = await shell(machine, script);
    await own.power(machine, 'stop', end);
    return said;
  };

  await mode('nonpersistent');
  assert.equal(await run('echo gone > /data/mark; sync; cat /data/mark'), 'gone');
  assert.deepEqual(await logFiles(made), [], 'discarded at the end of the run');
  assert.equal(await run('cat /data/mark 2>/dev/null || echo nothing'), 'nothing');

  await mode('append');
  await run('echo appended > /data/mark; sync');
  assert.equal((await logFiles(made)).length, 2);
  assert.equal(await run('cat /data/mark'), 'appended');

  await mode('undoable');
  const { code, message } = await failureOf(platform.power(await look(), 'start'));
  assert.equal(code, 'state', message);
  assert.match(message, /--redo commit/);
  assert.equal(
    await run('cat /data/mark; echo undone > /data/mark; sync', { redo: 'commit' }, { redo: 'discard' }),
    'appended',
  );
  assert.equal(await run('cat /data/mark; echo kept > /data/mark; sync', {}, { redo: 'keep' }), 'appended');
  await mode('nonpersistent');
  const changed = await failureOf(platform.power(await look(), 'start'));
  assert.equal(changed.code, 'state', changed.message);
  assert.match(changed.message, /when it was undoable: it is kept/);
  assert.equal((await logFiles(made)).length, 2);
  await mode('undoable');
  assert.equal(await run('cat /data/mark', { redo: 'append' }, { redo: 'commit' }), 'kept');
  assert.deepEqual(await logFiles(made), []);
});
