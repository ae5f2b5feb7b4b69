/**
 * Runs a program to its end and says what it took: time, processor time, memory. Memory and processor
 * time come from looking at /proc while it runs, so what happens in its last 20 ms is not seen.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { PrimaError, systemErrorCode } from '@prima/base';

export interface ProgramRun {
  seconds: number;
  /** Of all its threads and children, user and system. */
  cpuSeconds: number;
  /** The largest resident set of each of its processes, added up. */
  peakBytes: number;
  stdout: string;
}

export interface ProgramOptions {
  env?: Record<string, string>;
}

const lookMs = 20;
/** Long enough for the slowest peer on a busy machine. */
const timeoutMs = 30 * 60_000;

/** Runs `command` (program and arguments). Raises `remote` when it fails. */
export async function runMeasured(
  command: readonly string[],
  options: ProgramOptions = {},
): Promise<ProgramRun> {
  const [program = '', ...args] = command;
  const start = performance.now();
  const child = spawn(program, args, {
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  });
  const texts = collect(child);
  const usage = new TreeUsage(child.pid ?? 0);
  const timer = setInterval(() => usage.look(), lookMs);
  try {
    const [status] = (await once(child, 'close')) as [number | null];
    const seconds = (performance.now() - start) / 1000;
    if (status !== 0) {
      const end = texts.stderr.trim().slice(-1000);
      throw new PrimaError('remote', `${command.join(' ')} ended with status ${status}: ${end}`);
    }
    return { seconds, cpuSeconds: usage.cpuSeconds, peakBytes: usage.peakBytes, stdout: texts.stdout };
  } finally {
    clearInterval(timer);
  }
}

function collect(child: ChildProcess): { stdout: string; stderr: string } {
  const texts = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      texts[name] += text;
    });
  }
  return texts;
}

/** What a process and its children use, as far as it has been seen. */
class TreeUsage {
  readonly #root: number;
  readonly #peaks = new Map<number, number>();
  readonly #cpu = new Map<number, number>();

  constructor(root: number) {
    this.#root = root;
  }

  get peakBytes(): number {
    return sum(this.#peaks.values());
  }

  get cpuSeconds(): number {
    return sum(this.#cpu.values()) / clockTicks;
  }

  look(pid = this.#root): void {
    const status = readProc(`/proc/${pid}/status`);
    const [, peakKiB] = /^VmHWM:\s+(\d+) kB/m.exec(status) ?? [];
    if (peakKiB !== undefined) this.#peaks.set(pid, Number(peakKiB) * 1024);
    const fields = readProc(`/proc/${pid}/stat`)
      .replace(/^.*\) /, '')
      .split(' ');
    // fields 14 and 15 of proc(5), which counts from 1 and from before the name that was cut off
    if (fields.length > 12) this.#cpu.set(pid, Number(fields[11]) + Number(fields[12]));
    for (const child of readProc(`/proc/${pid}/task/${pid}/children`).split(' ')) {
      if (/^\d+/.test(child)) this.look(Number(child));
    }
  }
}

/** Ticks of proc(5) in a second; 100 on every Linux that Node runs on. */
const clockTicks = 100;

function readProc(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    // it ended between two looks
    if (['ENOENT', 'ESRCH'].includes(systemErrorCode(error) ?? '')) return '';
    throw error;
  }
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
