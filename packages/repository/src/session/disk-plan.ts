/** Decides for each chunk of a disk what a backup does with it, before any data is read. */
import { alignDown, alignUp, assert, type Random, type Range } from '@prima/base';
import type { BlockDevice } from '@prima/block';

export const chunkPlan = {
  /** As in the parent. */
  keep: 0,
  /** The source says that it is all zeros. */
  zero: 1,
  read: 2,
} as const;

export interface DiskPlan {
  /** One `chunkPlan` value a chunk. */
  chunks: Uint8Array;
  /** Chunks to read. */
  toRead: number;
}

/**
 * @param changed ranges that may differ from the parent; undefined: the whole device
 */
export async function planDisk(
  device: BlockDevice,
  changed: readonly Range[] | undefined,
  chunkSize: number,
  signal?: AbortSignal,
): Promise<DiskPlan> {
  const count = Math.ceil(device.size / chunkSize);
  const chunks = new Uint8Array(count);
  let toRead = 0;
  for (const range of changed ?? [{ offset: 0, length: device.size }]) {
    const start = alignDown(range.offset, chunkSize);
    const end = Math.min(alignUp(range.offset + range.length, chunkSize), device.size);
    if (end <= start) continue;
    const wanted = { offset: start, length: end - start };
    for await (const extent of device.extents(wanted, signal ? { signal } : {})) {
      const first = Math.floor(extent.offset / chunkSize);
      const last = Math.ceil((extent.offset + extent.length) / chunkSize);
      assert(last <= count, 'extents lie within the device');
      const plan = extent.kind === 'data' ? chunkPlan.read : chunkPlan.zero;
      for (let chunk = first; chunk < last; chunk += 1) {
        if (plan === chunkPlan.read && chunks[chunk] !== chunkPlan.read) toRead += 1;
        if ((chunks[chunk] ?? 0) < plan) chunks[chunk] = plan;
      }
    }
  }
  return { chunks, toRead };
}

/** Chooses up to `count` different chunks that the plan keeps. */
export function sampleKept(plan: DiskPlan, count: number, random: Random): number[] {
  const chosen = new Set<number>();
  const total = plan.chunks.length;
  for (let tries = 0; tries < count * 8 && chosen.size < count; tries += 1) {
    const chunk = random.below(total);
    if (plan.chunks[chunk] === chunkPlan.keep) chosen.add(chunk);
  }
  return [...chosen].sort((a, b) => a - b);
}
