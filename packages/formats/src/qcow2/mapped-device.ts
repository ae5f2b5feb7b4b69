/** The disk inside a qcow2 file that is being written: bytes go straight to the clusters that the layout has for them. */
import { assert, assertWithin, PrimaError, type Range } from '@prima/base';
import type { Extent, WritableDevice } from '@prima/block';
import { clusterBytes, type Layout, type Run } from './layout.ts';

/** Write-only; what is not written reads as zeros in the file that comes of it. */
export class MappedDevice implements WritableDevice {
  readonly size: number;
  readonly blockSize: number;
  readonly #file: WritableDevice;
  readonly #runs: readonly Run[];
  /** A bit for each cluster of the file: it holds something. */
  readonly #used: Uint8Array;

  constructor(file: WritableDevice, layout: Layout) {
    this.#file = file;
    this.#runs = layout.runs;
    this.size = layout.size;
    this.blockSize = file.blockSize;
    this.#used = new Uint8Array(Math.ceil(layout.clusters / 8));
  }

  isUsed(cluster: number): boolean {
    return ((this.#used[cluster >> 3] ?? 0) & (1 << (cluster & 7))) !== 0;
  }

  async write(offset: number, from: Uint8Array, signal?: AbortSignal): Promise<void> {
    assertWithin({ offset, length: from.length }, this.size);
    for (let done = 0; done < from.length; ) {
      const at = offset + done;
      const run = this.#runAt(Math.floor(at / clusterBytes));
      const within = at - run.guest * clusterBytes;
      const length = Math.min(from.length - done, run.count * clusterBytes - within);
      const place = run.host * clusterBytes + within;
      await this.#file.write(place, from.subarray(done, done + length), signal);
      this.#mark({ offset: place, length });
      done += length;
    }
  }

  zero(): Promise<void> {
    return Promise.resolve();
  }

  async flush(): Promise<void> {
    await this.#file.flush();
  }

  read(): Promise<void> {
    return Promise.reject(new PrimaError('unsupported', 'a qcow2 file that is being written is not read'));
  }

  async *extents(range: Range): AsyncGenerator<Extent> {
    yield { ...range, kind: 'data' };
  }

  /** The file is its opener's. */
  close(): Promise<void> {
    return Promise.resolve();
  }

  #mark({ offset, length }: Range): void {
    const end = Math.ceil((offset + length) / clusterBytes);
    for (let cluster = Math.floor(offset / clusterBytes); cluster < end; cluster += 1) {
      this.#used[cluster >> 3] = (this.#used[cluster >> 3] ?? 0) | (1 << (cluster & 7));
    }
  }

  #runAt(cluster: number): Run {
    let low = 0;
    let high = this.#runs.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((this.#runs[middle]?.guest ?? 0) <= cluster) low = middle;
      else high = middle - 1;
    }
    const run = this.#runs[low];
    assert(run && cluster >= run.guest && cluster < run.guest + run.count, 'data lies in an extent of data');
    return run;
  }
}
