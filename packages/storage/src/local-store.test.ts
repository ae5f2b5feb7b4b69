import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { type ObjectStore, openLocalStore, openStore } from './mod.ts';

const door = pathToFileURL(join(import.meta.dirname, 'mod.ts')).href;

async function withFolder(task: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'prima-store-'));
  try {
    await task(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function keysOf(store: ObjectStore): Promise<string[]> {
  return (await Array.fromAsync(store.list(''))).map((info) => info.key);
}

/** Everything in the folder that is no folder, temporary files too. */
async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => !entry.isDirectory()).map((entry) => entry.name);
}

test('folders are 0700 and files 0600, whatever was made on the way', () =>
  withFolder(async (folder) => {
    const root = join(folder, 'deep/er');
    await assert.rejects(openLocalStore(root), { code: 'not-found' });
    const store = await openLocalStore(root, { create: true });
    await store.putIfAbsent('packs/ab/abcd', Buffer.from('x'));
    for (const path of ['', 'packs', 'packs/ab'])
      assert.equal((await stat(join(root, path))).mode & 0o777, 0o700);
    assert.equal((await stat(join(root, 'packs/ab/abcd'))).mode & 0o777, 0o600);
    assert.deepEqual(await filesIn(folder), ['abcd']);
  }));

test('a writer that is killed in the middle of an object leaves nothing visible', () =>
  withFolder(async (folder) => {
    // the second piece says that the first has been written, and never comes
    const script = `
      import { writeSync } from 'node:fs';
      import { openLocalStore } from '${door}';
      const store = await openLocalStore(process.argv[1]);
      const body = [new Uint8Array(1 << 20).fill(1)];
      Object.defineProperty(body, 1, { get() {
        writeSync(1, 'half');
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
      } });
      await store.putIfAbsent('packs/ab/abcd', body);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script, folder], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = once(child, 'exit');
    try {
      const [said] = await Promise.race([once(child.stdout, 'data'), ended.then(() => ['it ended'])]);
      assert.equal(String(said), 'half');
    } finally {
      child.kill('SIGKILL');
      await ended;
    }
    const left = (await filesIn(folder)).filter((name) => name.startsWith('.tmp-'));
    assert.equal(left.length, 1, 'the writer was in the middle of it');
    const store = await openLocalStore(folder);
    assert.deepEqual(await keysOf(store), []);
    assert.equal(await store.stat('packs/ab/abcd'), undefined);
    await assert.rejects(store.get('packs/ab/abcd'), { code: 'not-found' });
    assert.equal(await store.putIfAbsent('packs/ab/abcd', Buffer.from('x')), 'created');
  }));

test('temporary files older than a day are removed when something is stored, younger ones are not', () =>
  withFolder(async (folder) => {
    await mkdir(join(folder, 'packs/ab'), { recursive: true });
    const paths = ['.tmp-old', '.tmp-young', 'packs/ab/.tmp-old', 'packs/ab/old', 'packs/.tmp-young'];
    for (const path of paths) {
      await writeFile(join(folder, path), 'x');
      const age = path.endsWith('young') ? 23 : 25;
      const time = Date.now() / 1000 - age * 3600;
      await utimes(join(folder, path), time, time);
    }
    const store = await openLocalStore(folder);
    assert.equal((await filesIn(folder)).length, 5, 'who only reads removes nothing');
    await store.putIfAbsent('config', Buffer.from('x'));
    assert.deepEqual((await filesIn(folder)).sort(), ['.tmp-young', '.tmp-young', 'config', 'old']);
    assert.deepEqual(await keysOf(store), ['config', 'packs/ab/old']);
  }));

test('an object that does not fit is no-space, and no part of it stays', () =>
  withFolder(async (folder) => {
    const script = `
      import { openLocalStore } from '${door}';
      process.on('SIGXFSZ', () => undefined);
      const store = await openLocalStore(process.argv[1]);
      await store.putIfAbsent('packs/small', new Uint8Array(1000));
      const error = await store.putIfAbsent('packs/large', new Uint8Array(1 << 20)).catch((error) => error);
      console.log(JSON.stringify([error.code, error.message]));`;
    // the limit of a file's size stands for a full disk
    const limited = ['-c', 'ulimit -f 256; exec "$0" "$@"', process.execPath];
    const child = spawn('sh', [...limited, '--input-type=module', '-e', script, folder], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const output = (await child.stdout.toArray()).join('');
    const [code, message] = JSON.parse(output) as string[];
    assert.equal(code, 'no-space');
    assert.match(message ?? '', /^storing packs\/large in .*: no room for its 1048576 bytes .*make room/);
    assert.deepEqual(await filesIn(folder), ['small']);
  }));

test('files that are no objects are not listed, and linked folders are', () =>
  withFolder(async (folder) => {
    await mkdir(join(folder, 'store/lost+found'), { recursive: true });
    await mkdir(join(folder, 'elsewhere'));
    await symlink(join(folder, 'elsewhere'), join(folder, 'store/packs'));
    await symlink(join(folder, 'nowhere'), join(folder, 'store/dangling'));
    await writeFile(join(folder, 'store/a b'), 'x');
    await writeFile(join(folder, 'store/.hidden'), 'x');
    const store = await openLocalStore(join(folder, 'store'));
    await store.putIfAbsent('packs/a', Buffer.from('x'));
    assert.deepEqual(await keysOf(store), ['packs/a']);
    await assert.rejects(store.putIfAbsent('packs', Buffer.from('x')), {
      code: 'exists',
      message: /is not a file/,
    });
  }));

test('a store is opened by path or file URL; other kinds are named in the error', () =>
  withFolder(async (folder) => {
    const path = join(folder, 'a store');
    const store = await openStore(pathToFileURL(path).href, { create: true });
    await store.putIfAbsent('config', Buffer.from('x'));
    assert.deepEqual(await keysOf(await openStore(path)), ['config']);
    assert.deepEqual(await keysOf(await openStore(store.url)), ['config']);
    await assert.rejects(openStore('gopher://bucket/x'), {
      code: 'unsupported',
      message: /"gopher".*file:\/\//,
    });
    await assert.rejects(openStore('file://host/x'), { code: 'usage' });
    await assert.rejects(openStore(''), { code: 'usage' });
    await assert.rejects(openStore(join(path, 'config')), { code: 'not-found' });
  }));

test('on NFS lists take their time to settle, and what NFS keeps of removed files is not listed', () =>
  withFolder(async (folder) => {
    const fileSystem = {
      type: async () => 0x6969,
      mounts: async () => '1 0 0:5 / / rw - nfs4 nas:/x rw,acdirmax=90\n',
    };
    const store = await openLocalStore(folder, { fileSystem });
    assert.equal(store.settleMs, 95_000);
    await store.putIfAbsent('packs/a', Buffer.from('x'));
    await writeFile(join(folder, 'packs/.nfs00000000000a1b2c00000001'), 'x');
    assert.deepEqual(await keysOf(store), ['packs/a']);
    assert.equal((await openLocalStore(folder)).settleMs, 0);
  }));
