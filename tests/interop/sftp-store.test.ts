/** The SFTP store against a real OpenSSH server, which is killed, stopped, changed and made to forget. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { createLogger, MiB, runProgram, seededRandom } from '@prima/base';
import { type ObjectStore, openStore, storeConformance } from '@prima/storage';
import { runPrima, type SshServer, startSshServer } from '@prima/testbed';

let server: SshServer;
let folder: string;
before(async () => {
  server = await startSshServer();
  folder = await mkdtemp(join(tmpdir(), 'prima-sftp-'));
});
after(async () => {
  await rm(folder, { recursive: true });
  await server[Symbol.asyncDispose]();
});

storeConformance('sftp', async () => {
  const url = server.url(randomUUID());
  return { store: await openStore(url, { create: true }), reopen: () => openStore(url) };
});

/** An empty store of its own, closed at the test's end, and where its files are. */
async function freshStore(
  t: TestContext,
  parameters: Record<string, string> = {},
): Promise<{ store: ObjectStore; root: string; url: string; said: string[] }> {
  const name = randomUUID();
  const said: string[] = [];
  const logger = createLogger(({ message }) => said.push(message));
  const url = server.url(name, parameters);
  const store = await openStore(url, { create: true, logger });
  t.after(() => store.close());
  return { store, root: join(server.folder, name), url, said };
}

async function temporariesIn(root: string): Promise<string[]> {
  const names = await readdir(root, { recursive: true });
  return names.filter((name) => name.includes('.tmp-'));
}

const body = (): Uint8Array => seededRandom(7).bytes(new Uint8Array(48 * MiB));

test('bodies are paced piece by piece, both ways', async (t) => {
  const { store } = await freshStore(t);
  const counts = { sent: 0, taken: 0, largest: 0 };
  const pacing = (way: 'sent' | 'taken') => async (bytes: number) => {
    counts[way] += bytes;
    counts.largest = Math.max(counts.largest, bytes);
  };
  await store.putIfAbsent('packs/a', new Uint8Array(5 * MiB), { pace: pacing('sent') });
  await store.get('packs/a', { offset: MiB, length: 3 * MiB }, { pace: pacing('taken') });
  assert.deepEqual([counts.sent, counts.taken], [5 * MiB, 3 * MiB]);
  assert.ok(store.paces && counts.largest <= MiB, `${counts.largest}`);
});

test('a connection that is killed in the middle of a put: it is made anew and the object is whole', async (t) => {
  const { store, root, said } = await freshStore(t);
  const bytes = body();
  const connections = await server.connections();
  const pieces = [bytes.subarray(0, 20 * MiB), bytes.subarray(20 * MiB)];
  let killed = false;
  const second = pieces[1];
  Object.defineProperty(pieces, 1, {
    get: () => {
      // asked for when the first piece has been sent
      if (!killed) for (const pid of connections) process.kill(pid, 'SIGKILL');
      killed = true;
      return second;
    },
  });
  assert.equal(await store.putIfAbsent('packs/ab/large', pieces), 'created');
  assert.ok(killed);
  assert.ok(Buffer.from(bytes).equals(await readFile(join(root, 'packs/ab/large'))));
  assert.deepEqual(await temporariesIn(root), [], 'what the lost connection left is removed');
  assert.match(said.join('\n'), /was lost.*connecting anew/);
});

test('a connection that is killed while answers are due: reads, lists and deletes go on over a new one', async (t) => {
  const { store } = await freshStore(t);
  const bytes = body();
  await store.putIfAbsent('packs/large', bytes);
  await store.putIfAbsent('packs/small', new Uint8Array(3));
  await server.signalConnections('SIGSTOP');
  const asked = Promise.all([
    store.get('packs/large'),
    store.get('packs/large', { offset: 5, length: 7 }),
    Array.fromAsync(store.list('')),
    store.stat('packs/large'),
    store.delete('packs/small'),
  ]);
  await server.signalConnections('SIGKILL');
  const [whole, part, list, status] = await asked;
  assert.ok(Buffer.from(bytes).equals(whole));
  assert.deepEqual(Buffer.from(part), Buffer.from(bytes.subarray(5, 12)));
  assert.ok(list.some(({ key }) => key === 'packs/large'));
  assert.equal(status?.size, bytes.length);
  assert.equal(await store.stat('packs/small'), undefined);
});

test('a server that stops answering is left after the deadline, and is a timeout when nobody else answers', async (t) => {
  const { store } = await freshStore(t, { timeout: '1' });
  await store.putIfAbsent('config', new Uint8Array(3));
  await server.signalConnections('SIGSTOP');
  assert.equal((await store.stat('config'))?.size, 3, 'answered over a second connection');
  process.kill(server.pid, 'SIGSTOP');
  try {
    await server.signalConnections('SIGSTOP');
    await assert.rejects(store.stat('config'), {
      code: 'timeout',
      retryable: true,
      message: /connecting to sftp:/,
    });
    const signal = AbortSignal.timeout(50);
    await assert.rejects(store.stat('config', { signal }), { message: /looking for config/ });
  } finally {
    process.kill(server.pid, 'SIGCONT');
    await server.signalConnections('SIGKILL');
  }
  assert.equal((await store.stat('config'))?.size, 3);
});

test("an answer that is lost after the link was made: the writer's own bytes are created, others exist", async (t) => {
  const script = join(folder, 'losing-server.mjs');
  await writeFile(script, losingServer);
  await using losing = await startSshServer({ sftpServer: `${process.execPath} ${script} ${folder}` });
  const open = async () => {
    const store = await openStore(losing.url('x'), { create: true });
    t.after(() => store.close());
    return store;
  };
  const [one, two] = [await open(), await open()];
  await writeFile(join(folder, 'lose'), '');
  assert.equal(await one.putIfAbsent('sessions/a', Buffer.from('ours')), 'created');
  assert.equal(await readdir(folder).then((names) => names.includes('lose')), false, 'an answer was lost');
  await writeFile(join(folder, 'lose'), '');
  assert.equal(await two.putIfAbsent('sessions/a', Buffer.from('theirs')), 'exists');
  assert.deepEqual(Buffer.from(await two.get('sessions/a')).toString(), 'ours');
  assert.deepEqual(await temporariesIn(losing.folder), []);
});

/** Passes packets on to OpenSSH's own server; ends instead of passing on the answer to a link while DIR/lose is there. */
const losingServer = `
import { spawn } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
const flag = process.argv[2] + '/lose';
const child = spawn('/usr/lib/openssh/sftp-server', { stdio: ['pipe', 'pipe', 'inherit'] });
function packets(stream, take) {
  let kept = Buffer.alloc(0);
  stream.on('data', (data) => {
    kept = Buffer.concat([kept, data]);
    while (kept.length >= 4 && kept.length >= 4 + kept.readUInt32BE(0)) {
      const length = 4 + kept.readUInt32BE(0);
      take(kept.subarray(0, length));
      kept = kept.subarray(length);
    }
  });
}
let link = -1;
packets(process.stdin, (packet) => {
  if (packet[4] === 200 && packet.includes('hardlink@openssh.com')) link = packet.readUInt32BE(5);
  child.stdin.write(packet);
});
packets(child.stdout, (packet) => {
  if (packet[4] === 101 && packet.readUInt32BE(5) === link && existsSync(flag)) {
    rmSync(flag);
    process.exit(1);
  }
  process.stdout.write(packet);
});
process.stdin.on('end', () => process.exit(0));
`;

test('a host key that is unknown or another than known is refused with its fingerprint and what to do', async () => {
  const empty = join(folder, 'empty');
  await writeFile(empty, '');
  const { stdout } = await runProgram('ssh-keygen', ['-lf', server.knownHosts]);
  const [, print = ''] = stdout.split(' ');
  await assert.rejects(
    openStore(server.url('x', { 'known-hosts': empty })),
    (error: Error & { code?: string }) => {
      assert.equal(error.code, 'refused');
      assert.ok(error.message.includes(print), `${error.message} names ${print}`);
      assert.match(error.message, /ssh-keyscan -p \d+ 127\.0\.0\.1 >> /);
      return true;
    },
  );
  await runProgram('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, 'other')]);
  const other = (await readFile(join(folder, 'other.pub'), 'utf8')).split(' ').slice(0, 2).join(' ');
  await writeFile(join(folder, 'changed'), `[127.0.0.1]:${server.port} ${other}\n`);
  await assert.rejects(openStore(server.url('x', { 'known-hosts': join(folder, 'changed') })), {
    code: 'refused',
    message: /IS NOT THE KNOWN ONE.*ssh-keygen -f .* -R '\[127\.0\.0\.1\]:\d+'/,
  });
  await runProgram('ssh-keygen', ['-q', '-H', '-f', await copy(server.knownHosts, join(folder, 'hashed'))]);
  assert.match(await readFile(join(folder, 'hashed'), 'utf8'), /^\|1\|/);
  const store = await openStore(server.url('y', { 'known-hosts': join(folder, 'hashed') }), { create: true });
  await store.close();
});

async function copy(from: string, to: string): Promise<string> {
  await writeFile(to, await readFile(from));
  return to;
}

test('a wrong key, no key, no folder and no server are told apart', async () => {
  await runProgram('ssh-keygen', ['-q', '-t', 'ed25519', '-N', 'a passphrase', '-f', join(folder, 'locked')]);
  const identity = join(folder, 'locked');
  await writeFile(join(folder, 'phrase'), 'a passphrase\n', { mode: 0o600 });
  const unlocked = { identity, 'passphrase-file': join(folder, 'phrase') };
  await assert.rejects(openStore(server.url('x', unlocked)), {
    code: 'permission',
    message: /authorized_keys/,
  });
  await assert.rejects(openStore(server.url('x', { identity })), {
    code: 'usage',
    message: /passphrase-file/,
  });
  await assert.rejects(openStore(server.url('x', { identity: `${server.identity}.pub` })), { code: 'usage' });
  await assert.rejects(openStore(server.url('x', { identity: '/nowhere' })), { code: 'not-found' });
  await assert.rejects(openStore(server.url('none')), { code: 'not-found', message: /no such folder/ });
  await assert.rejects(openStore(server.url('x').replace(`:${server.port}`, ':1')), {
    code: 'remote',
    message: /ECONNREFUSED/,
  });
});

test('an agent with the key is enough', async (t) => {
  const socket = join(folder, 'agent');
  const { stdout } = await runProgram('ssh-agent', ['-a', socket]);
  const pid = Number(/SSH_AGENT_PID=(\d+)/.exec(stdout)?.[1]);
  t.after(() => process.kill(pid));
  const before = process.env['SSH_AUTH_SOCK'];
  process.env['SSH_AUTH_SOCK'] = socket;
  t.after(() => {
    if (before === undefined) delete process.env['SSH_AUTH_SOCK'];
    else process.env['SSH_AUTH_SOCK'] = before;
  });
  await runProgram('ssh-add', ['-q', server.identity], { env: process.env });
  const url = server.url('agent').replace(/identity=[^&]*&/, '');
  const store = await openStore(url, { create: true });
  assert.equal(await store.putIfAbsent('config', new Uint8Array(1)), 'created');
  await store.close();
});

test('a server without hard links is refused, one without fsync is warned of once', async (t) => {
  await using unlinking = await startSshServer({ sftpServer: 'internal-sftp -P hardlink' });
  await assert.rejects(openStore(unlinking.url('x'), { create: true }), {
    code: 'unsupported',
    message: /hardlink@openssh\.com/,
  });
  await using unsynced = await startSshServer({ sftpServer: 'internal-sftp -P fsync' });
  const said: string[] = [];
  const logger = createLogger(({ level, message }) => level === 'warn' && said.push(message));
  const store = await openStore(unsynced.url('x'), { create: true, logger });
  t.after(() => store.close());
  assert.equal(await store.putIfAbsent('a', new Uint8Array(1)), 'created');
  assert.equal(await store.putIfAbsent('b', new Uint8Array(1)), 'created');
  assert.equal(said.length, 1);
  assert.match(said[0] ?? '', /fsync@openssh\.com/);
});

test('temporary files of dead writers are removed after a day, by who stores something', async (t) => {
  const { store, root } = await freshStore(t);
  await store.putIfAbsent('packs/ab/x', new Uint8Array(1));
  for (const [name, hours] of [
    ['.tmp-old', 25],
    ['packs/ab/.tmp-old', 25],
    ['packs/.tmp-young', 23],
  ] as const) {
    await writeFile(join(root, name), 'x');
    const time = Date.now() / 1000 - hours * 3600;
    await utimes(join(root, name), time, time);
  }
  const again = await openStore(server.url(root.split('/').at(-1) ?? ''));
  t.after(() => again.close());
  await again.putIfAbsent('config', new Uint8Array(1));
  assert.deepEqual(await temporariesIn(root), ['packs/.tmp-young']);
  const modes = await Promise.all(['packs/ab', 'packs/ab/x'].map((path) => stat(join(root, path))));
  assert.deepEqual(
    modes.map(({ mode }) => mode & 0o777),
    [0o700, 0o600],
  );
});

test('prima storage test says what the server promises, and leaves nothing', {
  timeout: 300_000,
}, async (t) => {
  const { root, url } = await freshStore(t);
  const env = { PRIMA_HOME: join(folder, 'home') };
  const { status, stdout, stderr } = await runPrima(['storage', 'test', url], { env });
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^create once +kept/m);
  assert.match(stdout, /^durability +not tested .*SFTP/m);
  assert.match(stdout, /^A repository can be kept here: sftp:/m);
  assert.deepEqual(await readdir(root), []);
});

test('a whole story over sftp://: init, back up, check, restore, forget, collect', {
  timeout: 300_000,
}, async () => {
  const disk = join(folder, 'disk.raw');
  const bytes = seededRandom(3).bytes(Buffer.alloc(12 * MiB));
  await writeFile(disk, bytes);
  const env = {
    PRIMA_REPO: server.url('story'),
    PRIMA_PASSPHRASE: 'a good one',
    PRIMA_HOME: join(folder, 'home'),
  };
  const prima = async (...args: string[]) => {
    const { status, stdout, stderr } = await runPrima(args, { env });
    assert.equal(status, 0, `prima ${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  await prima('init');
  await prima('backup', disk);
  bytes.fill(9, 3 * MiB, 4 * MiB);
  await writeFile(disk, bytes);
  await prima('backup', disk);
  assert.equal((await prima('points', '--json', '--quiet')).match(/"machineId"/g)?.length, 2);
  await prima('check', '--read-data');
  await prima('forget', '--keep-last', '1');
  await prima('collect');
  const cache = join(folder, 'home', 'cache', 'objects');
  assert.ok((await readdir(cache)).includes('usage'), 'what was read is kept');
  await rm(cache, { recursive: true });
  await prima('points', '--cache-size', '0');
  await assert.rejects(readdir(cache), { code: 'ENOENT' });
  await prima('restore', 'latest', '--to', join(folder, 'out'), '--limit-download', '100M');
  const [name = ''] = (await readdir(join(folder, 'out'))).filter((file) => file.endsWith('.raw'));
  assert.ok(Buffer.from(bytes).equals(await readFile(join(folder, 'out', name))));
  await prima('check', '--read-data');
});
