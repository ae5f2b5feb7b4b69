import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { PrimaError, silentLogger } from '@prima/base';
import { compareDevices, memoryDevice, openRawFile } from '@prima/block';
import type { Machine, Platform, RestoreRequest } from '@prima/platforms';
import type { Point } from '@prima/repository';
import { backup } from '../backup/backup.ts';
import { diskFileSource } from '../backup/bare-disk.ts';
import type { BackupSource } from '../backup/source.ts';
import { diffPoints } from '../diff.ts';
import { exportPoint } from '../export/export-point.ts';
import { fakeRepository } from '../fake-repository-fixture.ts';
import { Journal } from '../journal.ts';
import { restoreToFolder } from './to-folder.ts';
import { restoreToHost } from './to-host.ts';

const size = 256 * 1024;

async function setUp() {
  const path = await mkdtemp(join(tmpdir(), 'prima-restore-'));
  const recovered: string[] = [];
  const journal = new Journal(join(path, 'journal'), {
    logger: silentLogger,
    recoverHost: async (host) => {
      recovered.push(host);
      return [];
    },
    removePrivateHost: async () => [],
  });
  return {
    path,
    journal,
    recovered,
    repository: fakeRepository(),
    journalEntries: () => readdir(join(path, 'journal')),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}

/** A point of a machine with two disks, memory and a configuration. */
async function machinePoint(repository: ReturnType<typeof fakeRepository>, text = 'data'): Promise<Point> {
  const device = async (bytes: string) => {
    const disk = memoryDevice(size);
    await disk.write(65536, Buffer.from(bytes));
    return disk;
  };
  const disk = (name: string, slot: string) => ({ name, slot, path: `${name}.qcow2`, format: 'qcow2', size });
  const source: BackupSource = {
    machine: { id: 'uuid-1', name: 'web01', host: 'lab' },
    open: async () => ({
      mode: 'warm',
      quiesced: false,
      why: [],
      pointInTime: Date.now(),
      disks: [
        { disk: disk('disk0', 'scsi0:0'), device: await device(text) },
        { disk: disk('disk1', 'scsi0:1'), device: await device('other') },
      ],
      skipped: [],
      memory: await device('memory'),
      files: [{ name: 'web01.vmx', bytes: Buffer.from(`config ${text}`) }],
      succeed: async () => undefined,
      close: async () => undefined,
    }),
  };
  return (await backup(repository, source)).point;
}

test('a machine restores to a folder with all that belongs to it', async () => {
  await using at = await setUp();
  const point = await machinePoint(at.repository);
  const folder = join(at.path, 'deep', 'er');
  const { files, bytesWritten } = await restoreToFolder(at.repository, point, folder, {
    journal: at.journal,
  });
  assert.deepEqual((await readdir(folder)).sort(), ['disk0.raw', 'disk1.raw', 'memory.raw', 'web01.vmx']);
  assert.equal(files.length, 4);
  assert.equal(await readFile(join(folder, 'web01.vmx'), 'utf8'), 'config data');
  const disk = await readFile(join(folder, 'disk0.raw'));
  assert.equal(disk.length, size);
  assert.equal(disk.toString('latin1', 65536, 65540), 'data');
  assert.ok(bytesWritten > 0 && bytesWritten < size);
  const { blocks } = await stat(join(folder, 'disk0.raw'));
  assert.ok(blocks * 512 < size, 'is sparse');
  assert.deepEqual(await at.journalEntries(), []);
  assert.ok(at.repository.log.includes('close disk0'));
});

test('one disk alone comes without the rest; unknown ones are said', async () => {
  await using at = await setUp();
  const point = await machinePoint(at.repository);
  for (const [text, name] of [
    ['disk1', 'disk1.raw'],
    ['0', 'disk0.raw'],
    ['scsi0:1', 'disk1.raw'],
  ] as const) {
    const folder = join(at.path, text);
    await restoreToFolder(at.repository, point, folder, { journal: at.journal, disk: text });
    assert.deepEqual(await readdir(folder), [name]);
  }
  const folder = join(at.path, 'none');
  const failing = restoreToFolder(at.repository, point, folder, { journal: at.journal, disk: 'disk7' });
  await assert.rejects(failing, { code: 'not-found', message: /it has disk0 \(scsi0:0\), disk1/ });
  await assert.rejects(stat(folder), { code: 'ENOENT' });
});

test('nothing is overwritten unasked, and nothing is begun then', async () => {
  await using at = await setUp();
  const point = await machinePoint(at.repository);
  await writeFile(join(at.path, 'disk1.raw'), 'precious');
  await symlink('/nowhere', join(at.path, 'web01.vmx'));
  const failing = restoreToFolder(at.repository, point, at.path, { journal: at.journal });
  await assert.rejects(failing, { code: 'exists', message: /disk1\.raw, web01\.vmx/ });
  assert.deepEqual((await readdir(at.path)).sort(), ['disk1.raw', 'web01.vmx']);
  await restoreToFolder(at.repository, point, at.path, { journal: at.journal, force: true });
  assert.equal((await stat(join(at.path, 'disk1.raw'))).size, size);
  assert.deepEqual(
    (await readdir(at.path)).filter((name) => name.startsWith('.')),
    [],
  );
});

test('a restore that fails or is cancelled leaves nothing, not even the folder', async () => {
  await using at = await setUp();
  const point = await machinePoint(at.repository);
  const folder = join(at.path, 'a', 'b');
  const whole = at.repository.readFile.bind(at.repository);
  at.repository.readFile = async () => {
    throw new PrimaError('integrity', 'damaged');
  };
  await assert.rejects(restoreToFolder(at.repository, point, folder, { journal: at.journal }), {
    code: 'integrity',
  });
  at.repository.readFile = whole;
  const controller = new AbortController();
  const cancelled = restoreToFolder(at.repository, point, folder, {
    journal: at.journal,
    signal: controller.signal,
    onProgress: () => controller.abort(),
  });
  await assert.rejects(cancelled, { code: 'cancelled' });
  assert.deepEqual(await readdir(at.path), ['journal']);
  assert.deepEqual(await at.journalEntries(), []);
});

test('a name that comes up meanwhile is not overwritten, and the others go again', async () => {
  await using at = await setUp();
  const point = await machinePoint(at.repository);
  const folder = join(at.path, 'target');
  await mkdir(folder);
  const whole = at.repository.readFile.bind(at.repository);
  at.repository.readFile = async (...args) => {
    await writeFile(join(folder, 'web01.vmx'), 'somebody else');
    return whole(...args);
  };
  await assert.rejects(restoreToFolder(at.repository, point, folder, { journal: at.journal }), {
    code: 'exists',
  });
  assert.deepEqual(await readdir(folder), ['web01.vmx']);
  assert.equal(await readFile(join(folder, 'web01.vmx'), 'utf8'), 'somebody else');
});

test('a point that would write elsewhere is refused', async () => {
  await using at = await setUp();
  const point = await machinePoint(at.repository);
  for (const name of ['../evil', '/etc/evil', '.hidden', 'disk0.raw', '']) {
    const forged = { ...point, files: [{ name, length: 1, ids: [] }] };
    await assert.rejects(restoreToFolder(at.repository, forged, at.path, { journal: at.journal }), {
      code: 'integrity',
    });
  }
});

test('a bare disk file is backed up cold and comes back with its name', async () => {
  await using at = await setUp();
  const path = join(at.path, 'data.img');
  const locks = join(at.path, 'locks');
  await writeFile(path, Buffer.alloc(1000, 7));
  const source = await diskFileSource(path, { lockFolder: locks });
  assert.equal(source.machine.name, 'data');
  await assert.rejects(backup(at.repository, source, { mode: 'hot' }), { code: 'unsupported' });
  const { point } = await backup(at.repository, source);
  assert.partialDeepStrictEqual(point, { mode: 'cold', quiesced: false, files: [], disks: [{ size: 1024 }] });
  await restoreToFolder(at.repository, point, join(at.path, 'out'), { journal: at.journal });
  const restored = await readFile(join(at.path, 'out', 'data-disk0.raw'));
  assert.deepEqual(restored.subarray(0, 1000), Buffer.alloc(1000, 7));
  assert.deepEqual(await readdir(locks), []);
  const again = await diskFileSource(join(at.path, 'out', '..', 'data.img'), { lockFolder: locks });
  assert.equal(again.machine.id, source.machine.id);
});

test('one disk file is backed up once at a time; one that changes meanwhile is said or refused', async () => {
  await using at = await setUp();
  const path = join(at.path, 'data.img');
  await writeFile(path, Buffer.alloc(65536, 7));
  const source = await diskFileSource(path, { lockFolder: join(at.path, 'locks') });
  const request = { mode: 'auto', owner: 'r' } as const;
  const reading = await source.open(request);
  await assert.rejects(source.open(request), { code: 'busy', message: /backing up data/ });
  assert.deepEqual(await reading.verify?.(), []);
  await writeFile(path, Buffer.alloc(65536, 8));
  assert.match((await reading.verify?.())?.join() ?? '', /written to while it was read/);
  await writeFile(path, 'short');
  await assert.rejects(async () => reading.verify?.(), { code: 'source-changed', message: /shrank/ });
  await rm(path);
  await assert.rejects(async () => reading.verify?.(), { code: 'source-changed', message: /vanished/ });
  await reading.close();
  await assert.rejects(diskFileSource(path, { lockFolder: at.path }), { code: 'not-found' });
});

test('a host gets the machine whole or not at all', async () => {
  await using at = await setUp();
  const point = await machinePoint(at.repository);
  const log: string[] = [];
  const targets = [0, 1].map((n) => ({ slot: `scsi0:${n}`, path: `/vms/d${n}`, device: memoryDevice(size) }));
  const memory = memoryDevice(size);
  const requests: RestoreRequest[] = [];
  const machine = { id: 'uuid-1', name: 'copy' } as Machine;
  const platform = {
    name: 'lab',
    prepareRestore: async (request: RestoreRequest) => {
      requests.push(request);
      return {
        disks: targets,
        memory,
        notes: [],
        commit: async ({ start }: { start?: boolean } = {}) => {
          log.push(`commit ${start}`);
          return machine;
        },
        abort: async () => void log.push('abort'),
      };
    },
  } as unknown as Platform;
  const options = { journal: at.journal, as: 'copy', start: true };
  const result = await restoreToHost(at.repository, point, platform, options);
  assert.equal(result.machine, machine);
  assert.deepEqual(log, ['commit true']);
  assert.partialDeepStrictEqual(requests[0], { id: 'uuid-1', name: 'copy', memory: { size } });
  const original = await at.repository.openDisk(point, 'disk0');
  assert.deepEqual((await compareDevices(original, targets[0]?.device ?? memory)).differences, []);
  const controller = new AbortController();
  const cancelled = restoreToHost(at.repository, point, platform, {
    ...options,
    signal: controller.signal,
    onProgress: () => controller.abort(),
  });
  await assert.rejects(cancelled, { code: 'cancelled' });
  assert.deepEqual(log, ['commit true', 'abort']);
  assert.deepEqual(await at.journalEntries(), []);
  const bare = { ...point, files: [] };
  await assert.rejects(restoreToHost(at.repository, bare, platform, options), { code: 'unsupported' });
});

test('an export is served until it is stopped; what was written goes with it', async () => {
  await using at = await setUp();
  const { connectNbd, parseNbdUri } = await import('@prima/nbd');
  const point = await machinePoint(at.repository);
  const scratchFolder = join(at.path, 'exports');
  const socket = join(at.path, 'nbd.sock');
  const controller = new AbortController();
  const options = {
    listen: { socketPath: socket },
    writable: true,
    scratchFolder,
    journal: at.journal,
    signal: controller.signal,
  };
  const running = await exportPoint(at.repository, point, options);
  assert.deepEqual(
    running.uris.map(({ disk }) => disk),
    ['disk0', 'disk1'],
  );
  const { target, exportName } = parseNbdUri(running.uris[0]?.uri ?? '');
  const device = await connectNbd(target, { exportName, writable: true });
  await device.write(0, Buffer.from('changed'));
  const bytes = Buffer.alloc(7);
  await device.read(0, bytes);
  assert.equal(bytes.toString(), 'changed');
  await device.read(65536, bytes.subarray(0, 4));
  assert.equal(bytes.toString('latin1', 0, 4), 'data');
  await device.close();
  controller.abort();
  await running.ended;
  assert.deepEqual(await readdir(scratchFolder), []);
  assert.deepEqual(await at.journalEntries(), []);
  await assert.rejects(stat(socket), { code: 'ENOENT' });
  assert.ok(at.repository.log.includes('close disk1'));
  await using single = await exportPoint(at.repository, point, {
    ...options,
    signal: undefined,
    writable: false,
    disk: 'disk1',
  });
  const unnamed = await connectNbd({ socketPath: socket });
  await unnamed.read(65536, bytes.subarray(0, 5));
  assert.equal(bytes.toString('latin1', 0, 5), 'other');
  await unnamed.close();
  await single.stop();
});

test('two points are compared', async () => {
  await using at = await setUp();
  const [a, b] = [await machinePoint(at.repository), await machinePoint(at.repository, 'DATA!')];
  const { disks, files } = await diffPoints(at.repository, a, { ...b, disks: b.disks.slice(0, 1) });
  assert.partialDeepStrictEqual(disks[0], { name: 'disk0', ranges: [{ offset: 65536, length: 4096 }] });
  assert.partialDeepStrictEqual(disks[1], { name: 'disk1', onlyIn: 'a', changedBytes: size });
  assert.deepEqual(files, [{ name: 'web01.vmx', change: 'changed' }]);
});

test('a disk without room is refused before anything is written', async () => {
  await using at = await setUp();
  const { assertRoom } = await import('./space.ts');
  await assert.rejects(assertRoom(at.path, Number.MAX_SAFE_INTEGER), {
    code: 'no-space',
    message: /8.* are needed/,
  });
  const file = await openRawFile(join(at.path, 'x.raw'), { create: { size: 512 } });
  await file.close();
});
