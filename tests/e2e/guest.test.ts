/** The tiny guest itself: what every other test with a machine relies on. */
import assert from 'node:assert/strict';
import { cp, mkdir, readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { before, test } from 'node:test';
import { createLogger, runProgram } from '@prima/base';
import {
  bootGuest,
  buildTinyGuest,
  type RecordsReport,
  type TinyGuest,
  temporaryFolder,
  waitUntil,
} from '@prima/testbed';

let guest: TinyGuest;
before(async () => {
  guest = await buildTinyGuest();
});

function assertGood(report: RecordsReport): void {
  assert.equal(report.bad, 0, `records are lost or changed: ${JSON.stringify(report)}`);
  assert.equal(report.first, 1);
  assert.equal(report.records, report.last);
}

/** Features of an ext4 file system in a raw disk, as dumpe2fs names them. */
async function ext4Features(disk: string): Promise<string[]> {
  const { stdout } = await runProgram('/sbin/dumpe2fs', ['-h', disk]);
  return (/^Filesystem features:\s*(.*)$/m.exec(stdout)?.[1] ?? '').split(' ');
}

test('two that build it at once make it once, and a build that was killed is cleared away', async (t) => {
  const cacheFolder = await temporaryFolder(t);
  // what was downloaded already is not fetched again
  const downloads = join(guest.kernel, '../../downloads');
  await cp(downloads, join(cacheFolder, 'downloads'), { recursive: true });
  await mkdir(join(cacheFolder, '.tmp-guest-killed'));
  const messages: string[] = [];
  const log = createLogger((event) => messages.push(event.message));
  const built = await Promise.all([0, 1].map(() => buildTinyGuest({ cacheFolder, log })));
  assert.equal(built[0]?.kernel, built[1]?.kernel);
  assert.deepEqual(messages, ['building the tiny guest']);
  const left = (await readdir(cacheFolder)).filter(
    (name) => name !== basename(join(built[0]?.kernel ?? '', '..')),
  );
  assert.deepEqual(left.sort(), ['downloads', 'guest.lock']);
});

test('boots from its disk, writes records, and powers down clean', async (t) => {
  const folder = await temporaryFolder(t);
  const disk = join(folder, 'root.raw');
  await guest.rootDisk(disk);
  await using machine = await bootGuest({
    guest,
    folder,
    disks: [{ path: disk }],
    arguments: { write: true },
  });
  assert.match(await machine.shell('mount'), /^\/dev\/vda on \/ type ext4/m);
  await waitUntil(async () => Number(await machine.shell('wc -l </data/records')) >= 10, {
    what: 'ten records',
  });
  const first = await machine.verifyRecords();
  assertGood(first);
  assert.ok(first.last >= 10 && first.churnBlocks >= 1);
  const second = await machine.verifyRecords();
  assertGood(second);
  assert.ok(second.counter > first.counter, 'the counter in memory goes on');
  assert.equal(second.bootId, first.bootId);

  await machine.stop();
  assert.match(await readFile(machine.consoleLog, 'latin1'), /PRIMA-BOOTED[\s\S]*PRIMA-DOWN/);
  assert.ok(!(await ext4Features(disk)).includes('needs_recovery'), 'unmounted clean');
  await runProgram('/sbin/e2fsck', ['-fn', disk]);
});

test('the agent freezes and thaws; the frozen disk needs no recovery', async (t) => {
  const folder = await temporaryFolder(t);
  const [root, data] = [join(folder, 'root.raw'), join(folder, 'data.raw')];
  await guest.rootDisk(root);
  await guest.dataDisk(data);
  const disks = [{ path: root }, { path: data, bus: 'scsi' as const }];
  const args = { write: true, data: '/dev/sda' };
  await using machine = await bootGuest({ guest, folder, disks, arguments: args });
  await waitUntil(async () => Number(await machine.shell('wc -l </data/records')) >= 3, { what: 'records' });
  assert.ok((await ext4Features(data)).includes('needs_recovery'), 'mounted and in use');

  assert.equal(await machine.agent.freeze(), 2, 'the root and the data disk');
  assert.equal(await machine.agent.freezeStatus(), 'frozen');
  assert.ok(!(await ext4Features(data)).includes('needs_recovery'), 'frozen clean');
  assert.equal(await machine.agent.thaw(), 2);

  assert.match(await machine.shell('cat /run/fsfreeze.log'), / freeze\n.* thaw\n$/);
  const report = await machine.verifyRecords();
  assertGood(report);
  await waitUntil(async () => Number(await machine.shell('wc -l </data/records')) > report.last, {
    what: 'the writer to go on after the thaw',
  });
});

test('after kill -9 of the machine, nothing that was recorded is lost', async (t) => {
  const folder = await temporaryFolder(t);
  const disk = join(folder, 'root.raw');
  await guest.rootDisk(disk);
  const boot = (write: boolean) =>
    bootGuest({ guest, folder, disks: [{ path: disk }], arguments: { write } });
  let known = 0;
  {
    await using machine = await boot(true);
    const lines = async () => Number(await machine.shell('wc -l </data/records'));
    known = await waitUntil(
      async () => {
        const count = await lines();
        return count >= 20 && count;
      },
      { what: 'twenty records' },
    );
    await machine.kill();
  }
  await using machine = await boot(false);
  const report = await machine.verifyRecords();
  assertGood(report);
  assert.ok(report.last >= known, `record ${known} was seen before the crash, ${report.last} is the last`);
});

test('the verifier sees what is lost or changed', async (t) => {
  const folder = await temporaryFolder(t);
  const disk = join(folder, 'root.raw');
  await guest.rootDisk(disk);
  await using machine = await bootGuest({
    guest,
    folder,
    disks: [{ path: disk }],
    arguments: { write: true },
  });
  await waitUntil(async () => Number(await machine.shell('wc -l </data/records')) >= 12, { what: 'records' });
  await machine.shell('kill $(cat /run/write-records.pid); sleep 1; cp -r /data /run/good');
  const spoilt = async (script: string) => {
    await machine.shell(`cp /run/good/* /data; cd /data; ${script}`);
    return machine.verifyRecords();
  };
  assertGood(await spoilt('true'));
  const block = "b=$(sed -n 5p records | cut -d: -f3 | sed 's/^0*//')";
  const changed = await spoilt(
    `${block}; head -c 64 /dev/zero | dd of=churn bs=64 seek=$((\${b:-0} * 1024 + 9)) conv=notrunc`,
  );
  assert.equal(changed.badBlocks, 1);
  assert.equal((await spoilt('sed -i 5d records')).gaps, 1);
  assert.equal((await spoilt("sed -i '5s/:0/:1/' records")).badRecords, 1);
  assert.equal((await spoilt('rm churn')).missing, 1);
  const torn = await spoilt('printf 0000 >>records');
  assertGood(torn);
  assert.equal(torn.torn, 4);
});
