/** What could not be read of a point while it was brought back, where the caller takes that for granted. */
import { type Logger, mergeRanges, PrimaError, type Range, silentLogger } from '@prima/base';
import type { OpenDiskOptions } from '@prima/repository';

/** A range of a disk (or of a file of the point) that reads as zeros because it cannot be read. Bytes. */
export interface DamagedRange extends Range {
  disk: string;
}

/** Ranges of one disk that are kept apart before they are merged. */
const mergeAt = 1024;

export class DamageLog {
  readonly #isAllowed: boolean;
  readonly #logger: Logger;
  readonly #ranges = new Map<string, Range[]>();

  /** @param isAllowed go on where something cannot be read, instead of raising it */
  constructor(isAllowed: boolean, logger: Logger = silentLogger) {
    this.#isAllowed = isAllowed;
    this.#logger = logger;
  }

  get isEmpty(): boolean {
    return this.#ranges.size === 0;
  }

  /** How a disk is opened whose damage goes here. */
  opening(disk: string): OpenDiskOptions {
    if (!this.#isAllowed) return {};
    return { onDamage: (range, error) => this.#add(disk, range, error) };
  }

  /** Takes that a whole file cannot be read; raises `error` where it may not, or is of another kind. */
  lostFile(name: string, length: number, error: unknown): void {
    if (!this.#isAllowed || !(error instanceof PrimaError) || error.code !== 'integrity') throw error;
    this.#add(name, { offset: 0, length }, error);
  }

  /** Merged, ascending. */
  rangesOf(disk: string): Range[] {
    return mergeRanges(this.#ranges.get(disk) ?? []);
  }

  all(): DamagedRange[] {
    return [...this.#ranges.keys()].flatMap((disk) =>
      this.rangesOf(disk).map((range) => ({ disk, ...range })),
    );
  }

  #add(disk: string, range: Range, error: PrimaError): void {
    let ranges = this.#ranges.get(disk);
    if (!ranges) this.#logger.warn(`${error.message}; going on with zeros in its place, as asked for`);
    if (ranges && ranges.length >= mergeAt) ranges = mergeRanges(ranges);
    this.#ranges.set(disk, [...(ranges ?? []), { ...range }]);
  }
}
