/** Through the application object: disks in, disks out, byte for byte; and what every mistake ends with. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, copyFile, mkdir, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { truncateSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { ImageFormat, JobEvent, PointDto, PrimaApi } from '@prima/api';
import { errorCodes, KiB, MiB, runProgram } from '@prima/base';
import { createApplication } from '@prima/server';
import {
  buildTinyGuest,
  projectRoot,
  randomFile,
  sha256File,
  spawnPrima,
  temporaryFolder,
  waitUntil,
  isListening,
} from '@prima/testbed';

const size = 24 * MiB;
const passphrase = async () => ({ kind: 'passphrase' as const, text: 'correct horse' });

interface World {
  folder: string;
  api: PrimaApi;
  /** A raw disk of `size` bytes with holes. */
  disk: string;
  at: (...names: string[]) => string;
  reopen(secret?: string): Promise<PrimaApi>;
}

async function world(t: TestContext, options: { init?: boolean } = {}): Promise<World> {
  const folder = await temporaryFolder(t);
  const at = (...names: string[]) => join(folder, ...names);
  const reopen = async (text?: string) => {
    const secret = text === undefined ? passphrase : async () => ({ kind: 'passphrase' as const, text });
    const api = await createApplication({ home: at('home'), repository: at('repository'), secret });
    t.after(() => api.close());
    return api;
  };
  const api = await reopen();
  if (options.init !== false) await api.init({ chunkSize: 256 * KiB });
  await mkdir(at('disks'));
  const disk = at('disks', 'data.raw');
  await randomFile(disk, { size, seed: 7, dataFraction: 0.4 });
  return { folder, api, disk, at, reopen };
}

async function backUp(api: PrimaApi, source: string, more: object = {}): Promise<PointDto> {
  const { results } = await api.backup({ sources: [source], ...more });
  assert.equal(results.length, 1);
  assert.equal(results[0]?.error, undefined, JSON.stringify(results[0]?.error));
  assert.ok(results[0]?.point);
  return results[0].point;
}

/** The error that a source alone ends with. */
async function failure(api: PrimaApi, source: string, more: object = {}) {
  const { results } = await api.backup({ sources: [source], ...more });
  const error = results[0]?.error;
  assert.ok(error, 'it fails');
  assert.equal(error.exitStatus, errorCodes[error.code as keyof typeof errorCodes].exit);
  return error;
}

/** What a failed operation may leave in the home: the registry, nothing else. */
async function assertTidy({ at }: World): Promise<void> {
  for (const name of ['journal', 'locks', 'exports']) {
    const left = await readdir(at('home', name)).catch(() => []);
    assert.deepEqual(left, [], name);
  }
}

/** Before their folder goes: machines outlive us. */
async function killAll(api: PrimaApi): Promise<void> {
  for (const { host, name, state } of await api.machineList({})) {
    if (state !== 'off') await api.machinePower({ machine: `${host}/${name}`, action: 'kill' });
  }
}

/** Overwrites a piece of a disk file. */
async function overwrite(path: string, offset: number, length: number, value: number): Promise<void> {
  await using file = await open(path, 'r+');
  await file.write(Buffer.alloc(length, value), 0, length, offset);
}

test('a raw disk comes back byte for byte, and a second backup stores only what changed', async (t) => {
  const { api, disk, at, ...rest } = await world(t);
  const events: JobEvent[] = [];
  const { results } = await api.backup(
    { sources: [disk], name: 'first', tags: ['a', 'b'] },
    { onEvent: (event) => events.push(event) },
  );
  const first = results[0]?.point;
  assert.ok(first);
  assert.partialDeepStrictEqual(first, {
    machine: 'data',
    mode: 'cold',
    size,
    name: 'first',
    tags: ['a', 'b'],
  });
  assert.ok(first.added > 0 && first.added < size, 'holes are not stored');
  assert.ok(events.some((event) => event.type === 'progress' && event.subject === 'data disk0'));
  const original = at('original.raw');
  await copyFile(disk, original);
  await overwrite(disk, 3 * MiB + 5, 1000, 1);
  const second = await backUp(api, disk);
  assert.equal(second.parent, first.id);
  assert.ok(second.added <= 512 * KiB, `${second.added} added`);
  for (const [point, expected] of [
    [first, original],
    [second, disk],
  ] as const) {
    const folder = at(`out-${point.id}`);
    const result = await api.restoreToFolder({ point: point.id, folder });
    assert.deepEqual(await readdir(folder), ['data-disk0.raw']);
    assert.equal(result.files[0]?.path, join(folder, 'data-disk0.raw'));
    assert.equal(await sha256File(join(folder, 'data-disk0.raw')), await sha256File(expected));
    assert.ok((await stat(join(folder, 'data-disk0.raw'))).blocks * 512 < size, 'sparse');
  }
  const { disks } = await api.diff({ a: first.id, b: 'latest' });
  assert.partialDeepStrictEqual(disks, [{ name: 'disk0', changedBytes: 256 * KiB }]);
  assert.deepEqual(
    (await api.points({ tags: ['a'] })).map(({ id }) => id),
    [first.id],
  );
  const check = await api.check({ readData: true });
  assert.deepEqual([check.ok, check.points], [true, 2]);
  await assertTidy({ api, disk, at, ...rest });
});

test('qcow2 and vmdk disks come back byte for byte, in every format', async (t) => {
  const at = await world(t);
  const sources: [string, string[]][] = [
    ['qcow2', ['-o', 'cluster_size=64k']],
    ['qcow2', ['-c', '-o', 'compression_type=zstd']],
    ['vmdk', ['-o', 'subformat=streamOptimized']],
    ['vmdk', ['-o', 'subformat=monolithicSparse']],
    ['vhdx', []],
    ['vdi', []],
  ];
  const targets: ImageFormat[] = ['raw', 'qcow2', 'vmdk'];
  for (const [index, [format, options]] of sources.entries()) {
    const path = at.at('disks', `d${index}.${format}`);
    await runProgram('qemu-img', ['convert', '-f', 'raw', '-O', format, ...options, at.disk, path]);
    const point = await backUp(at.api, path);
    assert.equal(point.disks[0]?.format, format);
    const target = targets[index % targets.length] ?? 'raw';
    const folder = at.at('out');
    await at.api.restoreToFolder({ point: point.id, folder, format: target });
    const restored = join(folder, `d${index}-disk0.${target}`);
    await runProgram('qemu-img', ['compare', '-f', target, '-F', 'raw', restored, at.disk]);
    await rm(folder, { recursive: true });
  }
  await assertTidy(at);
});

test('a disk file that does not tell its format is asked for it, never guessed', async (t) => {
  const at = await world(t);
  const path = at.at('disks', 'web');
  await runProgram('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', at.disk, path]);
  const unclear = await failure(at.api, path);
  assert.equal(unclear.code, 'ambiguous');
  assert.match(unclear.message, /--source-format/);
  assert.equal((await failure(at.api, path, { sourceFormat: 'floppy' })).code, 'usage');
  const point = await backUp(at.api, path, { sourceFormat: 'qcow2' });
  await at.api.restoreToFolder({ point: point.id, folder: at.at('out') });
  assert.equal(await sha256File(at.at('out', 'web-disk0.raw')), await sha256File(at.disk));
});

test('an NBD export is a source', async (t) => {
  const at = await world(t);
  const socket = at.at('source.sock');
  const server = spawn('qemu-nbd', ['-r', '-t', '-f', 'raw', '-x', 'vol1', '-k', socket, at.disk]);
  t.after(async () => {
    server.kill();
    if (server.exitCode === null && server.signalCode === null) await once(server, 'close');
  });
  await waitUntil(() => isListening(socket), { what: 'qemu-nbd' });
  const point = await backUp(at.api, `nbd+unix:///vol1?socket=${socket}`);
  assert.equal(point.machine, 'vol1');
  await at.api.restoreToFolder({ point: 'vol1@latest', folder: at.at('out') });
  assert.equal(await sha256File(at.at('out', 'vol1-disk0.raw')), await sha256File(at.disk));
  await assertTidy(at);
});

test('an export is what the disk was, and what is written to it goes with it', async (t) => {
  const at = await world(t);
  await backUp(at.api, at.disk);
  const socket = at.at('export.sock');
  for (const writable of [false, true]) {
    const running = await at.api.export({ point: 'latest', socket, writable });
    const uri = running.uris[0]?.uri ?? '';
    await runProgram('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', at.disk, uri]);
    const write = ['-f', 'raw', '-c', 'write -P 9 1M 64k', '-c', 'read -P 9 1M 64k', uri];
    const { stdout, status } = await runProgram('qemu-io', write, { accept: [0, 1] });
    assert.equal(status === 0, writable, stdout);
    await running.stop();
    await assert.rejects(stat(socket), { code: 'ENOENT' });
  }
  const listening = await at.api.export({ point: 'latest', listen: '127.0.0.1:0' });
  assert.match(listening.uris[0]?.uri ?? '', /^nbd:\/\/127\.0\.0\.1:\d+\//);
  await at.api.close();
  await assertTidy(at);
});

test('forgotten points are gone, and what only they had is collected', async (t) => {
  const at = await world(t);
  for (const value of [1, 2, 3]) {
    await overwrite(at.disk, value * MiB, MiB, value);
    await backUp(at.api, at.disk, value === 1 ? { tags: ['golden'] } : {});
  }
  const plan = await at.api.forget({ keep: { last: 1 }, keepTags: ['golden'], dryRun: true });
  assert.deepEqual([plan.kept.length, plan.forgotten.length, (await at.api.points({})).length], [2, 1, 3]);
  await at.api.forget({ machine: 'data', keep: { last: 1 } });
  const [left, ...others] = await at.api.points({});
  assert.equal(others.length, 0);
  const before = (await at.api.status()).storedBytes;
  const collected = await at.api.collect({ maxDeleteShare: 1 });
  assert.ok(collected.bytesFreed > 0, JSON.stringify(collected));
  assert.ok((await at.api.status()).storedBytes < before);
  assert.equal((await at.api.check({ readData: true })).ok, true);
  await at.api.restoreToFolder({ point: left?.id ?? '', folder: at.at('out') });
  assert.equal(await sha256File(at.at('out', 'data-disk0.raw')), await sha256File(at.disk));
  await at.api.forget({ points: [left?.id ?? ''] });
  assert.deepEqual(await at.api.points({}), []);
});

test('keys: a second passphrase opens, a removed one does not', async (t) => {
  const at = await world(t);
  const added = await at.api.keyAdd({ secret: { kind: 'passphrase', text: 'second' }, label: 'spare' });
  const other = await at.reopen('second');
  assert.equal((await other.keyList()).length, 2);
  await other.keyRemove({ id: added.id, force: true });
  await assert.rejects((await at.reopen('second')).points({}), { code: 'wrong-key' });
});

test('requests that cannot be served say why, with the right code', async (t) => {
  const at = await world(t);
  const { api } = at;
  const point = await backUp(api, at.disk);
  const wrong = await at.reopen('wrong');
  const bare = await createApplication({ home: at.at('home2') });
  t.after(() => bare.close());
  await writeFile(at.at('text.qcow2'), 'not a qcow2');
  await mkdir(at.at('empty'));
  const rejected: [() => Promise<unknown>, string, RegExp][] = [
    [() => wrong.points({}), 'wrong-key', /opens no/],
    [() => bare.points({}), 'usage', /--repo/],
    [() => api.init({}), 'exists', /./],
    [() => api.show({ point: 'ffffffff' }), 'not-found', /no restore point "ffffffff"/],
    [() => api.show({ point: 'nobody@latest' }), 'not-found', /there are: data/],
    [() => api.points({ machine: 'nobody' }), 'not-found', /nobody/],
    [() => api.forget({}), 'usage', /which points to keep/],
    [() => api.backup({ sources: [] }), 'usage', /no source/],
    [() => api.backup({ sources: ['x'], mode: 'tepid' as 'hot' }), 'usage', /tepid/],
    [
      () => api.restoreToFolder({ point: 'latest', folder: at.at('disks'), disk: '7' }),
      'not-found',
      /it has disk0/,
    ],
    [() => api.restoreToFolder({ point: 'latest', folder: at.disk }), 'not-found', /data\.raw/],
    [
      () => api.restoreToFolder({ point: 'latest', folder: at.at('x'), format: 'zip' as 'raw' }),
      'usage',
      /zip/,
    ],
    [() => api.restoreToHost({ point: 'latest', host: 'nowhere' }), 'not-found', /no host "nowhere"/],
    [() => api.export({ point: 'latest' }), 'usage', /--socket/],
    [() => api.export({ point: 'latest', listen: '127.0.0.1' }), 'usage', /127\.0\.0\.1:10809/],
    [() => api.hostAdd({ name: 'h', platform: 'qemu', location: at.at('absent') }), 'not-found', /absent/],
    [() => api.machineShow({ machine: 'web01' }), 'not-found', /no host is registered/],
    [() => api.keyRemove({ id: 'none' }), 'not-found', /./],
  ];
  for (const [call, code, message] of rejected) await assert.rejects(call, { code, message });
  const failing: [string, object, string, RegExp][] = [
    [at.at('absent.raw'), {}, 'not-found', /does not exist/],
    ['nowhere/web01', {}, 'not-found', /no host "nowhere"/],
    [at.at('empty'), {}, 'not-found', /no \.vmx/],
    [at.disk, { mode: 'hot' }, 'unsupported', /bare disk/],
    [at.at('text.qcow2'), {}, 'format', /text\.qcow2/],
    [`nbd+unix:///x?socket=${at.at('no.sock')}`, {}, 'not-found', /no\.sock/],
    ['nbd+unix:///x', {}, 'usage', /socket/],
  ];
  for (const [source, more, code, message] of failing) {
    const error = await failure(api, source, more);
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
  }
  assert.deepEqual(
    (await api.points({})).map(({ id }) => id),
    [point.id],
  );
  await assertTidy(at);
});

test('one source that fails does not stop the others', async (t) => {
  const { api, disk, at } = await world(t);
  const { results } = await api.backup({ sources: [at('absent'), disk] });
  assert.deepEqual(
    results.map(({ error, point }) => error?.code ?? point?.machine),
    ['not-found', 'data'],
  );
});

test('a target that exists is left alone', async (t) => {
  const at = await world(t);
  await backUp(at.api, at.disk);
  const folder = at.at('out');
  await mkdir(folder);
  await writeFile(join(folder, 'data-disk0.raw'), 'precious');
  await assert.rejects(at.api.restoreToFolder({ point: 'latest', folder }), { code: 'exists' });
  assert.equal(await readFile(join(folder, 'data-disk0.raw'), 'utf8'), 'precious');
  await at.api.restoreToFolder({ point: 'latest', folder, force: true });
  assert.equal(await sha256File(join(folder, 'data-disk0.raw')), await sha256File(at.disk));
  await assertTidy(at);
});

test('a damaged registry of hosts is said, and stops what needs it only', async (t) => {
  const at = await world(t);
  await mkdir(at.at('host'));
  await at.api.hostAdd({ name: 'lab', platform: 'qemu', location: at.at('host') });
  await writeFile(at.at('home', 'hosts.json'), '{"version": 1, "hosts": [{');
  await assert.rejects(at.api.hostList(), { code: 'format', message: /hosts\.json/ });
  await assert.rejects(at.api.machineList({}), { code: 'format' });
  assert.deepEqual(await at.api.points({}), []);
});

test('a source that shrinks while it is read leaves no point', async (t) => {
  const at = await world(t);
  let shrunk = false;
  const { results } = await at.api.backup(
    { sources: [at.disk] },
    {
      onEvent: (event) => {
        if (shrunk || event.type !== 'log' || !event.message.includes('read as raw')) return;
        shrunk = true; // it has been opened, and not yet read
        truncateSync(at.disk, MiB);
      },
    },
  );
  assert.ok(shrunk, 'its opening was said');
  assert.equal(results[0]?.error?.code, 'source-changed', JSON.stringify(results[0]));
  assert.deepEqual(await at.api.points({}), []);
  await assertTidy(at);
});

test('a disk that a running QEMU writes to is not read behind its back', async (t) => {
  const at = await world(t);
  const server = spawn('qemu-nbd', ['-t', '-f', 'raw', '-k', at.at('busy.sock'), at.disk]);
  t.after(async () => {
    server.kill();
    if (server.exitCode === null && server.signalCode === null) await once(server, 'close');
  });
  await waitUntil(() => isListening(at.at('busy.sock')), { what: 'qemu-nbd' });
  const error = await failure(at.api, at.disk);
  assert.equal(error.code, 'busy');
});

test('two backups of one disk at once: one is told that the other is at it', async (t) => {
  const at = await world(t);
  const both = await Promise.all([
    at.api.backup({ sources: [at.disk] }),
    at.api.backup({ sources: [at.disk] }),
  ]);
  const codes = both.map(({ results }) => results[0]?.error?.code ?? 'good');
  assert.ok(codes.includes('good'), JSON.stringify(both));
  assert.ok(
    codes.every((code) => code === 'good' || code === 'busy'),
    codes.join(),
  );
  await assertTidy(at);
});

test('a server that sends nonsense, or nothing, is said', async (t) => {
  const at = await world(t);
  const sockets = new Set<Socket>();
  const answers = { nonsense: 'HTTP/1.1 400 Bad Request\r\n\r\n', half: 'NBDMAGIC' };
  for (const [name, text] of Object.entries(answers)) {
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.end(text);
    });
    server.listen(at.at(`${name}.sock`));
    await once(server, 'listening');
    t.after(() => void server.close());
    const error = await failure(at.api, `nbd+unix:///x?socket=${at.at(`${name}.sock`)}`);
    assert.ok(['protocol', 'remote'].includes(error.code), `${name}: ${error.code} ${error.message}`);
  }
  for (const socket of sockets) socket.destroy();
  await assertTidy(at);
});

test('cancelling a backup or a restore leaves nothing behind', async (t) => {
  const at = await world(t);
  const cancelAtFirstProgress = () => {
    const controller = new AbortController();
    const onEvent = (event: JobEvent) => {
      if (event.type === 'progress') controller.abort();
    };
    return { signal: controller.signal, onEvent };
  };
  await assert.rejects(at.api.backup({ sources: [at.disk] }, cancelAtFirstProgress()), { code: 'cancelled' });
  assert.deepEqual(await at.api.points({}), []);
  await backUp(at.api, at.disk);
  for (const format of ['raw', 'qcow2'] as const) {
    const request = { point: 'latest', folder: at.at('out', 'deep'), format };
    await assert.rejects(at.api.restoreToFolder(request, cancelAtFirstProgress()), { code: 'cancelled' });
    await assert.rejects(stat(at.at('out')), { code: 'ENOENT' });
  }
  assert.equal((await at.api.check({ readData: true })).ok, true);
  await assertTidy(at);
});

test('a repository of a newer version is said', async (t) => {
  const at = await world(t);
  const config = JSON.parse(await readFile(at.at('repository', 'config'), 'utf8')) as { version: number };
  config.version += 1;
  await chmod(at.at('repository', 'config'), 0o600);
  await writeFile(at.at('repository', 'config'), JSON.stringify(config));
  await assert.rejects((await at.reopen()).points({}), { code: 'newer-version', message: /update Prima/ });
});

test('a full disk, of the repository or of the target, is said and loses nothing', async (t) => {
  const at = await world(t);
  const point = await backUp(at.api, at.disk);
  const env = {
    ...process.env,
    PRIMA_HOME: at.at('home'),
    PRIMA_REPO: at.at('repository'),
    PRIMA_PASSPHRASE: 'correct horse',
  };
  // a limit on the size of files is as good as a full disk: writing fails half way
  const limited = ['--fsize=4194304', join(projectRoot, 'bin/prima')];
  const noSpace = { env, accept: [errorCodes['no-space'].exit] };
  await randomFile(at.disk, { size, seed: 8 });
  await runProgram('prlimit', [...limited, 'backup', at.disk], noSpace);
  for (const format of ['raw', 'qcow2']) {
    const restore = ['restore', point.id, '--to', at.at('out'), '--format', format];
    await runProgram('prlimit', [...limited, ...restore], noSpace);
    await assert.rejects(stat(at.at('out')), { code: 'ENOENT' });
  }
  assert.deepEqual(
    (await at.api.points({})).map(({ id }) => id),
    [point.id],
  );
  assert.equal((await at.api.check({ readData: true })).ok, true);
  await backUp(at.api, at.disk);
  await assertTidy(at);
});

test('a damaged repository is found, named, and never restored silently', async (t) => {
  const at = await world(t);
  await backUp(at.api, at.disk);
  await at.api.close();
  const packs = await readdir(at.at('repository'), { recursive: true, withFileTypes: true });
  const largest = await Promise.all(
    packs
      .filter((entry) => entry.isFile())
      .map(async (entry) => {
        const path = join(entry.parentPath, entry.name);
        return { path, size: (await stat(path)).size };
      }),
  );
  const pack = largest.sort((a, b) => b.size - a.size)[0]?.path ?? '';
  await overwrite(pack, 200_000, 64, 0);
  const api = await at.reopen();
  const report = await api.check({ readData: true });
  assert.equal(report.ok, false);
  assert.ok(
    report.faults.some((fault) => fault.affected.some(({ machine }) => machine.includes('data'))),
    JSON.stringify(report.faults),
  );
  await assert.rejects(api.restoreToFolder({ point: 'latest', folder: at.at('out') }), { code: 'integrity' });
  await assert.rejects(stat(at.at('out')), { code: 'ENOENT' });
  await assertTidy(at);
});

test("a machine's folder is a source, with its configuration, and comes back on a host", async (t) => {
  const at = await world(t);
  const { api } = at;
  await mkdir(at.at('host'));
  await api.hostAdd({ name: 'lab', platform: 'qemu', location: at.at('host') });
  const path = at.at('disks', 'system.qcow2');
  await runProgram('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', at.disk, path]);
  const created = await api.machineCreate({
    host: 'lab',
    name: 'web01',
    memoryBytes: 64 * MiB,
    cpus: 1,
    disks: [
      { format: 'qcow2', copyOf: path },
      { format: 'raw', size: MiB },
    ],
  });
  const first = await backUp(api, 'lab/web01');
  assert.partialDeepStrictEqual(first, {
    machine: 'web01',
    machineId: created.id,
    host: 'lab',
    mode: 'cold',
  });
  assert.equal((await api.machineShow({ machine: 'web01' })).lastPoint, first.time);
  await api.hostRemove({ name: 'lab' });
  const point = await backUp(api, at.at('host', 'web01'));
  assert.partialDeepStrictEqual(point, {
    machine: 'web01',
    machineId: created.id,
    mode: 'cold',
    parent: first.id,
  });
  assert.equal(point.host, undefined);
  assert.ok(point.files.some(({ name }) => name.endsWith('.vmx')));
  assert.deepEqual(
    point.disks.map(({ name }) => name),
    ['disk0', 'disk1'],
  );
  const folder = at.at('out');
  await api.restoreToFolder({ point: 'web01@latest', folder, format: 'qcow2' });
  const files = (await readdir(folder)).sort();
  assert.deepEqual(files.slice(0, 2), ['disk0.qcow2', 'disk1.qcow2']);
  assert.deepEqual(files.slice(2).sort(), point.files.map(({ name }) => name).sort());
  await runProgram('qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', join(folder, 'disk0.qcow2'), at.disk]);
  await mkdir(at.at('other'));
  await api.hostAdd({ name: 'other', platform: 'qemu', location: at.at('other') });
  const { machine } = await api.restoreToHost({ point: point.id, host: 'other', as: 'copy' });
  assert.partialDeepStrictEqual(machine, { name: 'copy', host: 'other', state: 'off' });
  const disk = machine?.disks[0];
  await runProgram('qemu-img', ['compare', '-f', disk?.format ?? '', '-F', 'raw', disk?.path ?? '', at.disk]);
  await assert.rejects(api.restoreToHost({ point: point.id, host: 'other', as: 'copy' }), { code: 'exists' });
  const hot = await failure(api, 'other/copy', { mode: 'hot' });
  assert.equal(hot.code, 'state');
  assert.equal((await failure(api, 'other/nobody')).code, 'not-found');
  await assertTidy(at);
});

test('what a killed process leaves is undone at the next start, and said', async (t) => {
  const at = await world(t);
  const env = {
    PRIMA_HOME: at.at('home'),
    PRIMA_REPO: at.at('repository'),
    PRIMA_PASSPHRASE: 'correct horse',
  };
  await randomFile(at.at('disks', 'large.raw'), { size: 128 * MiB, seed: 3 });
  const killAtProgress = async (args: string[]) => {
    await using prima = spawnPrima(['--json', ...args], { env });
    await prima.printed(/"progress"/);
    prima.kill();
    assert.equal((await prima.result).signal, 'SIGKILL');
  };
  await killAtProgress(['backup', at.at('disks', 'large.raw')]);
  assert.deepEqual(await at.api.points({}), []);
  await backUp(at.api, at.at('disks', 'large.raw'));
  await assertTidy(at);
  for (const format of ['raw', 'qcow2', 'vmdk']) {
    await killAtProgress(['restore', 'latest', '--to', at.at('out', format), '--format', format]);
    assert.ok((await readdir(at.at('home', 'journal'))).length > 0, 'it was in the middle');
  }
  const said: string[] = [];
  const onEvent = (event: JobEvent) => {
    if (event.type === 'log') said.push(event.message);
  };
  await at.api.restoreToFolder({ point: 'latest', folder: at.at('out2') }, { onEvent });
  assert.match(said.join('\n'), /restoring large to .*did not end: removed/);
  await assert.rejects(stat(at.at('out')), { code: 'ENOENT' });
  assert.equal(
    await sha256File(at.at('out2', 'large-disk0.raw')),
    await sha256File(at.at('disks', 'large.raw')),
  );
  assert.equal((await at.api.check({ readData: true })).ok, true);
  await assertTidy(at);
});

test('a running machine is backed up hot by its folder, one backup at a time, and again after a cancelled one', async (t) => {
  const at = await world(t);
  const { api } = at;
  const guest = await buildTinyGuest();
  await mkdir(at.at('host'));
  await guest.rootDisk(at.at('disks', 'root.raw'));
  await api.hostAdd({ name: 'lab', platform: 'qemu', location: at.at('host') });
  await api.machineCreate({
    host: 'lab',
    name: 'web01',
    memoryBytes: 192 * MiB,
    cpus: 1,
    disks: [{ format: 'raw', copyOf: at.at('disks', 'root.raw') }],
    kernel: guest.kernel,
    initrd: guest.initrd,
    append: guest.kernelArguments({ write: true }),
  });
  await using machines = new AsyncDisposableStack();
  machines.defer(() => killAll(api));
  await api.machinePower({ machine: 'web01', action: 'start' });
  const answers = async () => (await api.machineShow({ machine: 'web01' })).agent === 'answers';
  await waitUntil(answers, { what: 'the guest', timeoutMs: 120_000, intervalMs: 500 });
  const first = await backUp(api, at.at('host', 'web01'));
  assert.partialDeepStrictEqual(first, { machine: 'web01', host: 'lab', mode: 'hot', quiesced: true });
  const controller = new AbortController();
  const onEvent = (event: JobEvent) => event.type === 'progress' && controller.abort();
  const cancelled = api.backup({ sources: ['lab/web01'] }, { signal: controller.signal, onEvent });
  await assert.rejects(cancelled, { code: 'cancelled' });
  await assertTidy(at);
  const both = await Promise.all([
    api.backup({ sources: ['lab/web01'] }),
    api.backup({ sources: ['lab/web01'] }),
  ]);
  const results = both.map(
    ({ results: [result] }) => result?.error?.code ?? result?.point?.disks[0]?.changed,
  );
  assert.ok(results.includes('tracked'), JSON.stringify(both));
  assert.ok(
    results.every((result) => result === 'tracked' || result === 'busy'),
    JSON.stringify(both.map(({ results: [result] }) => result?.error)),
  );
  assert.equal((await failure(api, 'lab/web01', { mode: 'cold' })).code, 'state');
  await assert.rejects(api.machineDelete({ machine: 'web01' }), { code: 'state' });
  const points = await api.points({ machine: 'web01' });
  assert.equal(points.at(-1)?.parent, first.id);
  await api.restoreToHost({ point: 'web01@latest', host: 'lab', as: 'twin', start: true });
  const twin = async () => (await api.machineShow({ machine: 'lab/twin' })).agent === 'answers';
  await waitUntil(twin, { what: 'the restored guest', timeoutMs: 120_000, intervalMs: 500 });
  await api.machinePower({ machine: 'twin', action: 'kill' });
  await api.machineDelete({ machine: 'twin' });
  assert.deepEqual(
    (await api.machineList({ host: 'lab' })).map(({ name, state }) => [name, state]),
    [['web01', 'running']],
  );
  await assertTidy(at);
});
