/** The environment of a real process: its streams, signals and end. */
import { openSync, writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { type PrimaError, systemClock, systemErrorCode, toPrimaError } from '@prima/base';
import type { Environment, Output } from './environment.ts';
import { cancelledStatus } from './lasting.ts';
import { run } from './run.ts';
import { askSecret } from './terminal/ask-secret.ts';

const defaultColumns = 80;
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
  await runWith(() => ({ argv }), openApplication);
}

interface FrontCommand {
  argv: readonly string[];
  /** A file that gets what is printed, too. */
  log?: string;
  /** Printed when it ends well, in place of what prima prints. */
  done?: string;
}

/**
 * The same for a program that is said in terms of `prima`.
 * @param translate raises what is wrong with how it was called
 */
export async function runFront(translate: () => FrontCommand): Promise<void> {
  await runWith(translate, openInProcess);
}

async function runWith(
  translate: () => FrontCommand,
  openApplication: Environment['openApplication'],
): Promise<void> {
  const env = { ...process.env };
  // Programs that are started later inherit the environment; secrets are not theirs.
  delete process.env['PRIMA_PASSPHRASE'];
  delete process.env['PRIMA_NEW_PASSPHRASE'];
  delete process.env['PRIMA_RECOVERY'];
  delete process.env['PRIMA_TO_PASSPHRASE'];
  delete process.env['PRIMA_TOKEN'];
  if (env['GLIBC_TUNABLES'] === launcherTunables) delete process.env['GLIBC_TUNABLES'];
  let environment = processEnvironment(env, openApplication);
  const onFault = (error: unknown) => {
    const fault: PrimaError = toPrimaError(error, 'running in the background');
    environment.stderr.write(`prima: ${fault.message}\n${fault.stack ?? ''}\n`);
    process.exit(fault.exitStatus);
  };
  process.on('uncaughtException', onFault);
  let status: number;
  try {
    const { argv, log, done } = translate();
    if (log !== undefined) environment = withLog(environment, log);
    status = await (done === undefined ? run(argv, environment) : runFor(done, argv, environment));
  } catch (error) {
    const failure = toPrimaError(error, 'starting');
    environment.stderr.write(`${failure.message}\n`);
    status = failure.exitStatus;
  }
  await Promise.all([written(process.stdout), written(process.stderr)]);
  process.exit(status);
}

/** What is printed goes to the end of a file, too. Raises what opening it does. */
function withLog(environment: Environment, path: string): Environment {
  const file = openLog(path);
  const both = (inner: Output): Output => ({
    write: (text) => {
      writeSync(file, text);
      inner.write(text);
    },
    isTTY: false,
    columns: inner.columns,
  });
  return { ...environment, stdout: both(environment.stdout), stderr: both(environment.stderr) };
}

function openLog(path: string): number {
  try {
    return openSync(path, 'a', 0o600);
  } catch (error) {
    throw toPrimaError(error, `opening the log ${path}`);
  }
}

async function runFor(done: string, argv: readonly string[], environment: Environment): Promise<number> {
  const { stdout } = environment;
  let said = '';
  const kept: Output = { write: (text) => void (said += text), isTTY: false, columns: stdout.columns };
  const status = await run(argv, { ...environment, stdout: kept });
  stdout.write(status === 0 ? `${done}\n` : said);
  return status;
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
    startServer: async (options) => (await import('@prima/server')).startServer(options),
    startWorker: async (options) => (await import('@prima/server')).startWorker(options),
    serverLines: async function* (...asked) {
      yield* (await import('@prima/api/client')).serverLines(...asked);
    },
    openServer: async (options) => (await import('@prima/api/client')).connectPrima(options),
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
