/** Runs a program to its end, with a deadline, and says which package it is in when it is missing. */
import { spawn } from 'node:child_process';
import { PrimaError, RemoteError, throwIfAborted, toPrimaError } from './errors.ts';

export interface ProgramOptions {
  /** Killed after this long. Default 60 s. */
  timeoutMs?: number;
  /** Given to the program's standard input; secrets go here, never in `args`. */
  input?: string | Uint8Array;
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  signal?: AbortSignal;
  /** Exit statuses that are not failures. Default [0]. */
  accept?: readonly number[];
}

export interface ProgramResult {
  status: number;
  stdout: string;
  stderr: string;
}

const outputLimitBytes = 64 * 1024 * 1024;

const debianPackages: Partial<Record<string, string>> = {
  'qemu-img': 'qemu-utils',
  'qemu-nbd': 'qemu-utils',
  'qemu-io': 'qemu-utils',
  'qemu-storage-daemon': 'qemu-system-common',
  'qemu-system-x86_64': 'qemu-system-x86',
  nbdinfo: 'libnbd-bin',
  nbdcopy: 'libnbd-bin',
  mke2fs: 'e2fsprogs',
};

/** The error for a program that is not installed; names the Debian package where it is known. */
export function missingProgram(program: string): PrimaError {
  const name = debianPackages[program];
  const advice = name === undefined ? '' : `; on Debian: apt-get install ${name}`;
  return new PrimaError('missing-program', `${program} is not installed${advice}`, { details: { program } });
}

/**
 * Runs `program` with `args` and collects its output (at most 64 MiB).
 * Raises `missing-program`, `timeout`, `cancelled`, or `remote` with the end of its error output.
 */
export async function runProgram(
  program: string,
  args: readonly string[],
  options: ProgramOptions = {},
): Promise<ProgramResult> {
  const { timeoutMs = 60_000, input, signal, accept = [0] } = options;
  throwIfAborted(signal, `running ${program}`);
  const child = spawn(program, args, { env: options.env, cwd: options.cwd, stdio: ['pipe', 'pipe', 'pipe'] });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  let bytes = 0;
  let failure: PrimaError | undefined;
  const stop = (error: PrimaError) => {
    failure ??= error;
    child.kill('SIGKILL');
  };
  const collect = (into: Buffer[]) => (data: Buffer) => {
    bytes += data.length;
    if (bytes > outputLimitBytes)
      stop(new RemoteError(`${program} printed more than ${outputLimitBytes} bytes`));
    else into.push(data);
  };
  child.stdout.on('data', collect(stdout));
  child.stderr.on('data', collect(stderr));
  child.stdin.on('error', () => undefined); // the program may end without reading its input
  child.stdin.end(input);
  const timer = setTimeout(
    () => stop(new RemoteError(`${program} did not end within ${timeoutMs / 1000} s`, { code: 'timeout' })),
    timeoutMs,
  );
  const onAbort = () => stop(toPrimaError(signal?.reason, `running ${program}`));
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    const status = await new Promise<number>((resolve, reject) => {
      child.on('error', (error: NodeJS.ErrnoException) => {
        reject(error.code === 'ENOENT' ? missingProgram(program) : toPrimaError(error, `running ${program}`));
      });
      child.on('close', (code) => resolve(code ?? -1));
    });
    if (failure) throw failure;
    const result = {
      status,
      stdout: Buffer.concat(stdout).toString(),
      stderr: Buffer.concat(stderr).toString(),
    };
    if (!accept.includes(status)) {
      const end = result.stderr.trim().slice(-2000) || result.stdout.trim().slice(-500);
      throw new RemoteError(`${program} failed with status ${status}: ${end}`, {
        details: { program, status },
      });
    }
    return result;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}
