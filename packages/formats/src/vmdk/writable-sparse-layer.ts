/**
 * A sparse extent that is written: hosted sparse and COWD.
 *
 * New grains go to the end of the file, neighbours in one piece, and their table entries into memory. A commit (at
 * every flush, at the end, and when many tables were changed) writes them so that a crash at any moment leaves a
 * disk that can be read, in which every table entry names a grain that is durable:
 *
 *   1. tables that are new, whose place no directory in the file names yet
 *   2. fsync: the data and these tables are durable
 *   3. the other tables, in all copies, then directories and the header's freeSector
 *   4. fsync
 *
 * What lies beyond the old end of the file reads as zeros, so a new grain is written only where it is not.
 */
import { alignUp, Mutex, PrimaError, type Range, throwIfAborted } from '@prima/base';
import type { WritableDiskFile } from './disk-file.ts';
import { sectorBytes } from './hosted-header.ts';
import { type Below, nothingBelow, type WritableLayer } from './layer.ts';
import { type GrainRun, type SparseFacts, SparseLayer } from './sparse-layer.ts';
import type { WritableTables } from './writable-tables.ts';

export interface WritableSparseFacts extends SparseFacts<WritableDiskFile, WritableTables> {
  /** Where grains and new tables may be, bytes: behind the header, the directories, the descriptor. */
  dataStart: number;
  /** The header's account, where it has one, of what comes next, bytes. */
  freeStart: number;
  /** Writes that the extent is open for writing, or no longer. */
  setUnclean: (unclean: boolean) => Promise<void>;
  /** Writes the header's account of the next free sector; absent where there is none. */
  setFree?: (sector: number) => Promise<void>;
}

/** The file grows in steps of this. */
const growBytes = 16 * 1024 * 1024;
const dirtyLimit = 4 * 1024 * 1024;
/** Entries have 32 bits. */
const sectorLimit = 2 ** 32;

export class WritableSparseLayer extends SparseLayer implements WritableLayer {
  declare protected readonly facts: WritableSparseFacts;
  /** Everything from here on is free, bytes. */
  #end: number;
  #growing: Promise<void> | undefined;
  #begun: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  readonly #committing = new Mutex();
  /** Grains of which a part is being written; who writes another part waits. */
  readonly #locks = new Map<number, Promise<void>>();

  constructor(facts: WritableSparseFacts) {
    super(facts);
    // others do not keep freeSector up to date, and the end of the file is never too early
    const { file, dataStart, freeStart } = facts;
    const used = Math.max(file.size, dataStart, freeStart > file.size + growBytes ? 0 : freeStart);
    this.#end = alignUp(used, Math.max(sectorBytes, facts.grainBytes));
  }

  write(offset: number, from: Uint8Array, below: Below, signal?: AbortSignal): Promise<void> {
    return this.#change({ offset, length: from.length }, { from, below, signal });
  }

  zero(range: Range, below: Below, signal?: AbortSignal): Promise<void> {
    return this.#change(range, { below, signal });
  }

  async #change(range: Range, change: Change): Promise<void> {
    throwIfAborted(change.signal, `writing ${this.facts.file.name}`);
    if (range.length === 0) return;
    await this.#begin();
    const release = await this.#lockPartial(range);
    try {
      for (let done = 0; done < range.length; ) {
        const rest = { offset: range.offset + done, length: range.length - done };
        for (const run of await this.locate(rest, change.signal)) {
          await this.#changeRun(run, range.offset, change);
          done += run.length;
        }
      }
    } finally {
      release();
    }
    if (this.facts.tables.dirtyBytes > dirtyLimit) await this.flush();
  }

  /** Says in the header, before the first change, that the file is open. */
  #begin(): Promise<void> {
    this.#begun ??= this.facts.setUnclean(true).catch((error: unknown) => {
      this.#begun = undefined;
      throw error;
    });
    return this.#begun;
  }

  async #lockPartial({ offset, length }: Range): Promise<() => void> {
    const { grainBytes } = this.facts;
    const end = offset + length;
    const partial = new Set<number>();
    if (offset % grainBytes !== 0) partial.add(Math.floor(offset / grainBytes));
    if (end % grainBytes !== 0) partial.add(Math.floor(end / grainBytes));
    const { promise, resolve } = Promise.withResolvers<void>();
    for (const grain of partial) {
      for (let other = this.#locks.get(grain); other; other = this.#locks.get(grain)) await other;
      this.#locks.set(grain, promise);
    }
    return () => {
      for (const grain of partial) this.#locks.delete(grain);
      resolve();
    };
  }

  async #changeRun(run: GrainRun, start: number, change: Change): Promise<void> {
    const { file, dataStart } = this.facts;
    const from = change.from?.subarray(run.offset - start, run.offset - start + run.length);
    if (run.kind !== 'data') {
      await this.#fill(run, { ...change, from, below: run.kind === 'zero' ? nothingBelow : change.below });
      return;
    }
    this.assertInFile(run);
    if (run.position < dataStart) throw this.#insideOfTables(run);
    if (from) await file.write(run.position, from, change.signal);
    else await file.zero({ offset: run.position, length: run.length }, change.signal);
  }

  #insideOfTables(run: GrainRun): PrimaError {
    const { file, dataStart } = this.facts;
    return new PrimaError(
      'refused',
      `writing ${file.name}: its tables say that the disk's byte ${run.offset} is at ${run.position}, where its own ` +
        `tables are (up to ${dataStart}); have it checked`,
      { details: { path: file.name, offset: run.position } },
    );
  }

  /** Puts something where nothing of our own is yet. */
  async #fill(run: GrainRun, change: Change): Promise<void> {
    const { from, below, signal } = change;
    if (!from) {
      if (await below.isZero(run, signal)) return;
      if (this.facts.zeroEntries) {
        await this.#fillZeros(run, change);
        return;
      }
    }
    await this.#allocate(run, change);
  }

  /** Zeros over something that lies below, where an entry can say so: whole grains take no space. */
  async #fillZeros(run: GrainRun, change: Change): Promise<void> {
    const { grainBytes, tables, size } = this.facts;
    const end = run.offset + run.length;
    const first = Math.ceil(run.offset / grainBytes);
    const last = end === size ? Math.ceil(end / grainBytes) : Math.floor(end / grainBytes);
    if (last <= first) {
      await this.#allocate(run, change);
      return;
    }
    const head = first * grainBytes - run.offset;
    const tail = Math.max(0, end - last * grainBytes);
    if (head > 0) await this.#allocate({ ...run, length: head }, change);
    await tables.assign({ first, count: last - first }, { sector: 1, step: 0 }, (bytes) => this.#take(bytes));
    await this.#grow();
    if (tail > 0) await this.#allocate({ ...run, offset: last * grainBytes, length: tail }, change);
  }

  async #allocate(run: Range, { from, below, signal }: Change): Promise<void> {
    const { grainBytes, file, tables, size } = this.facts;
    const end = run.offset + run.length;
    const first = Math.floor(run.offset / grainBytes);
    const count = Math.ceil(end / grainBytes) - first;
    const sector = this.#take(count * grainBytes);
    await this.#grow();
    const at = (offset: number) => sector * sectorBytes + offset - first * grainBytes;
    const copyUp = async (offset: number, length: number) => {
      if (length === 0 || (await below.isZero({ offset, length }, signal))) return;
      const bytes = new Uint8Array(length);
      await below.read(offset, bytes, signal);
      await file.write(at(offset), bytes, signal);
    };
    await copyUp(first * grainBytes, run.offset - first * grainBytes);
    if (from) await file.write(at(run.offset), from, signal);
    await copyUp(end, Math.min((first + count) * grainBytes, size) - end);
    const step = grainBytes / sectorBytes;
    await tables.assign({ first, count }, { sector, step }, (bytes) => this.#take(bytes));
    await this.#grow(); // a new table may have taken room
  }

  /** Room at the end, a sector. */
  #take(bytes: number): number {
    const sector = this.#end / sectorBytes;
    if (sector + bytes / sectorBytes > sectorLimit) {
      throw new PrimaError(
        'no-space',
        `writing ${this.facts.file.name}: its tables have 32 bits, so it cannot grow beyond 2 TiB; consolidate the disk ` +
          'into a new one',
      );
    }
    this.#end += bytes;
    return sector;
  }

  /** The file is made longer before anything is written there, so that nobody cuts off what another wrote. */
  async #grow(): Promise<void> {
    const { file } = this.facts;
    while (file.size < this.#end) {
      this.#growing ??= file.resize(alignUp(this.#end, growBytes)).finally(() => (this.#growing = undefined));
      await this.#growing;
    }
  }

  flush(): Promise<void> {
    return this.#committing.run(async () => {
      const { file, tables, setFree } = this.facts;
      if (this.#begun === undefined) return;
      await this.#begun;
      const changes = tables.take();
      const free = this.#end;
      try {
        await this.#grow();
        await tables.write(changes.fresh);
        await file.flush();
        if (changes.tables.size > 0) {
          await tables.write(changes.rest);
          await setFree?.(free / sectorBytes);
          await file.flush();
        }
      } catch (error) {
        tables.restore(changes);
        throw error;
      }
      tables.settle(changes);
    });
  }

  override close(): Promise<void> {
    this.#closing ??= this.#finish();
    return this.#closing;
  }

  async #finish(): Promise<void> {
    const { file, setUnclean } = this.facts;
    try {
      if (this.#begun === undefined) return;
      await this.flush();
      if (file.size > this.#end) await file.resize(this.#end);
      await setUnclean(false);
      await file.flush();
    } finally {
      await file.close();
    }
  }
}

interface Change {
  /** Absent: zeros. */
  from?: Uint8Array;
  below: Below;
  signal?: AbortSignal;
}
