import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { answers } from './fake-answers.ts';
import { runFake, startFake } from './fake-environment.ts';

const folder = mkdtempSync(join(tmpdir(), 'prima-server-options-'));
after(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string | Uint8Array, mode = 0o600): string {
  const path = join(folder, name);
  writeFileSync(path, text, { mode });
  return path;
}

const server = 'https://prima.example.org';
const run = (args: string[], env: Record<string, string> = { PRIMA_TOKEN: 't0ken' }) =>
  runFake(args, { answers, env: { HOME: '/home/ada', ...env } });

test('--server lets a server do the work, with the token of the environment and the name of the repository', async () => {
  const { status, connected, opened, closed, calls } = await run([
    'points',
    '--server',
    server,
    '--repo',
    'main',
  ]);
  assert.equal(status, 0);
  assert.deepEqual(connected, { url: server, token: 't0ken', repository: 'main' });
  assert.equal(opened, undefined);
  assert.ok(closed);
  assert.deepEqual(calls, [{ method: 'points', request: {} }]);
});

test('PRIMA_SERVER does, too, and the option goes before it; an empty one is none', async () => {
  const env = { PRIMA_SERVER: 'https://a', PRIMA_TOKEN: 't', PRIMA_REPO: 'main' };
  assert.equal((await run(['status'], env)).connected?.url, 'https://a');
  assert.equal((await run(['status', '--server', 'https://b'], env)).connected?.url, 'https://b');
  const none = await run(['status'], { ...env, PRIMA_SERVER: '', PRIMA_PASSPHRASE: 'x' });
  assert.equal(none.connected, undefined);
  assert.equal(none.opened?.repository, 'main');
});

test('the token comes from a file, which is looked at, or from the environment, never from an argument', async () => {
  const safe = file('token', ' t1\n');
  const first = await run(['host', 'list', '--server', server, '--token-file', safe]);
  assert.equal(first.connected?.token, 't1');
  assert.equal(first.stderr, '');
  const open = await run(['host', 'list', '--server', server, '--token-file', file('open', 't2', 0o644)]);
  assert.equal(open.connected?.token, 't2');
  assert.match(open.stderr, /can be read by other users; chmod 600/);
  const none = await run(['host', 'list', '--server', server], {});
  assert.equal(none.status, 2);
  assert.match(none.stderr, /a server wants a token: give --token-file FILE or set PRIMA_TOKEN/);
  const empty = await run(['host', 'list', '--server', server, '--token-file', file('empty', '\n')]);
  assert.equal(empty.status, 2);
  assert.equal((await run(['host', 'list', '--server', server, '--token', 't'])).status, 2);
});

test('what its certificate is trusted by goes along; what is said goes before the environment', async () => {
  const authority = file('ca.pem', 'the authority');
  const list = ['host', 'list', '--server', server];
  const env = { PRIMA_TOKEN: 't', PRIMA_SERVER_FINGERPRINT: 'sha256:ab' };
  assert.equal((await run(list, env)).connected?.fingerprint, 'sha256:ab');
  assert.deepEqual((await run([...list, '--server-ca', authority], env)).connected, {
    url: server,
    token: 't',
    ca: 'the authority',
  });
  const said = await run([...list, '--server-fingerprint', 'sha256:cd'], {
    ...env,
    PRIMA_SERVER_CA: authority,
  });
  assert.deepEqual(said.connected, { url: server, token: 't', fingerprint: 'sha256:cd' });
  assert.equal((await run([...list, '--server-ca', join(folder, 'none')])).status, 3);
});

test('what a server may store a second for a backup goes with the request', async () => {
  const limits = ['--limit-upload', '20M', '--limit-read', '100M'];
  const { calls } = await run(['backup', 'lab/web', '--repo', 'main', '--server', server, ...limits]);
  const wanted = { sources: ['lab/web'], limits: { read: 100 * 1024 ** 2, store: 20 * 1024 ** 2 } };
  assert.deepEqual(calls[0]?.request, wanted);
});

test('options that say nothing to a server are refused, and those for a server without one', async () => {
  for (const option of [
    ['--passphrase-file', '/p'],
    ['--key-file', '/k'],
    ['--recovery-file', '/r'],
    ['--ask-recovery'],
    ['--home', '/h'],
    ['--limit-upload', '1M'],
    ['--limit-download', '1M'],
    ['--cache-size', '0'],
  ]) {
    const { status, stderr, calls } = await run(['status', '--repo', 'main', '--server', server, ...option]);
    assert.equal(status, 2);
    assert.ok(stderr.includes(`${option[0]} is not for work that a server does`), stderr);
    assert.deepEqual(calls, []);
  }
  for (const option of ['--token-file', '--server-ca', '--server-fingerprint']) {
    const { status, stderr } = await run(['host', 'list', option, 'x']);
    assert.equal(status, 2);
    assert.ok(stderr.includes(`${option} is for a server: give --server URL, too`), stderr);
  }
});

test('a repository that is missing is asked for by its name', async () => {
  const { status, stderr } = await run(['points', '--server', server]);
  assert.equal(status, 2);
  assert.match(stderr, /needs a repository: give --repo NAME, as the server knows it/);
});

test('paths are the server’s: whole ones go as they are, others are refused before anything is sent', async () => {
  const at = ['--server', server, '--repo', 'main'];
  const whole: [string[], unknown][] = [
    [['restore', 'latest', '--to', '/out'], { point: 'latest', folder: '/out' }],
    [['machine', 'import', 'lab', '/a.ova'], { host: 'lab', path: '/a.ova' }],
    [['host', 'add', 'lab', '/machines'], { name: 'lab', platform: 'qemu', location: '/machines' }],
  ];
  for (const [args, request] of whole) {
    const { calls } = await run([...args, ...at]);
    assert.deepEqual(calls[0]?.request, request);
  }
  for (const args of [
    ['restore', 'latest', '--to', 'out'],
    ['restore', 'latest', '--to-device', 'sdb', '--overwrite-lun'],
    ['machine', 'import', 'lab', 'a.ova'],
    ['host', 'add', 'lab', 'machines'],
    ['datastore', 'add', 'fast', 'a'],
    ['export', 'latest', '--socket', 'x'],
    ['repair', '--from', 'copy'],
    ['machine', 'create', 'lab/a', '--disk-copy', 'a.raw'],
  ]) {
    const { status, stderr, calls } = await run([...args, ...at]);
    assert.equal(status, 2, args.join(' '));
    assert.match(stderr, /would be a file of the server; write its whole path there/);
    assert.deepEqual(calls, []);
  }
});

test('a key file that goes with a request is read here', async () => {
  const key = file('key', new Uint8Array([1, 2, 3, 255]));
  const secret = { kind: 'keyfile-content', base64: 'AQID/w==' };
  const at = ['--server', server, '--repo', 'main'];
  const requests = async (...args: string[]) =>
    (await run([...args, ...at])).calls.map(({ request }) => request);
  assert.deepEqual(await requests('key', 'add', '--label', 'a', '--new-key-file', key), [
    { label: 'a', secret },
  ]);
  assert.deepEqual(await requests('key', 'rotate', '--root', '--also-key-file', key), [{ others: [secret] }]);
  const [copy] = await requests('copy', '--all', '--to', '/mnt', '--to-key-file', key);
  assert.deepEqual(copy, { all: true, to: { url: '/mnt', secret } });
});

test('who leaves at the second Ctrl-C is told what becomes of the job', async () => {
  const begun = Promise.withResolvers<void>();
  const running = startFake(['backup', 'lab/a', '--server', server, '--repo', 'main'], {
    env: { PRIMA_TOKEN: 't' },
    answers: {
      backup: async (_: never, { signal }) => {
        begun.resolve();
        await new Promise((resolve) => signal?.addEventListener('abort', resolve));
        running.interrupt();
        throw signal?.reason;
      },
    },
  });
  await begun.promise;
  running.interrupt();
  const { status, stderr, exits } = await running.ended;
  assert.equal(status, 130);
  assert.match(stderr, /left; the server was asked to end the job and cleans up by itself/);
  assert.deepEqual(exits, [130]);
});
