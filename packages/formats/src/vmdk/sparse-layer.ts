/** A sparse extent that is read: grains where tables say they are. */
import { alignDown, FormatError, forEachBounded, type Range, throwIfAborted } from '@prima/base';
import type { DiskFile } from './disk-file.ts';
import { sectorBytes } from './hosted-header.ts';
import type { Layer, LayerRun } from './layer.ts';
import type { GrainTables } from './sparse-tables.ts';

export interface SparseFacts<F extends DiskFile = DiskFile, T extends GrainTables = GrainTables> {
  file: F;
  /** Bytes of the disk that the extent stands for. */
  size: number;
  grainBytes: number;
  tables: T;
  /** A table's 1 stands for a grain of zeros. */
  zeroEntries: boolean;
}

/** A run of grains that lie one after the other in the file, too. */
export interface GrainRun extends LayerRun {
  kind: 'data' | 'zero' | 'absent';
  /** Where its first byte is in the file; 0 for what is not `data`. */
  position: number;
}

/** Pieces of one read that are under way at once. */
const readConcurrency = 16;

export class SparseLayer implements Layer {
  readonly size: number;
  readonly blockSize: number;
  protected readonly facts: SparseFacts;

  constructor(facts: SparseFacts) {
    this.facts = facts;
    this.size = facts.size;
    this.blockSize = blockSizeOf(facts.grainBytes);
  }

  runs(range: Range, signal?: AbortSignal): Promise<LayerRun[]> {
    return this.locate(range, signal);
  }

  /** Where the beginning of `range` is, up to the end of one grain table. */
  async locate({ offset, length }: Range, signal?: AbortSignal): Promise<GrainRun[]> {
    throwIfAborted(signal, `reading ${this.facts.file.name}`);
    const { tables, grainBytes } = this.facts;
    const { entriesPerTable } = tables;
    const tableReach = entriesPerTable * grainBytes;
    const index = Math.floor(offset / tableReach);
    const found = tables.table(index);
    const table = found instanceof Promise ? await found : found;
    const end = offset + length;
    if (table === undefined) {
      const stop = Math.min(end, (index + tables.missingFrom(index)) * tableReach);
      return [{ offset, length: stop - offset, kind: 'absent', position: 0 }];
    }
    return this.#walk(table, { offset, length: Math.min(end, (index + 1) * tableReach) - offset }, index);
  }

  #walk(table: ArrayLike<number>, range: Range, index: number): GrainRun[] {
    const { grainBytes, tables, zeroEntries } = this.facts;
    const runs: GrainRun[] = [];
    const end = range.offset + range.length;
    const firstOfTable = index * tables.entriesPerTable * grainBytes;
    let last: GrainRun | undefined;
    for (let offset = range.offset; offset < end; ) {
      const inside = offset % grainBytes;
      const stop = Math.min(offset - inside + grainBytes, end);
      const entry = table[Math.floor((offset - firstOfTable) / grainBytes)] ?? 0;
      const kind = entry === 0 ? 'absent' : entry === 1 && zeroEntries ? 'zero' : 'data';
      const position = kind === 'data' ? this.positionOf(entry, inside) : 0;
      if (last?.kind === kind && (kind !== 'data' || this.continues(last, position))) {
        last.length += stop - offset;
      } else {
        last = { offset, length: stop - offset, kind, position };
        runs.push(last);
      }
      offset = stop;
    }
    return runs;
  }

  /** Where the byte `inside` a grain is in the file. */
  protected positionOf(sector: number, inside: number): number {
    return sector * sectorBytes + inside;
  }

  /** True when data at `position` and the run before it can be read as one. */
  protected continues(run: GrainRun, position: number): boolean {
    return run.position + run.length === position;
  }

  async read(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<Range[]> {
    const absent: Range[] = [];
    const data: GrainRun[] = [];
    const part = (run: Range) => into.subarray(run.offset - offset, run.offset - offset + run.length);
    for (let done = 0; done < into.length; ) {
      const runs = await this.locate({ offset: offset + done, length: into.length - done }, signal);
      for (const run of runs) {
        if (run.kind === 'data') data.push(run);
        else if (run.kind === 'zero') part(run).fill(0);
        else absent.push({ offset: run.offset, length: run.length });
        done += run.length;
      }
    }
    await this.readData(data, part, signal);
    return absent;
  }

  /** Fills the parts of the caller's memory that belong to `runs`. */
  protected async readData(
    runs: readonly GrainRun[],
    part: (run: Range) => Uint8Array,
    signal?: AbortSignal,
  ): Promise<void> {
    for (const run of runs) this.assertInFile(run);
    const { file } = this.facts;
    const [only] = runs;
    if (runs.length === 1 && only) await file.read(only.position, part(only), signal);
    else await forEachBounded(runs, readConcurrency, (run) => file.read(run.position, part(run), signal));
  }

  protected assertInFile(run: GrainRun): void {
    const { file, tables, grainBytes } = this.facts;
    if (run.position + run.length <= file.size) return;
    const grain = Math.floor(run.offset / grainBytes);
    const offset = tables.entryOffset(grain);
    throw new FormatError(
      `${file.name}: the disk's bytes from ${alignDown(run.offset, grainBytes)} on are said to be at ${run.position}, ` +
        `but the file ends at ${file.size}; it is cut off or its tables are damaged (table entry at offset ${offset})`,
      { details: { path: file.name, offset, position: run.position, size: file.size } },
    );
  }

  close(): Promise<void> {
    return this.facts.file.close();
  }
}

/** A power of two from 4 KiB to 1 MiB. */
function blockSizeOf(grainBytes: number): number {
  return 2 ** Math.min(20, Math.max(12, Math.floor(Math.log2(grainBytes))));
}
