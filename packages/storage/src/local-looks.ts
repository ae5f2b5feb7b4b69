/**
 * Looks at names and sizes of files of this machine, thousands in a row. To ask a thread costs several times what the kernel
 * needs to answer from its memory, so folders of a local disk are looked at there and then, until it shows that they
 * are not in memory: then, as on all file systems whose answers may be long in coming, threads look, several at once.
 */
import { type Dirent, readdirSync, type Stats, statSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { setImmediate as turn } from 'node:timers/promises';
import { onceMoreWhenStale } from './stale.ts';
import { isAbsent, unlessAbsent } from './unless-absent.ts';

/** A look that took longer has waited for a disk, or for the processor. */
const slowMs = 2;
/** So many slow ones in a row, or one of `quickPerSlow` for long, are let pass. */
const slowAllowed = 8;
const quickPerSlow = 32;
/** Everybody else has a turn after so long. */
const holdMs = 10;

/** What is there at once, or comes later. */
export type Soon<T> = T | Promise<T>;

export class LocalLooks {
  readonly #clock: () => number;
  #patience: number;
  #turnAt: number;

  /** @param isNear whether the files are on a file system of this machine */
  constructor(isNear: boolean, clock: () => number = () => performance.now()) {
    this.#clock = clock;
    this.#patience = isNear ? slowAllowed : 0;
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

  #look<T>(now: () => T, later: () => Promise<T>, path: string): Soon<T | undefined> {
    if (this.#patience <= 0) return onceMoreWhenStale(`looking for ${path}`, () => unlessAbsent(later()));
    const start = this.#clock();
    try {
      return now();
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    } finally {
      if (this.#clock() - start > slowMs) this.#patience -= 1;
      else this.#patience = Math.min(slowAllowed, this.#patience + 1 / quickPerSlow);
    }
  }
}
