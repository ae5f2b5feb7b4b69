/** Starts QEMU so that it outlives us, and waits until it answers. */
import { type ChildProcess, spawn } from 'node:child_process';
import { type FileHandle, open, rename } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import {
  missingProgram,
  PrimaError,
  RemoteError,
  systemClock,
  systemErrorCode,
  throwIfAborted,
  toPrimaError,
} from '@prima/base';
import {
  findMachineProcess,
  launchFailure,
  logName,
  type MachineProcess,
  pidFileName,
  recordMachineProcess,
} from './machine-process.ts';
import { plainEnvironment } from './environment.ts';
import { connectQmp, type QmpClient } from './qmp.ts';

export interface LaunchSpec {
  /** Working directory of the machine; must exist. Relative paths in `arguments` start here. */
  runFolder: string;
  /**
   * QEMU's arguments, a QMP monitor at `monitor` among them. `-pidfile` is added here; do not pass
   * `-daemonize`.
   */
  arguments: readonly string[];
  /** The control monitor's socket, relative to the run folder or absolute. */
  monitor: string;
  /** Default qemu-system-x86_64. A wrapper has to exec QEMU, so that the pid stays. */
  program?: string;
  /** Added to the environment, which otherwise holds PATH, HOME and TMPDIR only (never our secrets). */
  env?: Readonly<Record<string, string>>;
  /** How long QEMU may take until its monitor answers. Default 60 s (a large memory image is read after). */
  timeoutMs?: number;
  signal?: AbortSignal;
}

export interface LaunchedMachine {
  process: MachineProcess;
  /** Connected to the control monitor; the caller closes it. */
  qmp: QmpClient;
}

/**
 * Starts a machine in a session of its own: neither Ctrl-C nor our end touches it.
 * Raises `state` when one already runs in the folder, `missing-program`, `remote` with the end of QEMU's
 * log when it ends, `timeout`, `cancelled`; then no process is left. When *we* are killed half-way the
 * process stays and `findMachineProcess` finds it.
 */
export async function launchMachine(spec: LaunchSpec): Promise<LaunchedMachine> {
  const runFolder = resolve(spec.runFolder);
  throwIfAborted(spec.signal, `starting the machine in ${runFolder}`);
  const running = await findMachineProcess(runFolder);
  if (running) throw alreadyRuns(running);
  const child = await start(runFolder, spec);
  try {
    return await comeUp(child, runFolder, spec);
  } catch (error) {
    await kill(child);
    throw error;
  }
}

function alreadyRuns({ runFolder, identity }: MachineProcess): PrimaError {
  const message = `a machine already runs in ${runFolder} (pid ${identity.pid})`;
  return new PrimaError('state', message, { details: { pid: identity.pid } });
}

async function start(runFolder: string, spec: LaunchSpec): Promise<ChildProcess> {
  const program = spec.program ?? 'qemu-system-x86_64';
  const log = await freshLog(runFolder);
  try {
    const child = spawn(program, [...spec.arguments, '-pidfile', pidFileName], {
      cwd: runFolder,
      detached: true, // its own session (setsid)
      stdio: ['ignore', log.fd, log.fd],
      env: { ...plainEnvironment(), ...spec.env },
    });
    child.unref();
    await new Promise<void>((spawned, failed) => {
      child.once('spawn', spawned);
      child.once('error', (error) => {
        const missing = systemErrorCode(error) === 'ENOENT';
        failed(missing ? missingProgram(program) : toPrimaError(error, `starting ${program}`));
      });
    });
    return child;
  } finally {
    await log.close();
  }
}

async function freshLog(runFolder: string): Promise<FileHandle> {
  const path = join(runFolder, logName);
  try {
    await rename(path, `${path}.old`);
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw toPrimaError(error, `putting ${path} aside`);
  }
  try {
    return await open(path, 'ax', 0o600);
  } catch (error) {
    throw toPrimaError(error, `making ${path}`);
  }
}

async function comeUp(child: ChildProcess, runFolder: string, spec: LaunchSpec): Promise<LaunchedMachine> {
  const { timeoutMs = 60_000, signal } = spec;
  const ended = new AbortController();
  const onExit = () => ended.abort(new RemoteError('QEMU ended'));
  child.once('exit', onExit);
  if (hasEnded(child)) onExit();
  const inner = signal ? AbortSignal.any([signal, ended.signal]) : ended.signal;
  try {
    const qmp = await connectPatiently(resolve(runFolder, spec.monitor), timeoutMs, inner);
    try {
      const machine = await findMachineProcess(runFolder);
      if (!machine) throw new RemoteError('QEMU ended');
      // two started at once: QEMU lets one have the pid file, and the other may reach that one's monitor
      if (machine.identity.pid !== child.pid) throw alreadyRuns(machine);
      await recordMachineProcess(runFolder, machine.identity);
      return { process: machine, qmp };
    } catch (error) {
      await qmp.close();
      throw error;
    }
  } catch (error) {
    throw await explain(error, child, runFolder, signal);
  } finally {
    child.off('exit', onExit);
  }
}

/** Until QEMU listens nobody is there (`remote`); everything else is final. */
async function connectPatiently(path: string, timeoutMs: number, signal: AbortSignal): Promise<QmpClient> {
  const end = systemClock.monotonic() + timeoutMs;
  for (let pauseMs = 10; ; pauseMs = Math.min(200, pauseMs * 2)) {
    const leftMs = end - systemClock.monotonic();
    if (leftMs <= 0) {
      throw new RemoteError(`QEMU runs but does not listen at ${path} after ${timeoutMs / 1000} s`, {
        code: 'timeout',
      });
    }
    try {
      return await connectQmp(path, { timeoutMs: Math.max(1000, leftMs), signal });
    } catch (error) {
      const nobody = error instanceof RemoteError && error.code === 'remote' && error.retryable;
      if (!nobody) throw error;
    }
    await systemClock.sleep(pauseMs, signal);
  }
}

async function explain(
  error: unknown,
  child: ChildProcess,
  runFolder: string,
  signal?: AbortSignal,
): Promise<PrimaError> {
  const failure = toPrimaError(error, `starting the machine in ${runFolder}`);
  if (signal?.aborted) return toPrimaError(signal.reason, `starting the machine in ${runFolder}`);
  if (hasEnded(child)) {
    const how = child.signalCode ? `was ended by ${child.signalCode}` : `ended with status ${child.exitCode}`;
    return launchFailure(runFolder, `QEMU ${how}`, error);
  }
  return failure;
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

async function kill(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  const gone = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
  });
  child.ref();
  child.kill('SIGKILL');
  await gone;
}
