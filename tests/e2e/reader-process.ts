/** A program that reads a machine until it is killed, for the tests of killed backups. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { projectRoot, waitUntil } from '@prima/testbed';

/** Starts the TypeScript program `script` and waits until it has printed `until`. */
export async function startProgram(
  script: string,
  args: readonly string[],
  until: string,
): Promise<ChildProcess> {
  const child = spawn(process.execPath, [script, ...args], {
    cwd: projectRoot,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  await waitUntil(() => said.includes(until) || child.exitCode !== null, {
    what: `${script} to say "${until}"`,
    timeoutMs: 120_000,
  });
  assert.equal(child.exitCode, null, said);
  return child;
}

export async function kill(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

/** The process id of its child whose command line has `part`. */
export async function childOf({ pid }: ChildProcess, part: string): Promise<number> {
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await readFile(`/proc/${name}/stat`, 'latin1').catch(() => ''); // it has just ended
    if (Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) !== pid) continue;
    const command = await readFile(`/proc/${name}/cmdline`, 'latin1').catch(() => '');
    if (command.includes(part)) return Number(name);
  }
  return assert.fail(`process ${pid} has no child with ${part}`);
}
