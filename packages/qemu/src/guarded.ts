/**
 * A program with a private folder, both gone when we are: also after kill -9, when nothing of ours can
 * clean up. A shell between us reads a pipe that only we hold; at its end it ends the program and removes
 * the folder. It has a session of its own, so Ctrl-C reaches us alone, and we end things in order.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { assert, missingProgram, PrimaError, systemErrorCode, toPrimaError, withDeadline } from '@prima/base';
import { plainEnvironment } from './environment.ts';

export interface GuardedOptions {
  /** Absolute path of the folder; made here (mode 0700) and removed at the end with all that is in it. */
  folder: string;
  /** How long the program may take to end on SIGTERM before SIGKILL. Default 30 s. */
  graceMs?: number;
}

export interface GuardedProgram {
  readonly folder: string;
  /** Resolves, never rejects, when the program (not its guardian) has ended, by itself or otherwise. */
  readonly ended: Promise<void>;
  /** The end of what the program wrote to standard error so far, at most 8 KiB. */
  stderr(): string;
  /** Ends the program and removes the folder; resolves when both are gone. May be called again. */
  close(): Promise<void>;
}

/**
 * $1 folder, $2 grace in seconds, then the program. Once it is started only the program holds standard
 * error: its end there is the program's end. "kill -9 0" takes what is left of the session's only group,
 * the pending sleep among it, and the shell itself.
 */
const script = `
mkdir -m 700 -- "$1" && cd -- "$1" || exit 1
folder=$1 grace=$2
shift 2
"$@" </dev/null &
pid=$!
exec >/dev/null 2>&1
while read -r _; do :; done
kill "$pid"
(sleep "$grace"; kill -9 "$pid") &
wait "$pid"
cd /
rm -rf -- "$folder"
kill -9 0
`;

/** A path for `startGuarded` that nobody else has, below `parent` (default: the user's runtime folder). */
export function guardedFolderName(parent?: string): string {
  return join(parent ?? process.env.XDG_RUNTIME_DIR ?? tmpdir(), `prima-${randomBytes(6).toString('hex')}`);
}

/**
 * Starts `program` with `folder` as its working directory, without our environment's secrets. The
 * folder may not be there yet when this resolves. A program that fails at once is seen by `ended`.
 */
export async function startGuarded(
  program: string,
  args: readonly string[],
  options: GuardedOptions,
): Promise<GuardedProgram> {
  const { folder, graceMs = 30_000 } = options;
  assert(isAbsolute(folder), `the guarded folder ${folder} is absolute`);
  const grace = String(Math.ceil(graceMs / 1000));
  const child = spawn('/bin/sh', ['-c', script, 'sh', folder, grace, program, ...args], {
    detached: true,
    cwd: '/',
    stdio: ['pipe', 'ignore', 'pipe'],
    env: plainEnvironment(),
  });
  await new Promise<void>((spawned, failed) => {
    child.once('spawn', spawned);
    child.once('error', (error) => failed(toPrimaError(error, `starting ${program}`)));
  });
  return new Guarded(child, folder, graceMs);
}

const keptBytes = 8 * 1024;

class Guarded implements GuardedProgram {
  readonly folder: string;
  readonly ended: Promise<void>;
  readonly #child: ChildProcess;
  readonly #graceMs: number;
  readonly #gone: Promise<void>;
  #stderr = Buffer.alloc(0);
  #closing: Promise<void> | undefined;

  constructor(child: ChildProcess, folder: string, graceMs: number) {
    this.folder = folder;
    this.#child = child;
    this.#graceMs = graceMs;
    this.#gone = new Promise((resolve) => {
      child.once('exit', () => resolve());
    });
    const { stdin, stderr } = child;
    assert(stdin && stderr, 'the guardian was started with pipes');
    stdin.on('error', () => undefined); // the guardian is gone already
    this.ended = new Promise((resolve) => {
      stderr.once('close', () => resolve());
    });
    stderr.on('data', (bytes: Buffer) => {
      this.#stderr = Buffer.concat([this.#stderr, bytes]).subarray(-keptBytes);
    });
  }

  stderr(): string {
    return this.#stderr.toString();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#child.stdin?.end();
    try {
      await withDeadline(this.#graceMs + 10_000, `ending the program of ${this.folder}`, () => this.#gone);
    } catch (error) {
      if (toPrimaError(error, 'ending').code !== 'timeout') throw error;
      this.#killGroup();
    }
    // a guardian that could not make the folder exits by itself: the folder is somebody else's. Otherwise
    // it ends by a signal and the folder is gone, unless it was killed before its time
    if (this.#child.exitCode === null) await rm(this.folder, { recursive: true, force: true });
  }

  #killGroup(): void {
    const { pid, exitCode, signalCode } = this.#child;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    try {
      process.kill(-pid, 'SIGKILL'); // the group of the guardian's session
    } catch (error) {
      if (systemErrorCode(error) !== 'ESRCH') throw error;
    }
  }
}

/** The error for a guarded program that ended when it should not have. */
export function guardedFailure(program: string, guarded: GuardedProgram): PrimaError {
  const text = guarded.stderr().trim();
  if (new RegExp(`${program}: (?:command )?not found`).test(text)) return missingProgram(program);
  return new PrimaError('remote', `${program} ended: ${text || 'it said nothing'}`, { details: { program } });
}
