/** The environment of a real process: its streams, signals and end. */
import { isatty } from 'node:tty';
import { type PrimaError, systemClock, systemErrorCode, toPrimaError } from '@prima/base';
import type { Environment, Output } from './environment.ts';
import { run } from './run.ts';
import { askSecret } from './terminal/ask-secret.ts';

const defaultColumns = 80;
const cancelledStatus = 130;
/** What bin/prima sets for this process alone. */
const launcherTunables = 'glibc.malloc.hugetlb=1';

/**
 * Runs the command line `argv` (without the program's name) and ends the process with its status.
 * @param openApplication by default the application inside this process
 */
export async function runInProcess(
  argv: readonly string[],
  openApplication: Environment['openApplication'] = openInProcess,
): Promise<void> {
  const env = { ...process.env };
  // Programs that are started later inherit the environment; secrets are not theirs.
  delete process.env['PRIMA_PASSPHRASE'];
  delete process.env['PRIMA_NEW_PASSPHRASE'];
  delete process.env['PRIMA_RECOVERY'];
  delete process.env['PRIMA_TO_PASSPHRASE'];
  if (env['GLIBC_TUNABLES'] === launcherTunables) delete process.env['GLIBC_TUNABLES'];
  const environment = processEnvironment(env, openApplication);
  const onFault = (error: unknown) => {
    const fault: PrimaError = toPrimaError(error, 'running in the background');
    environment.stderr.write(`prima: ${fault.message}\n${fault.stack ?? ''}\n`);
    process.exit(fault.exitStatus);
  };
  process.on('uncaughtException', onFault);
  const status = await run(argv, environment);
  await Promise.all([written(process.stdout), written(process.stderr)]);
  process.exit(status);
}

/** Resolves when the reader has taken all that was written: a pipe holds 64 KiB, exiting drops the rest. */
async function written(stream: NodeJS.WriteStream): Promise<void> {
  if (stream.destroyed || stream.writableLength === 0) return;
  await new Promise<void>((resolve) => {
    stream.once('close', resolve); // the reader has left
    stream.write('', () => resolve());
  });
}

/** Loads the application only now: help and wrong usage do without it. */
const openInProcess: Environment['openApplication'] = async (options) => {
  const { createApplication } = await import('@prima/server');
  return createApplication(options);
};

function processEnvironment(
  env: Environment['env'],
  openApplication: Environment['openApplication'],
): Environment {
  const stderr = output(process.stderr);
  const canAsk = isatty(0) && isatty(2); // looking at process.stdin would already open it
  return {
    stdout: output(process.stdout),
    stderr,
    env,
    clock: systemClock,
    ...(canAsk && {
      askSecret: (prompt: string, signal?: AbortSignal) =>
        askSecret(prompt, { input: process.stdin, write: (text) => stderr.write(text) }, signal),
    }),
    openApplication,
    onInterrupt: interrupts(),
    every: (ms, task) => {
      const timer = setInterval(task, ms);
      timer.unref();
      return () => clearInterval(timer);
    },
    exit: (status) => process.exit(status),
  };
}

/** A stream whose reader may leave (`prima points | head`): what is written then is dropped quietly. */
function output(stream: NodeJS.WriteStream): Output {
  let gone = false;
  stream.on('error', (error) => {
    if (systemErrorCode(error) !== 'EPIPE') throw error;
    gone = true;
  });
  return {
    write: (text) => {
      if (!gone) stream.write(text);
    },
    get isTTY() {
      return stream.isTTY;
    },
    get columns() {
      return stream.columns || defaultColumns;
    },
  };
}

/** Ctrl-C and its kin go to the listeners; with nobody listening they end the process. */
function interrupts(): Environment['onInterrupt'] {
  const listeners = new Set<() => void>();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (listeners.size === 0) process.exit(cancelledStatus);
      for (const listener of listeners) listener();
    });
  }
  return (listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  };
}
