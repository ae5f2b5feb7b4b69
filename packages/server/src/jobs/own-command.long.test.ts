/** Real programs: their output, their deadline, and that nothing of them is left, also when this process is killed. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemErrorCode } from '@prima/base';
import { temporaryFolder, waitUntil } from '@prima/testbed';
import { runOwnCommand } from './own-command.ts';

async function run(command: string[], more: { seconds?: number; signal?: AbortSignal } = {}) {
  const lines: string[] = [];
  const { seconds = 60, signal } = more;
  const onLine = (line: string) => void lines.push(line);
  const error = await runOwnCommand({ command, seconds }, { env: { PRIMA_JOB: 'j' }, onLine, signal }).then(
    () => undefined,
    (failure: Error & { code: string }) => failure,
  );
  return { lines, error };
}

const shell = (script: string, ...args: string[]) => ['/bin/sh', '-c', script, 'sh', ...args];

/** Answers once each process whose number is in the file is no more. */
const isGone = (file: string) =>
  waitUntil(
    async () => {
      const text = await readFile(file, 'utf8').catch(() => '');
      const pids = text.split('\n').filter(Boolean);
      return pids.length === 2 && pids.every((pid) => !lives(Number(pid)));
    },
    { what: 'its processes to be gone' },
  );

function lives(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return systemErrorCode(error) !== 'ESRCH';
  }
}

/** Two processes that write nothing, one of which ignores being asked to end. */
const stubborn = (file: string) =>
  shell(
    'trap "" TERM; exec >/dev/null 2>&1; echo $$ > "$1"; sleep 1000 & echo $! >> "$1"; wait; sleep 1000',
    file,
  );

test('arguments arrive as they are; the environment is what was said and no more', async () => {
  const { lines, error } = await run(['/usr/bin/printf', '%s\\n', '$HOME; rm -rf', '* "', 'a b']);
  assert.deepEqual([lines, error], [['$HOME; rm -rf', '* "', 'a b'], undefined]);
  const env = await run(['/usr/bin/env']);
  assert.deepEqual(
    env.lines
      .map((line) => line.split('=')[0])
      .filter((key) => key !== 'PWD' && key !== '_')
      .sort(),
    ['LANG', 'PATH', 'PRIMA_JOB'],
  );
});

test('a status, a program that is not there, and much output are told', async () => {
  const failed = await run(shell('echo out; echo err >&2; exit 3'));
  assert.deepEqual(failed.lines.sort(), ['err', 'out']);
  assert.equal(failed.error?.code, 'remote');
  assert.match(failed.error?.message ?? '', /status 3/);
  const missing = await run(['/nowhere/program']);
  assert.match(missing.error?.message ?? '', /status 127/);
  assert.match(missing.lines.join(), /not found/);
  const { lines } = await run(shell('head -c 5000 /dev/zero | tr "\\0" x; echo; seq 1000'));
  assert.equal(lines.length, 201);
  assert.equal(lines[0]?.length, 1000);
  assert.match(lines.at(-1) ?? '', /first 200 lines/);
});

test('what outlives its deadline is killed with all of its group', async (t) => {
  const file = join(await temporaryFolder(t), 'pids');
  const { error } = await run(stubborn(file), { seconds: 1 });
  assert.equal(error?.code, 'timeout');
  await isGone(file);
});

test('what is left running after the program’s end is ended with it', async (t) => {
  const file = join(await temporaryFolder(t), 'pids');
  const { error } = await run(shell('echo $$ > "$1"; sleep 1000 & echo $! >> "$1"', file));
  assert.equal(error, undefined);
  await isGone(file);
});

test('cancelled', async (t) => {
  const file = join(await temporaryFolder(t), 'pids');
  const abort = new AbortController();
  const running = run(shell('echo $$ > "$1"; sleep 1000 & echo $! >> "$1"; echo on; wait', file), abort);
  await waitUntil(async () => (await readFile(file, 'utf8').catch(() => '')).split('\n').length === 3, {
    what: 'it to run',
  });
  abort.abort();
  assert.equal((await running).error?.code, 'cancelled');
  await isGone(file);
});

test('killed with the process that runs it, however that ends', async (t) => {
  const file = join(await temporaryFolder(t), 'pids');
  const module = join(import.meta.dirname, 'own-command.ts');
  const code = `const { runOwnCommand } = await import(process.argv[1]);
    await runOwnCommand({ command: JSON.parse(process.argv[2]), seconds: 1000 }, { env: {}, onLine() {} });`;
  const args = ['--input-type=module', '-e', code, module, JSON.stringify(stubborn(file))];
  const child = spawn(process.execPath, args, { stdio: 'inherit' });
  await waitUntil(async () => (await readFile(file, 'utf8').catch(() => '')).split('\n').length === 3, {
    what: 'it to run',
  });
  child.kill('SIGKILL');
  await once(child, 'exit');
  await isGone(file);
});
