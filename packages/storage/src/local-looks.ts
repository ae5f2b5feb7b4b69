/**
 * Looks at names, sizes and small files of this machine, thousands in a row. To ask a thread costs several times what the kernel
 * needs to answer from its memory, so what is on a local disk is looked at there and then, until it shows that it
 * is not in memory: then, as on all file systems whose answers may be long in coming, threads look, several at once.
 */
import {
  closeSync,
  type Dirent,
  fstatSync,
  openSync,
  readdirSync,
  readSync,
  type Stats,
  statSync,
} from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { setImmediate as turn } from 'node:timers/promises';
import { onceMoreWhenStale } from './stale.ts';
import { isAbsent, unlessAbsent } from './unless-absent.ts';

/** A look that took longer has waited for a disk, or for the processor. */
const slowMs = 2;
/** So many slow ones in a row, or one of `quickPerSlow` for long, are let pass. */
const slowAllowed = 8;
const quickPerSlow = 32;
/** Then it is tried again after so long. */
const retryMs = 5000;
/** Everybody else has a turn after so long. */
const holdMs = 10;

/** What is there at once, or comes later. */
export type Soon<T> = T | Promise<T>;

export class LocalLooks {
  readonly #clock: () => number;
  #patience: number;
  #retryAt: number;
  #turnAt: number;

  /** @param isNear whether the files are on a file system of this machine */
  constructor(isNear: boolean, clock: () => number = () => performance.now()) {
    this.#clock = clock;
    this.#patience = isNear ? slowAllowed : 0;
    this.#retryAt = isNear ? 0 : Number.POSITIVE_INFINITY;
    this.#turnAt = clock() + holdMs;
  }

  /** What is in the folder; undefined where there is no such folder. */
  names(path: string): Soon<Dirent[] | undefined> {
    return this.#look(
      () => readdirSync(path, { withFileTypes: true }),
      () => readdir(path, { withFileTypes: true }),
      path,
    );
  }

  /** What links lead to counts; undefined where there is nothing. */
  status(path: string): Soon<Stats | undefined> {
    return this.#look(
      () => statSync(path),
      () => stat(path),
      path,
    );
  }

  /** Lets others have their turn when it is time; to be called between looks. */
  turn(): Soon<void> {
    if (this.#clock() < this.#turnAt) return undefined;
    return turn().then(() => {
      this.#turnAt = this.#clock() + holdMs;
    });
  }

  /**
   * A whole file of `maxBytes` at most; undefined where that is to be left to a thread, or where it is larger.
   * Raises as `open` does.
   */
  smallFile(path: string, maxBytes: number): SmallFile | undefined {
    if (!this.#isDirect()) return undefined;
    return this.#timed(() => readSmall(path, maxBytes));
  }

  #look<T>(now: () => T, later: () => Promise<T>, path: string): Soon<T | undefined> {
    if (!this.#isDirect()) return onceMoreWhenStale(`looking for ${path}`, () => unlessAbsent(later()));
    try {
      return this.#timed(now);
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  #isDirect(): boolean {
    return this.#patience > 0 || this.#clock() >= this.#retryAt;
  }

  #timed<T>(task: () => T): T {
    const start = this.#clock();
    try {
      return task();
    } finally {
      const end = this.#clock();
      const isSlow = end - start > slowMs;
      this.#patience = isSlow ? this.#patience - 1 : Math.min(slowAllowed, this.#patience + 1 / quickPerSlow);
      if (this.#patience <= 0) {
        this.#patience = 0;
        this.#retryAt = end + retryMs;
      }
    }
  }
}

export interface SmallFile {
  bytes: Uint8Array;
  status: Stats;
}

function readSmall(path: string, maxBytes: number): SmallFile | undefined {
  const file = openSync(path, 'r');
  try {
    const status = fstatSync(file);
    if (!status.isFile() || status.size > maxBytes) return undefined;
    const bytes = Buffer.allocUnsafeSlow(status.size);
    // what is shorter than it says is left to who can tell why
    return readSync(file, bytes, 0, bytes.length, 0) === bytes.length ? { bytes, status } : undefined;
  } finally {
    closeSync(file);
  }
}
