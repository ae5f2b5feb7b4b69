import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const prima = import.meta.resolve('./main.ts');
const slowPrima = import.meta.resolve('./testdata/slow-prima.ts');

function start(url: string, argv: readonly string[]) {
  return spawn(process.execPath, [fileURLToPath(url), ...argv], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      PRIMA_REPO: 'file:///nowhere',
      PRIMA_PASSPHRASE: 'hush',
      PRIMA_TOKEN: 'hush',
      GLIBC_TUNABLES: 'glibc.malloc.hugetlb=1', // as bin/prima sets it
    },
  });
}

async function textOf(stream: NodeJS.ReadableStream): Promise<string> {
  let text = '';
  for await (const piece of stream) text += String(piece);
  return text;
}

async function statusOf(child: ChildProcess): Promise<unknown> {
  const [status, signal] = await once(child, 'close');
  return status ?? signal;
}

test('prima --help and a wrong option work without the application', async () => {
  const help = start(prima, ['--help']);
  const [text, status] = await Promise.all([textOf(help.stdout), statusOf(help)]);
  assert.match(text, /^Usage: prima/);
  assert.equal(status, 0);
  const wrong = start(prima, ['backup', '--bogus']);
  const [complaint, wrongStatus] = await Promise.all([textOf(wrong.stderr), statusOf(wrong)]);
  assert.equal(complaint, "prima: unknown option '--bogus'\ntry: prima backup --help\n");
  assert.equal(wrongStatus, 2);
});

test('a signal cancels and ends with 130; programs started later inherit neither passphrase, token nor huge pages', async () => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    const child = start(slowPrima, ['backup', 'x']);
    let stderr = '';
    child.stderr.on('data', (piece: Buffer) => {
      if (stderr === '') child.kill(signal);
      stderr += piece.toString();
    });
    assert.equal(await statusOf(child), 130, signal);
    assert.match(
      stderr,
      /^prima: inherits undefined, undefined, undefined\nprima: cancelling, cleaning up…[^\n]*\nprima: cancelled\n$/,
    );
  }
});

test('a reader that leaves ends the output quietly', async () => {
  const child = start(slowPrima, ['machine', 'console', 'lab/web01']);
  child.stdout.once('data', () => child.stdout.destroy());
  const [stderr, status] = await Promise.all([textOf(child.stderr), statusOf(child)]);
  assert.deepEqual([stderr, status], ['', 0]);
});

test('a slow reader gets all of a long output', async () => {
  // a shell's pipe, which holds 64 KiB; Node's own are sockets, and larger
  const line = '"$0" "$1" machine console lab/web01 | (sleep 1; cat)';
  const child = spawn('sh', ['-c', line, process.execPath, fileURLToPath(slowPrima)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, PRIMA_REPO: 'file:///nowhere', PRIMA_PASSPHRASE: 'hush' },
  });
  const [text, status] = await Promise.all([textOf(child.stdout), statusOf(child)]);
  assert.equal(status, 0);
  assert.ok(text.length > 200_000 && text.trimEnd().endsWith('end'), `${text.length} characters`);
});
