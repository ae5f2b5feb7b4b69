/**
 * One at a time: the lock on a machine. flock(1) holds it for a child process of ours, because Node has no
 * flock(2): the kernel lets go when that child ends, however it ends, so a stale lock cannot be.
 *
 * A live backup's child is the guardian (guardian.ts), which undoes what we did to QEMU when we die, and
 * keeps the lock until it has; for everything else it is cat(1). Both hear of our end through their standard
 * input, and are in a session of their own, so that Ctrl-C reaches only us.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { missingProgram, PrimaError, systemErrorCode, toPrimaError, withDeadline } from '@prima/base';
import { type MachinePaths, makeRunFolder, readOptional } from './machine-folder.ts';

export interface MachineLock {
  /** Lets go; a guardian is told that nothing is left to undo. May be called again. */
  release(): Promise<void>;
  /**
   * Lets the guardian undo what backup.json says, and waits until it has and the lock is free. For when this
   * process could not do it itself.
   */
  abandon(): Promise<void>;
}

export interface LockOptions {
  /** What for, for others' messages: "a hot backup". */
  purpose: string;
  /** Undo a live backup when this process dies. */
  guardian?: boolean;
}

const busyStatus = 75;
const guardianPath = join(import.meta.dirname, 'guardian.ts');

/** What a guardian could not undo, and why. */
const guardianLogName = 'guardian.log';

/** Our own environment may hold a passphrase: a process that outlives us does not get it. */
function holderEnvironment(): NodeJS.ProcessEnv {
  const { PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', HOME } = process.env;
  return { PATH, LC_ALL: 'C', ...(HOME === undefined ? {} : { HOME }) };
}

/** Takes the machine's lock, or raises `busy` at once, naming who has it. */
export async function lockMachine(paths: MachinePaths, options: LockOptions): Promise<MachineLock> {
  await makeRunFolder(paths);
  const holder = options.guardian
    ? [process.execPath, '--disable-warning=ExperimentalWarning', guardianPath, paths.vmx]
    : ['sh', '-c', 'echo held; exec cat >/dev/null'];
  const args = ['-n', '-F', '-E', String(busyStatus), paths.lock, ...holder];
  const log = await open(join(paths.run, guardianLogName), 'a', 0o600);
  const child = spawn('flock', args, {
    stdio: ['pipe', 'pipe', log.fd],
    detached: true,
    cwd: '/',
    env: holderEnvironment(),
  }) as ChildProcessByStdio<Writable, Readable, null>;
  const taken = held(child, paths); // at once: it may be over soon
  taken.catch(() => undefined); // told below
  await log.close();
  child.stdin.on('error', () => undefined); // it may be gone; its exit says so
  try {
    await withDeadline(30_000, `locking ${paths.folder}`, () => taken);
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
  await noteHolder(paths, options.purpose);
  return lockOf(child);
}

function lockOf(child: ChildProcessByStdio<Writable, Readable, null>): MachineLock {
  const end = async (message: string) => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.stdin.end(message);
    await exited;
  };
  let ended: Promise<void> | undefined;
  return {
    release: () => (ended ??= end('done\n')),
    abandon: () => (ended ??= end('')),
  };
}

function held(child: ChildProcessByStdio<Writable, Readable, null>, paths: MachinePaths): Promise<void> {
  return new Promise((resolve, reject) => {
    child.stdout.once('data', () => resolve());
    child.once('error', (error) => {
      const missing = systemErrorCode(error) === 'ENOENT';
      reject(missing ? missingProgram('flock') : toPrimaError(error, `locking ${paths.folder}`));
    });
    child.once('exit', (status, signal) => {
      if (status === busyStatus) busy(paths).then(reject, reject);
      else reject(new PrimaError('io', `locking ${paths.folder}: flock ended (${status ?? signal})`));
    });
  });
}

async function busy(paths: MachinePaths): Promise<PrimaError> {
  const holder = await lockHolder(paths);
  const who = holder === undefined ? 'another process' : `${holder.purpose} (process ${holder.pid})`;
  const since = holder === undefined ? '' : `, since ${holder.since}`;
  return new PrimaError(
    'busy',
    `the machine in ${paths.folder} is in use by ${who}${since}; try again later`,
    {
      retryable: true,
      details: { ...holder },
    },
  );
}

interface LockHolder {
  purpose: string;
  pid: number;
  since: string;
}

/** Only words for messages: what counts is the flock. */
async function noteHolder(paths: MachinePaths, purpose: string): Promise<void> {
  const holder: LockHolder = { purpose, pid: process.pid, since: new Date().toISOString() };
  await writeFile(paths.lock, `${JSON.stringify(holder)}\n`);
}

async function lockHolder(paths: MachinePaths): Promise<LockHolder | undefined> {
  const text = (await readOptional(paths.lock)) ?? '';
  const match = /^\{"purpose":"([^"]{1,100})","pid":(\d+),"since":"([^"]{1,40})"\}/.exec(text);
  return match ? { purpose: match[1] ?? '', pid: Number(match[2]), since: match[3] ?? '' } : undefined;
}

/** Runs `task` under the lock. */
export async function withMachineLock<T>(
  paths: MachinePaths,
  purpose: string,
  task: () => Promise<T>,
): Promise<T> {
  const lock = await lockMachine(paths, { purpose });
  try {
    return await task();
  } finally {
    await lock.release();
  }
}
