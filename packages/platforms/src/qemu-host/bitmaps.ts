/**
 * Which of QEMU's dirty bitmaps may be believed (docs/interop/bitmaps.rst of QEMU).
 *
 * A bitmap of ours is named `prima-<owner>-<random>`: a name is never used twice, so one that is there and has
 * been recording has seen every write since it was added. What may break that is asked for in `judgeParent`.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { Checkpoint, MachineDisk } from '../platform.ts';
import type { BlockNode, DirtyBitmap } from './qemu-blocks.ts';

/** Bytes that one bit stands for. */
export const granularityBytes = 65536;

/** What the checkpoint of a plain QEMU host holds. */
export interface QemuCheckpoint extends Checkpoint {
  platform: 'qemu';
  version: 1;
  disks: CheckpointDisk[];
}

export interface CheckpointDisk {
  slot: string;
  /** Counts from the checkpoint's point in time on. Undefined: no changes are tracked. */
  bitmap?: string;
  size: number;
  path: string;
  format: string;
}

const anyPrefix = 'prima-';

/** `prima-1234abcd-`: what the names of all bitmaps of one repository begin with. */
export function bitmapPrefix(owner: string): string {
  return `${anyPrefix}${createHash('sha256').update(owner).digest('hex').slice(0, 8)}-`;
}

export function newBitmapName(owner: string): string {
  return bitmapPrefix(owner) + randomBytes(8).toString('hex');
}

/** Bitmaps outlive QEMU only inside qcow2 files of version 3. */
export function keepsBitmaps(node: Pick<BlockNode, 'drv' | 'image'>): boolean {
  return node.drv === 'qcow2' && node.image['format-specific']?.data?.compat !== '0.10';
}

/** The checkpoint, when it is one of ours. */
export function asQemuCheckpoint(checkpoint: Checkpoint | undefined): QemuCheckpoint | undefined {
  if (checkpoint?.platform !== 'qemu' || checkpoint.version !== 1) return undefined;
  return Array.isArray(checkpoint.disks) ? (checkpoint as QemuCheckpoint) : undefined;
}

export interface ParentQuestion {
  disk: MachineDisk;
  checkpoint: Checkpoint | undefined;
  full: boolean;
  /** All of the disk's bitmaps. */
  bitmaps: readonly DirtyBitmap[];
  /** The disk has QEMU's internal snapshots: going back to one changes it without a trace in bitmaps. */
  internalSnapshots: boolean;
  /** Bitmaps are kept in the disk's file. */
  persistent: boolean;
}

export type ParentAnswer = { bitmap: string } | { whyFull: string };

/** The bitmap that tells what has changed since the checkpoint, or why none does. */
export function judgeParent(question: ParentQuestion): ParentAnswer {
  const { disk, full, bitmaps } = question;
  if (full) return { whyFull: 'a full reading was asked for' };
  if (question.checkpoint === undefined) return { whyFull: 'there is no earlier point to start from' };
  const checkpoint = asQemuCheckpoint(question.checkpoint);
  if (!checkpoint) return { whyFull: 'the earlier point comes from another kind of host' };
  const before = checkpoint.disks.find(({ slot }) => slot === disk.slot);
  if (!before) return { whyFull: 'the disk was added since the earlier point' };
  if (before.bitmap === undefined) return { whyFull: 'no changes were tracked since the earlier point' };
  if (before.path !== disk.path) return { whyFull: `another disk was there before: ${before.path}` };
  if (before.size !== disk.size) {
    return { whyFull: `the disk was resized, from ${before.size} to ${disk.size} bytes` };
  }
  if (before.format !== disk.format) return { whyFull: `the disk's format was ${before.format} before` };
  if (question.internalSnapshots) return { whyFull: 'the disk has internal snapshots, which bitmaps ignore' };
  const bitmap = bitmaps.find(({ name }) => name === before.bitmap);
  return bitmap ? judgeBitmap(bitmap, before.bitmap) : { whyFull: whyMissing(question) };
}

function judgeBitmap(bitmap: DirtyBitmap, name: string): ParentAnswer {
  if (bitmap.inconsistent) {
    return { whyFull: 'the change bitmap is inconsistent: the machine crashed or was killed since' };
  }
  if (bitmap.busy) return { whyFull: 'the change bitmap is in use by something else' };
  if (!bitmap.recording) return { whyFull: 'the change bitmap was not recording all the time' };
  return { bitmap: name };
}

function whyMissing({ persistent, disk }: ParentQuestion): string {
  if (persistent) {
    return 'the change bitmap is gone: the machine crashed or was killed since, or the disk or bitmap was replaced';
  }
  return `the machine was stopped or restarted since, and a ${disk.format} disk keeps no change bitmap`;
}

/**
 * Bitmaps that nobody will ask for again: what earlier runs for the same repository left, and what a crash made
 * useless, whose repository ever it was for.
 */
export function strayBitmaps(bitmaps: readonly DirtyBitmap[], owner: string, keep?: string): string[] {
  const stray = ({ name, busy, inconsistent }: DirtyBitmap) => {
    if (name === undefined || busy || name === keep) return false;
    return name.startsWith(bitmapPrefix(owner)) || (name.startsWith(anyPrefix) && inconsistent === true);
  };
  return bitmaps.filter(stray).map(({ name }) => name ?? '');
}
