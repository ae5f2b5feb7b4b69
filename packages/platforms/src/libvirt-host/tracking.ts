/** Which of libvirt's checkpoints may be started from, disk by disk. */
import { createHash, randomBytes } from 'node:crypto';
import type { Checkpoint } from '../platform.ts';

/** What the checkpoint of a libvirt host holds. */
export interface LibvirtCheckpoint extends Checkpoint {
  platform: 'libvirt';
  version: 1;
  /** libvirt's checkpoint, and the bitmap of each tracked disk. */
  name: string;
  disks: CheckpointDisk[];
}

export interface CheckpointDisk {
  /** The disk's target: `vda`. */
  slot: string;
  size: number;
  path: string;
  /** What it reads from, top first: itself and its backing files. Points of earlier versions lack it. */
  chain?: string[];
  format: string;
  /** The disk has a bitmap that counts from here on. */
  tracked: boolean;
}

/** `prima-1234abcd-`: what the names of all checkpoints of one repository begin with. */
export function checkpointPrefix(owner: string): string {
  return `prima-${createHash('sha256').update(owner).digest('hex').slice(0, 8)}-`;
}

/** A name is never used twice, so a bitmap that has it has seen every write since it was made. */
export function newCheckpointName(owner: string): string {
  return checkpointPrefix(owner) + randomBytes(8).toString('hex');
}

/** The checkpoint, when it is one of ours. */
export function asLibvirtCheckpoint(checkpoint: Checkpoint | undefined): LibvirtCheckpoint | undefined {
  if (checkpoint?.platform !== 'libvirt' || checkpoint.version !== 1) return undefined;
  return typeof checkpoint.name === 'string' && Array.isArray(checkpoint.disks)
    ? (checkpoint as LibvirtCheckpoint)
    : undefined;
}

/** libvirt keeps bitmaps in qcow2 disks only. */
export function keepsBitmaps(format: string): boolean {
  return format === 'qcow2';
}

export interface TrackedDisk {
  slot: string;
  path: string;
  /** What it reads from, top first. */
  chain: readonly string[];
  format: string;
  size: number;
}

/**
 * Why a disk has to be read wholly, by what is known without asking the host; undefined when its bitmap may be asked for.
 * A disk on an overlay is the same disk: libvirt carries bitmaps over snapshots and block commits. All disks of a machine
 * have bitmaps of one name, so two that changed places would each be taken for the other.
 */
export function whyNotTracked(
  disk: TrackedDisk,
  since: Checkpoint | undefined,
  full: boolean,
): string | undefined {
  if (full) return 'a full reading was asked for';
  if (since === undefined) return 'there is no earlier point to start from';
  const checkpoint = asLibvirtCheckpoint(since);
  if (!checkpoint) return 'the earlier point comes from another kind of host';
  const before = checkpoint.disks.find(({ slot }) => slot === disk.slot);
  if (!before) return 'the disk was added since the earlier point';
  if (!keepsBitmaps(disk.format)) return `a ${disk.format} disk keeps no change bitmap`;
  if (!before.tracked) return 'no changes were tracked since the earlier point';
  if (!isSameDisk(before, disk))
    return `another disk is there: it was ${before.path}, and is ${disk.path} now`;
  if (before.format !== disk.format) return `the disk's format was ${before.format} before`;
  if (before.size !== disk.size) return `the disk was resized, from ${before.size} to ${disk.size} bytes`;
  return undefined;
}

/** The same file, or an overlay over it, or a file that it has been committed to. */
function isSameDisk(before: CheckpointDisk, now: TrackedDisk): boolean {
  if (before.path === now.path || now.chain.includes(before.path)) return true;
  return before.chain?.includes(now.path) ?? false;
}

/** The disk that libvirt names when a bitmap cannot be used: "missing or broken bitmap 'x' for disk 'vda'". */
export function diskOfRefusal(text: string): string | undefined {
  return /\bdisk '([^']{1,64})'/.exec(text)?.[1];
}
