/**
 * A program of the operator's own, before or after a job: an argument list that no shell reads, a deadline, output in lines. It has a
 * process group of its own, which ends with it, at its deadline, and when this process ends however it ends: a shell between the two
 * reads a pipe that only we hold.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { PrimaError, RemoteError, systemErrorCode, throwIfAborted, toPrimaError } from '@prima/base';

export interface OwnCommand {
  /** The program's absolute path, and its arguments. */
  command: readonly string[];
  seconds: number;
}

export interface OwnCommandOptions {
  /** Besides PATH and LANG: nothing of ours, in which there may be secrets. */
  env: Readonly<Record<string, string>>;
  onLine: (line: string) => void;
  signal?: AbortSignal | undefined;
}

const guard = `
exec 3<&0
"$@" </dev/null 3<&- &
pid=$!
{ while read -r _ <&3; do :; done; kill -9 0; } >/dev/null 2>&1 &
exec >/dev/null 2>&1
wait "$pid"
`;
const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const graceMs = 5000;
const lookMs = 50;
const linesAtMost = 200;
const lineCharacters = 1000;

/** Raises `remote` for a status other than 0, `timeout`, `cancelled`. Whatever it raises, nothing of its group runs any more. */
export async function runOwnCommand(
  { command, seconds }: OwnCommand,
  { env, onLine, signal }: OwnCommandOptions,
): Promise<void> {
  const [program = ''] = command;
  throwIfAborted(signal, `running ${program}`);
  const child = spawn('/bin/sh', ['-c', guard, 'sh', ...command], {
    detached: true,
    cwd: '/',
    env: { PATH: path, LANG: 'C.UTF-8', ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const ended = endOf(child, program);
  tellLines([child.stdout, child.stderr], onLine);
  const stopped = Promise.withResolvers<PrimaError>();
  const late = new RemoteError(`${program} did not end within ${seconds} s`, { code: 'timeout' });
  const deadline = setTimeout(() => stopped.resolve(late), seconds * 1000);
  const onAbort = () => stopped.resolve(toPrimaError(signal?.reason, `running ${program}`));
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    const outcome = await Promise.race([ended, stopped.promise]);
    if (typeof outcome !== 'number') {
      await endGroup(child);
      throw outcome;
    }
    if (outcome !== 0)
      throw new RemoteError(`${program} failed with status ${outcome}; its output is in the job’s log`, {
        details: { program, status: outcome },
      });
  } finally {
    clearTimeout(deadline);
    signal?.removeEventListener('abort', onAbort);
  }
}

function endOf(child: ChildProcess, program: string): Promise<number> {
  child.stdin?.on('error', () => undefined); // the guard is gone already
  child.once('exit', () => child.stdin?.end()); // what it left in its group is ended with it
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', (error) => reject(toPrimaError(error, `starting ${program}`)));
    child.once('close', (code) => resolve(code ?? -1));
  });
  ended.catch(() => undefined); // may come when nobody waits any more
  return ended;
}

async function endGroup({ pid, stdin, stdout, stderr }: ChildProcess): Promise<void> {
  signalGroup(pid, 'SIGTERM');
  for (let waited = 0; waited < graceMs && signalGroup(pid, 0); waited += lookMs) await pause(lookMs);
  signalGroup(pid, 'SIGKILL');
  // something that left the group may hold the other ends
  for (const stream of [stdin, stdout, stderr]) stream?.destroy();
}

/** False where there is no such group any more. */
function signalGroup(pid: number | undefined, signal: NodeJS.Signals | 0): boolean {
  if (pid === undefined) return false;
  try {
    return process.kill(-pid, signal);
  } catch (error) {
    if (systemErrorCode(error) === 'ESRCH') return false;
    throw error;
  }
}

/** Bounded in lines and in their length, however much is printed. */
function tellLines(streams: readonly (Readable | null)[], onLine: (line: string) => void): void {
  let lines = 0;
  const tell = (line: string) => {
    lines += 1;
    if (lines <= linesAtMost) onLine(line);
    else if (lines === linesAtMost + 1) onLine(`(of its output the first ${linesAtMost} lines are kept)`);
  };
  for (const stream of streams) {
    let begun = '';
    stream?.setEncoding('utf8');
    stream?.on('data', (text: string) => {
      const pieces = text.split('\n');
      for (const [index, piece] of pieces.entries()) {
        begun = (begun + piece).slice(0, lineCharacters);
        if (index === pieces.length - 1) break;
        tell(begun);
        begun = '';
      }
    });
    stream?.on('end', () => {
      if (begun !== '') tell(begun);
    });
  }
}
