import assert from 'node:assert/strict';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { CallOptions } from '@prima/api';
import { errorCodes, type ErrorCode, GiB, MiB, PrimaError } from '@prima/base';
import { answers, point } from './fake-answers.ts';
import type { Secret } from './environment.ts';
import { type Answers, runFake, startFake } from './fake-environment.ts';

test('help lists every command, on standard output', async () => {
  const { status, stdout, stderr } = await runFake(['--help']);
  assert.deepEqual([status, stderr], [0, '']);
  const commands =
    'init backup points show diff restore export check forget collect key storage host machine disk demo status help';
  for (const name of commands.split(' ')) assert.match(stdout, new RegExp(`^ {2}${name}\\b`, 'm'), name);
  for (const option of ['repo', 'passphrase-file', 'key-file', 'home', 'json', 'quiet', 'verbose']) {
    assert.match(stdout, new RegExp(`^ {2}--${option}\\b`, 'm'), option);
  }
});

test('help of a group lists its commands', async () => {
  const groups = {
    key: 'list add remove',
    storage: 'test undelete',
    host: 'list add test remove',
    disk: 'info map compare convert',
    machine: 'list show create start stop suspend resume delete screenshot console',
  };
  for (const [group, names] of Object.entries(groups)) {
    const { status, stdout } = await runFake([group, '--help']);
    assert.equal(status, 0);
    for (const name of names.split(' ')) assert.match(stdout, new RegExp(`^ {2}${name}\\b`, 'm'), name);
  }
});

test('no command, or a group alone, shows help on standard error and ends with 2', async () => {
  for (const argv of [[], ['machine']]) {
    const { status, stdout, stderr } = await runFake(argv);
    assert.deepEqual([status, stdout], [2, '']);
    assert.match(stderr, /^Usage: prima/);
  }
});

test('the version is the package’s', async () => {
  const { status, stdout } = await runFake(['--version']);
  assert.equal(status, 0);
  assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
});

test('every error code ends with its exit status, and says what happened once', async () => {
  for (const code of Object.keys(errorCodes) as ErrorCode[]) {
    const show = () => {
      throw new PrimaError(code, `no luck: ${code}`, { details: { at: 7 } });
    };
    const human = await runFake(['show', 'x'], { answers: { show } });
    assert.equal(human.status, errorCodes[code].exit);
    assert.ok(human.stderr.startsWith(`prima: no luck: ${code}\n`));
    assert.deepEqual([human.stdout, human.closed], ['', true]);
    const json = await runFake(['show', 'x', '--json'], { answers: { show } });
    assert.equal(json.stderr, '');
    assert.deepEqual(JSON.parse(json.stdout), {
      type: 'error',
      error: { code, message: `no luck: ${code}`, exitStatus: errorCodes[code].exit, details: { at: 7 } },
    });
  }
});

test('what is not one of our errors is internal; its stack is for --verbose', async () => {
  const show = () => {
    throw new TypeError('x is not a function');
  };
  const plain = await runFake(['show', 'x'], { answers: { show } });
  assert.equal(plain.status, 70);
  assert.match(
    plain.stderr,
    /^prima: running prima show: x is not a function\nprima: this is a mistake in Prima/,
  );
  assert.doesNotMatch(plain.stderr, /run\.test\.ts/);
  const verbose = await runFake(['--verbose', 'show', 'x'], { answers: { show } });
  assert.match(verbose.stderr, /caused by: TypeError: x is not a function\n +at .*run\.test\.ts/);
});

test('repository, state folder and their defaults', async () => {
  const opened = async (argv: string[], env: Record<string, string>) => {
    const { opened } = await runFake([...argv, 'host', 'list'], { answers, env });
    return [opened?.repository, opened?.home];
  };
  assert.deepEqual(await opened([], { HOME: '/h' }), [undefined, '/h/.local/state/prima']);
  assert.deepEqual(await opened([], { HOME: '/h', XDG_STATE_HOME: '/s' }), [undefined, '/s/prima']);
  assert.deepEqual(await opened([], { PRIMA_REPO: 'r', PRIMA_HOME: '/p' }), ['r', '/p']);
  const options = ['--repo', 'q', '--home', '/o'];
  assert.deepEqual(await opened(options, { PRIMA_REPO: 'r', PRIMA_HOME: '/p' }), ['q', '/o']);
  const none = await runFake(['points'], { answers, env: {} });
  assert.equal(none.status, 2);
  assert.match(none.stderr, /^prima: prima points needs a repository: give --repo URL or set PRIMA_REPO\n$/);
});

test('limits and the room of the cache reach the application', async () => {
  const opened = async (line: string) => (await runFake(line.split(' '), { answers })).opened?.store;
  assert.deepEqual(await opened('key list --limit-upload 10M --limit-download 1.5MiB/s --cache-size 2G'), {
    upload: 10 * MiB,
    download: 1.5 * MiB,
    cacheBytes: 2 * GiB,
  });
  assert.equal((await opened('key list --cache-size 0'))?.cacheBytes, 0);
});

test('global options work before and after the command', async () => {
  for (const argv of [
    ['--json', '--repo', 'r', 'key', 'list'],
    ['key', 'list', '--repo', 'r', '--json'],
    ['key', '--repo', 'r', 'list', '--json'],
  ]) {
    const { stdout, opened } = await runFake(argv, { answers, env: {} });
    assert.equal(opened?.repository, 'r');
    assert.equal(JSON.parse(stdout).type, 'result');
  }
});

const storied: Answers['backup'] = (_, { onEvent }) => {
  onEvent?.({ type: 'log', level: 'debug', message: 'a detail' });
  onEvent?.({ type: 'log', level: 'info', message: 'freezing' });
  onEvent?.({ type: 'log', level: 'warn', message: 'the agent is slow', fields: { ms: 900 } });
  onEvent?.({ type: 'progress', subject: 'web01 disk0', done: 0, total: 100 });
  onEvent?.({ type: 'progress', subject: 'web01 disk0', done: 50, total: 100 });
  onEvent?.({ type: 'progress', subject: 'web01 disk0', done: 100, total: 100 });
  return { results: [{ source: 'a', point, elapsedMs: 1000 }] };
};

test('log lines go to standard error, as many as were asked for', async () => {
  const stderr = async (...more: string[]) =>
    (await runFake(['backup', 'a', ...more], { answers: { backup: storied } })).stderr;
  assert.equal(await stderr(), 'prima: freezing\nprima: warning: the agent is slow\n');
  assert.equal(await stderr('--quiet'), 'prima: warning: the agent is slow\n');
  assert.match(await stderr('--verbose'), /^prima: a detail\nprima: freezing\n/);
});

test('in JSON, events are a line each, progress ten times a second at most, and the result is last', async () => {
  const lines = async (...more: string[]) => {
    const { stdout, stderr } = await runFake(['backup', 'a', '--json', ...more], {
      answers: { backup: storied },
    });
    assert.equal(stderr, '');
    return stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
  };
  const all = await lines();
  assert.deepEqual(all.slice(0, -1), [
    { type: 'log', level: 'info', message: 'freezing' },
    { type: 'log', level: 'warn', message: 'the agent is slow', fields: { ms: 900 } },
    { type: 'progress', subject: 'web01 disk0', done: 0, total: 100 },
    { type: 'progress', subject: 'web01 disk0', done: 100, total: 100 },
  ]);
  assert.deepEqual([all.at(-1).type, all.at(-1).command], ['result', 'backup']);
  assert.deepEqual(
    (await lines('--quiet')).map((line) => line.type),
    ['result'],
  );
});

/** Answers only when the signal is aborted, after some cleaning up. */
function untilAborted(started: () => void, error: () => unknown) {
  return (_: unknown, { signal }: CallOptions) =>
    new Promise((_resolve, reject) => {
      signal?.addEventListener('abort', () => setImmediate(() => reject(error())), { once: true });
      started();
    });
}

test('Ctrl-C cancels, waits for the cleaning up and ends with 130', async () => {
  const started = Promise.withResolvers<void>();
  const abortError = () => new DOMException('aborted', 'AbortError');
  const running = startFake(['backup', 'a'], {
    answers: { backup: untilAborted(started.resolve, abortError) },
  });
  await started.promise;
  running.interrupt();
  const { status, stderr, closed, exits } = await running.ended;
  assert.deepEqual([status, closed, exits], [130, true, []]);
  assert.match(stderr, /^prima: cancelling, cleaning up…/);
  assert.match(stderr, /\nprima: cancelled while running prima backup\n$/);
});

test('an error of the cleaning up is told, and the status is still 130', async () => {
  const started = Promise.withResolvers<void>();
  const fault = () => new PrimaError('remote', 'the monitor is gone');
  const running = startFake(['backup', 'a', '--json'], {
    answers: { backup: untilAborted(started.resolve, fault) },
  });
  await started.promise;
  running.interrupt();
  const { status, stdout } = await running.ended;
  assert.equal(status, 130);
  const { error } = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '');
  assert.equal(error.message, 'cancelled, but cleaning up met an error: the monitor is gone');
  assert.equal(error.details.code, 'remote');
});

test('a second Ctrl-C leaves at once and says what is left', async () => {
  const started = Promise.withResolvers<void>();
  const fault = () => new PrimaError('cancelled', 'cancelled');
  const running = startFake(['backup', 'a'], { answers: { backup: untilAborted(started.resolve, fault) } });
  await started.promise;
  running.interrupt();
  running.interrupt();
  const { exits, stderr } = await running.ended;
  assert.deepEqual(exits, [130]);
  assert.match(stderr, /left without cleaning up; the next prima .* removes what is left/);
});

test('export serves until Ctrl-C, stops and ends with 0', async () => {
  for (const json of [false, true]) {
    const served = Promise.withResolvers<void>();
    let stopped = 0;
    const uris = [{ disk: 'disk0', uri: 'nbd+unix:///disk0?socket=/tmp/p.sock' }];
    const stop = async () => {
      stopped += 1;
    };
    const running = startFake(['export', 'latest', '--socket', '/tmp/p.sock', ...(json ? ['--json'] : [])], {
      answers: {
        export: () => {
          setImmediate(served.resolve);
          return { uris, stop };
        },
      },
    });
    await served.promise;
    running.interrupt();
    const { status, stdout, calls } = await running.ended;
    assert.deepEqual([status, stopped], [0, 1]);
    assert.deepEqual(calls, [{ method: 'export', request: { point: 'latest', socket: '/tmp/p.sock' } }]);
    if (json) assert.deepEqual(JSON.parse(stdout).result, { uris });
    else {
      assert.equal(
        stdout,
        `disk0  nbd+unix:///disk0?socket=/tmp/p.sock

For example: qemu-img convert -O qcow2 'nbd+unix:///disk0?socket=/tmp/p.sock' 'disk0.qcow2'
Read-only.
Serving until Ctrl-C.
`,
      );
    }
  }
});

/** Runs `init`, which opens the repository, and gives the secret that reached the application. */
async function secretOf(argv: string[], env: Record<string, string>, typed: string[] = []) {
  const prompts: string[] = [];
  const setup = {
    env: { PRIMA_REPO: 'r', ...env },
    answers,
    ...(typed.length > 0 && {
      askSecret: async (prompt: string) => {
        prompts.push(prompt);
        return typed.shift() ?? '';
      },
    }),
  };
  const { opened, status, stderr } = await runFake(argv, setup);
  const outcome: { secret?: Secret; error?: string } = {};
  try {
    const secret = await opened?.secret?.();
    if (secret) outcome.secret = secret;
  } catch (error) {
    outcome.error = error instanceof Error ? error.message : '';
  }
  return { ...outcome, prompts, status, stderr };
}

test('a passphrase comes from a file, the environment or the terminal, in this order', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'prima-cli-'));
  try {
    const file = join(folder, 'passphrase');
    await writeFile(file, 'from file\n', { mode: 0o600 });
    const key = join(folder, 'key');
    await writeFile(key, Buffer.from([1, 2, 10]), { mode: 0o600 });
    const env = { PRIMA_PASSPHRASE: 'from environment' };
    const fromFile = await secretOf(['points', '--passphrase-file', file], env);
    assert.deepEqual(fromFile.secret, { kind: 'passphrase', text: 'from file' });
    const fromKey = await secretOf(['points', '--key-file', key], env);
    assert.deepEqual(fromKey.secret, { kind: 'keyfile', bytes: Buffer.from([1, 2, 10]) });
    const both = await secretOf(['points', '--key-file', key, '--passphrase-file', file], env);
    assert.match(both.error ?? '', /only one of/);
    assert.deepEqual((await secretOf(['points'], env)).secret, {
      kind: 'passphrase',
      text: 'from environment',
    });
    const asked = await secretOf(['points'], {}, ['typed']);
    assert.deepEqual(
      [asked.secret, asked.prompts],
      [{ kind: 'passphrase', text: 'typed' }, ['Passphrase: ']],
    );
    const none = await secretOf(['points'], {});
    assert.match(
      none.error ?? '',
      /^no passphrase: give --passphrase-file FILE or --key-file FILE or set PRIMA_/,
    );
    const missing = await secretOf(['points', '--key-file', join(folder, 'no')], {});
    assert.match(missing.error ?? '', /^reading the secret in .*ENOENT/);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('the words of a recovery key come from a file, the environment or the terminal', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'prima-cli-'));
  try {
    const file = join(folder, 'words');
    await writeFile(file, 'one two\nthree\n', { mode: 0o600 });
    const env = { PRIMA_RECOVERY: 'from environment', PRIMA_PASSPHRASE: 'p' };
    const fromFile = await secretOf(['points', '--recovery-file', file], env);
    assert.deepEqual(fromFile.secret, { kind: 'recovery', words: 'one two\nthree\n' });
    const fromEnvironment = await secretOf(['points'], env);
    assert.deepEqual(fromEnvironment.secret, { kind: 'recovery', words: 'from environment' });
    const passphrase = await secretOf(['points', '--passphrase-file', file], env);
    assert.equal(passphrase.secret?.kind, 'passphrase');
    const half = Array.from({ length: 12 }, (_, i) => `${i + 1}. word`).join(' ');
    const asked = await secretOf(['points', '--ask-recovery'], {}, [half, half]);
    assert.deepEqual(asked.prompts, ['Recovery key, words 1 to 24: ', 'Recovery key, words 13 to 24: ']);
    assert.deepEqual(asked.secret, { kind: 'recovery', words: Array(24).fill('word').join(' ') });
    const none = await secretOf(['points', '--ask-recovery'], {});
    assert.match(none.error ?? '', /^there is no terminal to ask on; give --recovery-file FILE/);
    const two = await secretOf(['points', '--ask-recovery', '--key-file', file], {});
    assert.match(two.error ?? '', /only one of/);
    const fresh = await secretOf(['init', '--recovery-file', file], {});
    assert.match(fresh.error ?? '', /a new repository gets a passphrase or a key file/);
    assert.equal((await secretOf(['init'], env)).secret?.kind, 'passphrase');
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('a recovery key is shown as numbered words to be kept on paper', async () => {
  const words = Array.from({ length: 24 }, (_, i) => `word${String.fromCharCode(97 + i)}`);
  const slot = { id: 'k3', kind: 'recovery', access: 'full', label: 'safe', created: '2026-03-04T15:30:00Z' };
  const answer = { ...answers, keyAdd: () => ({ ...slot, words }) };
  const argv = ['key', 'add', '--recovery', '--label', 'safe'];
  const { stdout } = await runFake(argv, { answers: answer });
  assert.match(stdout, /^Added key slot k3 \(recovery, safe\)\n/);
  assert.match(stdout, /\n {3}1\. worda {5,}7\. wordg {4,}13\. wordm {4,}19\. words\n/);
  assert.match(stdout, /on paper/);
  const json = await runFake([...argv, '--json'], { answers: answer });
  assert.deepEqual(JSON.parse(json.stdout).result.words, words);
  const both = await runFake([...argv, '--new-key-file', 'k'], { answers: answer });
  assert.equal(both.status, 2);
});

test('a new passphrase is asked for twice', async () => {
  const same = await secretOf(['init'], {}, ['new', 'new']);
  assert.deepEqual(same.prompts, ['Passphrase: ', 'Once more: ']);
  assert.deepEqual(same.secret, { kind: 'passphrase', text: 'new' });
  assert.match((await secretOf(['init'], {}, ['new', 'mew'])).error ?? '', /differ; nothing was done/);
  assert.match((await secretOf(['init'], {}, ['', ''])).error ?? '', /the passphrase is empty/);
});

test('key add hands over the new secret, and no output holds it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'prima-cli-'));
  try {
    const file = join(folder, 'new');
    await writeFile(file, 'hush-hush\n');
    await chmod(file, 0o644);
    const added = await runFake(['key', 'add', '--label', 'vault', '--new-passphrase-file', file], {
      answers,
    });
    const secret = { kind: 'passphrase', text: 'hush-hush' };
    assert.deepEqual(added.calls, [{ method: 'keyAdd', request: { secret, label: 'vault' } }]);
    assert.equal(added.stderr, `prima: warning: ${file} can be read by other users; chmod 600 ${file}\n`);
    assert.doesNotMatch(added.stdout + added.stderr, /hush/);
    const env = { PRIMA_REPO: 'r', PRIMA_NEW_PASSPHRASE: 'hush-hush' };
    const json = await runFake(['key', 'add', '--label', 'vault', '--json'], { answers, env });
    assert.deepEqual(json.calls, added.calls);
    assert.doesNotMatch(json.stdout, /hush/);
    assert.equal(JSON.parse(json.stdout).result.id, 'k2');
    const key = await runFake(['key', 'add', '--label', 'vault', '--new-key-file', file], { answers });
    assert.deepEqual(key.calls[0]?.request, { secret: { kind: 'keyfile', path: file }, label: 'vault' });
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('colours appear on a terminal only, and not against NO_COLOR', async () => {
  const coloured = async (columns: number | undefined, env: Record<string, string>) => {
    const { stdout } = await runFake(['points'], {
      answers,
      env: { PRIMA_REPO: 'r', ...env },
      ...(columns && { columns }),
    });
    return stdout.includes('\u001b[');
  };
  assert.equal(await coloured(100, {}), true);
  assert.equal(await coloured(100, { NO_COLOR: '1' }), false);
  assert.equal(await coloured(100, { TERM: 'dumb' }), false);
  assert.equal(await coloured(undefined, {}), false);
});
