/** How fast a store is, measured with a few dozen MiB. */
import { forEachBounded, MiB, type Random, throwIfAborted } from '@prima/base';
import type { ObjectStore } from './object-store.ts';

export interface StorageFigures {
  /** Bytes a second, several objects of 8 MiB at once. */
  putBytesPerSecond: number;
  getBytesPerSecond: number;
  /** Medians of objects of 1 KiB, one after the other, milliseconds. */
  putMs: number;
  getMs: number;
  /** Objects of 1 KiB a second, 16 at once. */
  smallPutsPerSecond: number;
}

const largeBytes = 8 * MiB;
const largeCount = 4;
const largeAtOnce = 2;
const serialCount = 15;
const smallCount = 120;
const smallAtOnce = 16;

/** Measures an empty store; what it stores stays there. */
export async function measureStore(
  store: ObjectStore,
  random: Random,
  signal?: AbortSignal,
): Promise<StorageFigures> {
  const call = signal ? { signal } : {};
  const large = Array.from({ length: largeCount }, () => random.bytes(new Uint8Array(largeBytes)));
  const indices = [...large.keys()];
  const totalBytes = largeBytes * largeCount;
  const put = await elapsed(() =>
    forEachBounded(indices, largeAtOnce, async (index) => {
      await store.putIfAbsent(`large/o${index}`, large[index] ?? [], call);
    }),
  );
  const get = await elapsed(() =>
    forEachBounded(indices, largeAtOnce, async (index) => {
      await store.get(`large/o${index}`, undefined, { ...call, fresh: true });
    }),
  );
  const small = random.bytes(new Uint8Array(1024));
  const [putTimes, getTimes]: [number[], number[]] = [[], []];
  for (let index = 0; index < serialCount; index += 1) {
    throwIfAborted(signal, `measuring ${store.url}`);
    putTimes.push(await elapsed(() => store.putIfAbsent(`serial/o${index}`, small, call)));
    getTimes.push(await elapsed(() => store.get(`serial/o${index}`, undefined, { ...call, fresh: true })));
  }
  const names = Array.from({ length: smallCount }, (_, index) => `small/o${index}`);
  const many = await elapsed(() =>
    forEachBounded(names, smallAtOnce, async (name) => {
      await store.putIfAbsent(name, small, call);
    }),
  );
  return {
    putBytesPerSecond: (totalBytes / put) * 1000,
    getBytesPerSecond: (totalBytes / get) * 1000,
    putMs: median(putTimes),
    getMs: median(getTimes),
    smallPutsPerSecond: (smallCount / many) * 1000,
  };
}

async function elapsed(task: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await task();
  return Math.max(performance.now() - started, 0.001);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
