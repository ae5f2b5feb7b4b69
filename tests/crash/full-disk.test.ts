/** No room: a backup into a full repository and restores to a full target end clearly, and leave nothing behind. */
import assert from 'node:assert/strict';
import { watch } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { BackupResult, ErrorDto } from '@prima/api';
import { errorCodes, KiB, MiB, temporaryPrefix } from '@prima/base';
import { createApplication } from '@prima/server';
import { type PrimaResult, randomFile, runPrima, sha256File, temporaryFolder } from '@prima/testbed';
import { fill, fillNow, freeBytes, isInNamespace, runInNamespace, smallDisk } from './small-disk.ts';

const timeoutMs = 300_000;
/** The tests proper are in the namespace, what runs them is not. */
const options = { timeout: timeoutMs };
const noSpace = errorCodes['no-space'].exit;

interface World {
  at: (...names: string[]) => string;
  repository: string;
  prima: (...args: string[]) => Promise<PrimaResult>;
}

async function world(t: TestContext, repository?: string): Promise<World> {
  const folder = await temporaryFolder(t);
  const at = (...names: string[]) => join(folder, ...names);
  const where = repository ?? at('repository');
  const env = { PRIMA_REPO: where, PRIMA_HOME: at('home'), PRIMA_PASSPHRASE: 'correct horse' };
  const prima = (...args: string[]) => runPrima(args, { env });
  const made = await prima('init', '--chunk-size', '256K');
  assert.equal(made.status, 0, made.stderr);
  return { at, repository: where, prima };
}

async function succeed(result: Promise<PrimaResult>): Promise<void> {
  const { status, stdout, stderr } = await result;
  assert.equal(status, 0, stdout + stderr);
}

/** The last line of what `--json` printed. */
function lastLine({ stdout }: PrimaResult): { result?: BackupResult; error?: ErrorDto } {
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as { result?: BackupResult; error?: ErrorDto };
}

async function temporaries(folder: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true });
  return names.filter((name) => basename(name).startsWith(temporaryPrefix));
}

async function assertHomeTidy({ at }: World): Promise<void> {
  for (const name of ['journal', 'locks'])
    assert.deepEqual(await readdir(at('home', name)).catch(() => []), []);
}

async function assertRestores({ at, prima }: World, point: string, disk: string): Promise<void> {
  await succeed(prima('restore', point, '--to', at('out'), '--force'));
  assert.equal(await sha256File(at('out', `${point.split('@')[0]}-disk0.raw`)), await sha256File(disk));
}

if (!isInNamespace) {
  test('full disks', { timeout: timeoutMs }, () => runInNamespace(import.meta.filename, timeoutMs));
} else {
  test(
    'a backup that does not fit says so once, harms nothing, and fits when there is room',
    options,
    async (t) => {
      const disk = await smallDisk(t, 40 * MiB);
      const it = await world(t, join(disk, 'repository'));
      const { at, prima, repository } = it;
      const [small, large] = [at('small.raw'), at('large.raw')];
      await randomFile(small, { size: 6 * MiB, seed: 1 });
      await randomFile(large, { size: 24 * MiB, seed: 2 });
      await succeed(prima('backup', small));
      const makeRoom = await fill(disk, 12 * MiB);
      const free = await freeBytes(disk);

      const failed = await prima('backup', large);
      assert.equal(failed.status, noSpace, failed.stderr);
      const told = failed.stderr.split('\n').filter((line) => /no room|ENOSPC/.test(line));
      assert.equal(told.length, 1, `it is said once:\n${failed.stderr}`);
      assert.match(told[0] ?? '', /large.*no room/);
      const machine = await prima('backup', large, '--json', '--quiet');
      assert.equal(machine.status, noSpace);
      const entry = lastLine(machine).result?.results[0];
      assert.equal(entry?.error?.code, 'no-space');

      assert.deepEqual(await temporaries(repository), []);
      const lost = free - (await freeBytes(disk));
      assert.ok(lost <= 256 * KiB, `${lost} bytes were not given back`);
      await assertHomeTidy(it);
      await assertRestores(it, 'small@latest', small);
      await succeed(prima('check', '--read-data'));

      await makeRoom();
      await succeed(prima('backup', large));
      await assertRestores(it, 'large@latest', large);
      await succeed(prima('collect'));
      await succeed(prima('check', '--read-data'));
    },
  );

  test('a repository without a free byte still gives back what it holds', options, async (t) => {
    const disk = await smallDisk(t, 16 * MiB);
    const it = await world(t, join(disk, 'repository'));
    const { at, prima } = it;
    await randomFile(at('small.raw'), { size: 6 * MiB, seed: 3 });
    await succeed(prima('backup', at('small.raw')));
    const makeRoom = await fill(disk);
    await assertRestores(it, 'small@latest', at('small.raw'));
    await succeed(prima('check', '--read-data'));
    for (const args of [['backup', at('small.raw')], ['forget', 'latest'], ['collect']]) {
      const { status, stderr } = await prima(...args);
      assert.equal(status, noSpace, `${args[0]}: ${stderr}`);
      assert.match(stderr, /no room/);
    }
    assert.deepEqual(await temporaries(disk), []);
    await makeRoom();
    await succeed(prima('backup', at('small.raw')));
    await succeed(prima('collect'));
    await succeed(prima('check', '--read-data'));
  });

  for (const [format, room] of [
    ['raw', -MiB],
    ['qcow2', 64 * KiB], // enough for the data, not for the format's own tables
    ['vmdk', -MiB],
  ] as const) {
    test(`a ${format} restore to where there is no room leaves nothing there`, options, async (t) => {
      const disk = await smallDisk(t, 16 * MiB);
      const it = await world(t);
      const { at, prima } = it;
      await randomFile(at('d.raw'), { size: 8 * MiB, seed: 4 });
      await succeed(prima('backup', at('d.raw')));
      const makeRoom = await fill(disk, 8 * MiB + room);
      const target = join(disk, 'out');
      const args = ['restore', 'latest', '--to', target, '--format', format];
      const failed = await prima(...args, '--json', '--quiet');
      assert.equal(failed.status, noSpace, failed.stdout);
      assert.equal(lastLine(failed).error?.code, 'no-space');
      assert.deepEqual(await readdir(disk), ['filler'], 'nothing is left');
      await assertHomeTidy(it);
      await makeRoom();
      await succeed(prima(...args));
      assert.deepEqual(await readdir(target), [`d-disk0.${format}`]);
    });
  }

  test('a target that fills up while it is written to is left as it was', options, async (t) => {
    const disk = await smallDisk(t, 40 * MiB);
    const { at, prima, repository } = await world(t);
    await randomFile(at('d.raw'), { size: 24 * MiB, seed: 5 });
    await succeed(prima('backup', at('d.raw')));
    const api = await createApplication({
      home: at('home'),
      repository,
      secret: async () => ({ kind: 'passphrase', text: 'correct horse' }),
    });
    t.after(() => api.close());
    const target = join(disk, 'out');
    await mkdir(target);
    let isFull = false;
    const watcher = watch(target, () => {
      if (!isFull) fillNow(disk);
      isFull = true;
    });
    t.after(() => watcher.close());
    await assert.rejects(api.restoreToFolder({ point: 'latest', folder: target }), { code: 'no-space' });
    assert.ok(isFull, 'it was full in the middle of it');
    assert.deepEqual(await readdir(target), []);
  });

  test('a machine that does not fit on a host is refused before anything is made', options, async (t) => {
    const disk = await smallDisk(t, 16 * MiB);
    const { at, prima } = await world(t);
    await mkdir(at('vm'));
    await randomFile(at('vm', 'd.raw'), { size: 24 * MiB, seed: 6 });
    await writeFile(at('vm', 'big.vmx'), 'displayName = "big"\nmemsize = "64"\nsata0:0.fileName = "d.raw"\n');
    await succeed(prima('host', 'add', 'small', disk));
    await succeed(prima('backup', at('vm')));
    await succeed(prima('restore', 'latest', '--to', at('big.ova')));
    for (const args of [
      ['restore', 'latest', '--to-host', 'small'],
      ['machine', 'import', 'small', at('big.ova')],
      ['machine', 'import', 'small', at('vm', 'big.vmx')],
    ]) {
      const refused = await prima(...args);
      assert.equal(refused.status, 19, refused.stderr);
      assert.match(refused.stderr, /big needs 24\.0 MiB; nothing was written/);
      assert.deepEqual(await readdir(disk), []);
    }
  });
}
