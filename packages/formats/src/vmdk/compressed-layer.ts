/** A streamOptimized extent at random access: grains are found through the tables and decompressed (stream-codec.ts). */
import { FormatError, forEachBounded, type Range } from '@prima/base';
import { sectorBytes } from './hosted-header.ts';
import { inflateGrainAside, mostGrainData } from './stream-codec.ts';
import { grainMarkerBytes, markerHeadBytes, parseMarker } from './stream-markers.ts';
import { type GrainRun, type SparseFacts, SparseLayer } from './sparse-layer.ts';

export interface CompressedFacts extends SparseFacts {
  /** Grains have markers, which say where they belong and how long they are. */
  markers: boolean;
}

/** Grains that stay decompressed, for reads of less than a grain, as far as they take no more than this. */
const keptGrains = 16;
const keptBytes = 16 * 1024 * 1024;
const inflateConcurrency = 8;
/** What grains that are decompressed at once take at most, unless it is one alone. */
const inflateBytes = 32 * 1024 * 1024;
/** Grains that lie one after the other are read together, up to this many bytes. */
const batchBytes = 4 * 1024 * 1024;

export class CompressedLayer extends SparseLayer {
  readonly #markers: boolean;
  readonly #kept = new Map<number, Uint8Array>();

  constructor(facts: CompressedFacts) {
    super(facts);
    this.#markers = facts.markers;
  }

  protected override positionOf(sector: number): number {
    return sector * sectorBytes;
  }

  protected override continues(): boolean {
    return false;
  }

  protected override async readData(
    runs: readonly GrainRun[],
    part: (run: Range) => Uint8Array,
    signal?: AbortSignal,
  ): Promise<void> {
    const wanted = runs.filter((run) => {
      const kept = this.#kept.get(run.position);
      if (kept) this.#copy(kept, run, part);
      return kept === undefined;
    });
    for (const batch of this.#batches(wanted)) {
      const [first, last] = [batch[0], batch.at(-1)];
      if (!first || !last) continue;
      const { grainBytes, file } = this.facts;
      for (const run of [first, last]) this.assertInFile({ ...run, length: markerHeadBytes });
      const stop = Math.min(file.size, last.position + grainMarkerBytes + mostGrainData(grainBytes));
      const bytes = new Uint8Array(stop - first.position);
      await file.read(first.position, bytes, signal);
      const atOnce = Math.max(1, Math.min(inflateConcurrency, Math.floor(inflateBytes / grainBytes)));
      await forEachBounded(batch, atOnce, async (run) => {
        const grain = await this.#inflate(run, bytes.subarray(run.position - first.position));
        this.#copy(grain, run, part);
        if (run.length < grainBytes) this.#keep(run.position, grain);
      });
    }
  }

  /** Cuts runs where the next one is not close behind the one before. */
  *#batches(runs: readonly GrainRun[]): Generator<GrainRun[]> {
    const near = grainMarkerBytes + mostGrainData(this.facts.grainBytes);
    let batch: GrainRun[] = [];
    for (const run of runs) {
      const last = batch.at(-1);
      const start = batch[0]?.position ?? run.position;
      const gap = last === undefined ? 0 : run.position - last.position;
      if (last && (gap < 0 || gap > near || run.position - start > batchBytes)) {
        yield batch;
        batch = [];
      }
      batch.push(run);
    }
    if (batch.length > 0) yield batch;
  }

  async #inflate(run: GrainRun, bytes: Uint8Array): Promise<Uint8Array> {
    const { file, grainBytes, size } = this.facts;
    const grain = Math.floor(run.offset / grainBytes);
    const leastBytes = Math.min(grainBytes, size - grain * grainBytes);
    const where = `${file.name}: the grain at byte ${run.position}`;
    const data = this.#markers ? this.#dataOf(run, bytes) : bytes;
    try {
      return await inflateGrainAside(data, { bytes: grainBytes, leastBytes, where });
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      const details = { path: file.name, offset: run.position };
      throw new FormatError(error.message, { details, cause: error });
    }
  }

  /** The compressed bytes behind the marker, which has to be this grain's. */
  #dataOf(run: GrainRun, bytes: Uint8Array): Uint8Array {
    const { file, grainBytes } = this.facts;
    const start = run.offset - (run.offset % grainBytes);
    const marker = parseMarker(bytes, run.position, file.name);
    if (marker.kind !== 'grain') throw this.#broken(run, 'is none: another marker is there');
    if (marker.lba * sectorBytes !== start) {
      throw this.#broken(run, `belongs to sector ${marker.lba} of the disk, not ${start / sectorBytes}`);
    }
    if (marker.size > mostGrainData(grainBytes)) throw this.#broken(run, `has ${marker.size} bytes`);
    if (grainMarkerBytes + marker.size > bytes.length)
      throw this.#broken(run, 'is cut off by the end of the file');
    return bytes.subarray(grainMarkerBytes, grainMarkerBytes + marker.size);
  }

  #broken(run: GrainRun, what: string): FormatError {
    const { name } = this.facts.file;
    return new FormatError(`${name}: the compressed grain at offset ${run.position} ${what}`, {
      details: { path: name, offset: run.position },
    });
  }

  #copy(grain: Uint8Array, run: GrainRun, part: (run: Range) => Uint8Array): void {
    const inside = run.offset % this.facts.grainBytes;
    part(run).set(grain.subarray(inside, inside + run.length));
  }

  #keep(position: number, grain: Uint8Array): void {
    this.#kept.set(position, grain);
    const limit = Math.max(1, Math.min(keptGrains, Math.floor(keptBytes / this.facts.grainBytes)));
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= limit) break;
      this.#kept.delete(oldest);
    }
  }
}
