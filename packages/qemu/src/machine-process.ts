/**
 * QEMU processes that outlive us. A machine belongs to its run folder, its working directory:
 *
 *   qemu.pid        written and locked by QEMU itself, so that two cannot start on one folder
 *   machine.json    who that process is (boot, pid, start time), written once it answers
 *   qemu.log        what QEMU printed since it was started last; qemu.log.old the time before
 *
 * A pid alone proves nothing: a process is this folder's machine when it works in the folder, was
 * started with its pid file, and has the start time that was noted.
 */
import { readFile, readlink, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import {
  assert,
  FormatError,
  identityOf,
  liveness,
  type ProcessIdentity,
  RemoteError,
  replaceFile,
  systemClock,
  systemErrorCode,
  toPrimaError,
  withDeadline,
} from '@prima/base';
import { isJsonObject } from './json-lines.ts';
import type { CallOptions } from './qmp.ts';

export const pidFileName = 'qemu.pid';
const recordName = 'machine.json';

export interface MachineProcess {
  readonly runFolder: string;
  readonly identity: ProcessIdentity;
  isAlive(): Promise<boolean>;
  /** Resolves when the process is gone. Default deadline 30 s; raises `timeout`, `cancelled`. */
  waitForExit(options?: CallOptions): Promise<void>;
  /** Ends the process hard (SIGKILL) and waits until it is gone. Nothing when it is gone already. */
  kill(options?: CallOptions): Promise<void>;
}

/**
 * The machine that runs in `runFolder`, or undefined: none was started, it has ended, or the pid has
 * passed to another process. Raises `permission` when a process of another user cannot be looked at.
 */
export async function findMachineProcess(runFolder: string): Promise<MachineProcess | undefined> {
  const pid = await readPid(join(runFolder, pidFileName));
  if (pid === undefined) return undefined;
  const identity = await identityOf(pid);
  if (!identity || !(await worksIn(pid, runFolder))) return undefined;
  const noted = await readRecord(join(runFolder, recordName));
  // a note of another pid, or of before the last boot, is an earlier run's
  const sameRun = noted?.pid === pid && noted.boot === identity.boot && noted.host === identity.host;
  if (sameRun && noted.pidStart !== identity.pidStart) return undefined;
  return machineProcess(runFolder, identity);
}

/** Notes who the machine of `runFolder` is; see `findMachineProcess`. */
export async function recordMachineProcess(runFolder: string, identity: ProcessIdentity): Promise<void> {
  await replaceFile(join(runFolder, recordName), `${JSON.stringify({ version: 1, ...identity }, null, 2)}\n`);
}

function machineProcess(runFolder: string, identity: ProcessIdentity): MachineProcess {
  const isAlive = async () => (await liveness(identity)) === 'alive';
  const waitForExit = ({ timeoutMs = 30_000, signal }: CallOptions = {}) =>
    withDeadline(
      timeoutMs,
      `waiting for the machine in ${runFolder} (pid ${identity.pid}) to end`,
      async (inner) => {
        for (let pauseMs = 5; await isAlive(); pauseMs = Math.min(200, pauseMs * 2)) {
          await systemClock.sleep(pauseMs, inner);
        }
      },
      signal,
    );
  const kill = async (options?: CallOptions) => {
    if (await isAlive()) sendKill(identity.pid, runFolder);
    await waitForExit(options);
  };
  return { runFolder, identity, isAlive, waitForExit, kill };
}

function sendKill(pid: number, runFolder: string): void {
  assert(pid > 1, `pid ${pid} is a process of ours`);
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (systemErrorCode(error) === 'ESRCH') return; // ended in between
    throw toPrimaError(error, `killing the machine in ${runFolder} (pid ${pid})`);
  }
}

async function worksIn(pid: number, runFolder: string): Promise<boolean> {
  try {
    const [cwd, folder] = await Promise.all([readlink(`/proc/${pid}/cwd`), realpath(runFolder)]);
    if (cwd !== folder) return false;
    const args = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0');
    return args[args.indexOf('-pidfile') + 1] === pidFileName;
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ENOENT' || code === 'ESRCH') return false;
    throw toPrimaError(error, `looking at process ${pid}, named by ${join(runFolder, pidFileName)}`);
  }
}

async function readPid(path: string): Promise<number | undefined> {
  const text = (await readOptional(path))?.trim();
  if (text === undefined || text === '') return undefined; // empty for an instant while QEMU starts
  const pid = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (pid <= 1) throw new FormatError(`${path} holds "${text.slice(0, 40)}" where a process id was wanted`);
  return pid;
}

async function readRecord(path: string): Promise<ProcessIdentity | undefined> {
  const text = await readOptional(path);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new FormatError(`${path} is not JSON`, { cause: error });
  }
  const { host, boot, pid, pidStart } = isJsonObject(value) ? value : {};
  if (typeof host === 'string' && typeof boot === 'string' && typeof pidStart === 'string') {
    if (typeof pid === 'number') return { host, boot, pid, pidStart };
  }
  throw new FormatError(
    `${path} does not name a process (host, boot, pid, pidStart); delete it if it is damaged`,
  );
}

async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw toPrimaError(error, `reading ${path}`);
  }
}

/** The error for a machine that ended or did not come up; carries the end of its log. */
export async function launchFailure(runFolder: string, what: string, cause?: unknown): Promise<RemoteError> {
  const path = join(runFolder, logName);
  const log = ((await readOptional(path)) ?? '').trim().slice(-2000);
  const end = log === '' ? `${path} is empty` : log;
  return new RemoteError(`starting the machine in ${runFolder}: ${what}: ${end}`, {
    cause,
    details: { log },
  });
}

export const logName = 'qemu.log';
