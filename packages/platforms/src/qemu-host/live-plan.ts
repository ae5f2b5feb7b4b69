/** Before a running machine is touched: which disks, under which names, starting from which bitmaps. */
import { randomBytes } from 'node:crypto';
import { open, statfs } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { alignUp, formatBytes, GiB, MiB, PrimaError, runProgram, toPrimaError } from '@prima/base';
import type { Checkpoint, MachineDisk, OpenForBackupOptions } from '../platform.ts';
import {
  asQemuCheckpoint,
  judgeParent,
  keepsBitmaps,
  newBitmapName,
  type ParentAnswer,
  type QemuCheckpoint,
  strayBitmaps,
} from './bitmaps.ts';
import { devicePath, topNode } from './command-line.ts';
import type { BackupIntent, IntentDisk } from './intent.ts';
import { type MachinePaths, runNames } from './machine-folder.ts';
import type { BlockNode } from './qemu-blocks.ts';

export interface LiveDisk {
  disk: MachineDisk;
  names: IntentDisk;
  parent: ParentAnswer;
  /** The new bitmap is kept in the disk's file. */
  persistent: boolean;
  strays: string[];
  scratchLimitBytes: number;
}

export interface LivePlan {
  disks: LiveDisk[];
  skipped: { disk: MachineDisk; why: string }[];
  why: string[];
}

export interface PlanRequest {
  paths: MachinePaths;
  disks: readonly MachineDisk[];
  nodes: ReadonlyMap<string, BlockNode>;
  options: OpenForBackupOptions;
}

/** Less than this holds not even the scratch file's own tables. */
const leastScratchBytes = 1 * MiB;

export async function planLive(request: PlanRequest): Promise<LivePlan> {
  const { paths, nodes, options } = request;
  const plan: LivePlan = { disks: [], skipped: [], why: [] };
  const tag = randomBytes(4).toString('hex');
  const folder = scratchFolder(paths, options);
  const roomBytes = await freeBytes(folder);
  const present = request.disks.filter((disk) => {
    const why = whyNotLive(disk, nodes.get(topNode(disk)));
    if (why !== undefined) plan.skipped.push({ disk, why });
    return why === undefined;
  });
  for (const [index, disk] of present.entries()) {
    const node = nodes.get(topNode(disk));
    if (!node) continue;
    const live = { ...disk, size: node.image['virtual-size'] };
    const limit = scratchLimit(live.size, roomBytes / present.length, options.scratch?.limitBytes);
    const names = namesFor(disk, { tag, index, folder, owner: options.owner });
    plan.disks.push({ ...planDisk(live, node, options), names, scratchLimitBytes: limit });
  }
  if (plan.disks.length === 0) throw noDisk(paths, plan);
  return plan;
}

/** Where scratch files and saved memory go, absolute: QEMU works in another folder. */
export function scratchFolder(paths: MachinePaths, { scratch }: OpenForBackupOptions): string {
  return scratch?.folder === undefined ? paths.run : resolve(scratch.folder);
}

function planDisk(
  disk: MachineDisk,
  node: BlockNode,
  options: OpenForBackupOptions,
): Pick<LiveDisk, 'disk' | 'parent' | 'persistent' | 'strays'> {
  const bitmaps = node['dirty-bitmaps'] ?? [];
  const persistent = keepsBitmaps(node) && !node.ro;
  const parent = judgeParent({
    disk,
    checkpoint: options.since,
    full: options.full ?? false,
    bitmaps,
    internalSnapshots: (node.image.snapshots ?? []).length > 0,
    persistent,
  });
  const keep = parentBitmap(options.since, disk.slot);
  const broken = bitmaps.some(({ name, inconsistent }) => name === keep && inconsistent);
  return {
    disk,
    parent,
    persistent,
    strays: strayBitmaps(bitmaps, options.owner, broken ? undefined : keep),
  };
}

/** The bitmap that a checkpoint names for a slot. */
export function parentBitmap(since: Checkpoint | undefined, slot: string): string | undefined {
  return asQemuCheckpoint(since)?.disks.find((disk) => disk.slot === slot)?.bitmap;
}

function whyNotLive(disk: MachineDisk, node: BlockNode | undefined): string | undefined {
  if (disk.excluded !== undefined) return disk.excluded;
  return node
    ? undefined
    : 'it is not attached: it was added to the configuration after the machine was started';
}

function noDisk(paths: MachinePaths, plan: LivePlan): PrimaError {
  const reasons = plan.skipped.map(({ disk, why }) => `${disk.name}: ${why}`).join('; ');
  const message = `the machine in ${paths.folder} has no disk that can be backed up (${reasons || 'none at all'})`;
  return new PrimaError('unsupported', message);
}

function namesFor(
  disk: MachineDisk,
  make: { tag: string; index: number; folder: string; owner: string },
): IntentDisk {
  const base = `prima-${make.tag}-${make.index}`;
  return {
    slot: disk.slot,
    node: topNode(disk),
    device: devicePath(disk.slot),
    scratchFile: join(make.folder, `scratch-${make.tag}-${make.index}.qcow2`),
    scratchNode: `${base}-scratch`,
    filterNode: `${base}-filter`,
    viewNode: `${base}-view`,
    exportId: base,
    newBitmap: newBitmapName(make.owner),
    frozenBitmap: newBitmapName(make.owner),
  };
}

/**
 * How much of a disk's overwritten data is kept: what was told; otherwise a quarter of the disk, at least 1 GiB,
 * and never more than three quarters of the disk's share of the free room.
 */
export function scratchLimit(diskBytes: number, roomBytes: number, told?: number): number {
  const wanted = told ?? Math.min(Math.max(diskBytes / 4, GiB), diskBytes + 16 * MiB, (roomBytes * 3) / 4);
  const limit = alignUp(Math.ceil(wanted), 65536);
  if (limit >= leastScratchBytes) return limit;
  throw new PrimaError(
    'no-space',
    `a backup of a running machine needs room for what the guest overwrites meanwhile: ${formatBytes(limit)} is ` +
      `allowed or free, at least ${formatBytes(leastScratchBytes)} is needed; give it another scratch folder`,
  );
}

export async function freeBytes(folder: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch (error) {
    throw toPrimaError(error, `looking for free room in ${folder}`);
  }
}

/** Makes the scratch file; QEMU is later told to use no more of it than its length. */
export async function makeScratch({ disk, names, scratchLimitBytes }: LiveDisk): Promise<void> {
  await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', names.scratchFile, String(disk.size)]);
  const file = await open(names.scratchFile, 'r+');
  try {
    await file.chmod(0o600);
    const { size } = await file.stat();
    if (size < scratchLimitBytes) await file.truncate(scratchLimitBytes);
  } finally {
    await file.close();
  }
}

/** The scratch node's options for blockdev-add: writing past the limit fails with ENOSPC, inside QEMU. */
export function scratchNodeOptions({ names, scratchLimitBytes }: LiveDisk): object {
  const file = { driver: 'file', filename: names.scratchFile };
  return {
    driver: 'qcow2',
    'node-name': names.scratchNode,
    file: { driver: 'raw', size: scratchLimitBytes, file },
  };
}

export function planIntent(
  paths: MachinePaths,
  plan: LivePlan,
  facts: Pick<BackupIntent, 'wasRunning' | 'freezes' | 'migrates' | 'memoryFile'>,
): BackupIntent {
  return {
    version: 1,
    folder: paths.folder,
    inWindow: true,
    ...facts,
    nbdSocket: join(paths.run, runNames.nbd),
    disks: plan.disks.map(({ names }) => names),
  };
}

export function checkpointOf(plan: LivePlan): QemuCheckpoint {
  return {
    platform: 'qemu',
    version: 1,
    disks: plan.disks.map(({ disk, names }) => ({
      slot: disk.slot,
      bitmap: names.newBitmap,
      size: disk.size,
      path: disk.path,
      format: disk.format,
    })),
  };
}
