/** Runs bin/prima as a user would, for end-to-end and crash tests. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { RemoteError } from '@prima/base';
import { waitUntil } from './wait.ts';

/** The project's folder. */
export const projectRoot = join(import.meta.dirname, '../../..');

export interface SpawnOptions {
  /** Added to the environment; this process's own PRIMA_* do not reach the program, but for PRIMA_CACHE. */
  env?: Record<string, string | undefined>;
  /** Its standard input; empty when absent. */
  input?: string;
  cwd?: string;
  /** Another of the programs in bin/. */
  program?: string;
  /** A command that runs it, and becomes it: `nsenter …`. */
  within?: readonly string[];
  /** Killed after this long, and `result` raises `timeout`. Default 5 min. */
  timeoutMs?: number;
}

export interface PrimaResult {
  /** The exit status; null when a signal ended it. */
  status: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** A running prima. Disposing of it kills it. */
export interface PrimaProcess extends AsyncDisposable {
  /** Prima's own process: the launchers replace themselves by it. */
  readonly pid: number;
  /** When it has ended. Any exit status is a result, not an error. */
  readonly result: Promise<PrimaResult>;
  /** What it has printed so far. */
  output(): { stdout: string; stderr: string };
  /** Resolves when what it printed (on either stream) matches; raises `timeout`, or `remote` when it ended first. */
  printed(pattern: RegExp, timeoutMs?: number): Promise<RegExpExecArray>;
  /** Sends a signal; SIGKILL unless told. Does nothing when it has ended. */
  kill(signal?: NodeJS.Signals): void;
}

/** Starts `bin/prima` with `args`. */
export function spawnPrima(args: readonly string[], options: SpawnOptions = {}): PrimaProcess {
  const { input = '', cwd, program = 'prima', within = [], timeoutMs = 300_000 } = options;
  const [file = '', ...words] = [...within, join(projectRoot, 'bin', program), ...args];
  const child = spawn(file, words, {
    cwd,
    env: { ...cleanEnvironment(), ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const texts = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      texts[name] += text;
    });
  }
  child.stdin.on('error', () => undefined); // it may end without reading its input
  child.stdin.end(input);
  let expired = false;
  let over = false;
  const timer = setTimeout(() => {
    expired = true;
    child.kill('SIGKILL');
  }, timeoutMs);
  const result = new Promise<PrimaResult>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status, signal) => {
      over = true;
      const told = `prima ${args.join(' ')}: did not end within ${timeoutMs / 1000} s\n${texts.stderr}`;
      if (expired) reject(new RemoteError(told, { code: 'timeout' }));
      else resolve({ status, signal, ...texts });
    });
  }).finally(() => clearTimeout(timer));
  result.catch(() => undefined); // for who only looks at the output; awaiting `result` still raises it
  return {
    pid: child.pid ?? 0,
    result,
    output: () => ({ ...texts }),
    printed: (pattern, waitMs = 60_000) =>
      waitUntil(
        () => {
          const match = pattern.exec(texts.stdout) ?? pattern.exec(texts.stderr);
          if (!match && over)
            throw new RemoteError(`prima ended without printing ${pattern}:\n${texts.stderr}`);
          return match;
        },
        { timeoutMs: waitMs, what: `prima ${args[0] ?? ''} to print ${pattern}`, intervalMs: 10 },
      ),
    kill: (signal = 'SIGKILL') => void child.kill(signal),
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await result.catch(() => undefined); // whoever wanted the result has it
    },
  };
}

/** Runs `bin/prima` to its end. */
export async function runPrima(args: readonly string[], options: SpawnOptions = {}): Promise<PrimaResult> {
  return spawnPrima(args, options).result;
}

const kept = new Set(['PRIMA_CACHE', 'PRIMA_TEST_RUN']);

/** The environment without what would make the program behave as this process was told to. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => kept.has(name) || !(name.startsWith('PRIMA_') || name.startsWith('NODE_TEST')),
    ),
  );
}
