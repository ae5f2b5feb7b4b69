/** Before a backup is begun: which disks, from which checkpoint, and where the guest's overwritten blocks go. */
import { statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { formatBytes, GiB, MiB, PrimaError, toPrimaError } from '@prima/base';
import type { Domain as DomainRef, LibvirtConnection } from '@prima/libvirt';
import { elementAt } from '@prima/xml';
import type { MachineDisk, OpenForBackupOptions } from '../platform.ts';
import { listCheckpoints, usableBitmaps } from './checkpoints.ts';
import { diskChain, type Domain, type DomainDisk, parseDomain } from './domain.ts';
import { withPoolOver } from './host-files.ts';
import { asLibvirtCheckpoint, keepsBitmaps, type LibvirtCheckpoint, whyNotTracked } from './tracking.ts';

export interface PlannedDisk {
  disk: MachineDisk;
  /** What it reads from, top first. */
  chain: string[];
  /** libvirt's checkpoint that tells what has changed. */
  since?: string;
  whyFull?: string;
  /** The disk's format keeps a bitmap from this point on. */
  tracked: boolean;
  /** Path on the host. */
  scratch: string;
}

export interface Plan {
  disks: PlannedDisk[];
  skipped: { disk: MachineDisk; why: string }[];
  why: string[];
  /** Bytes of all scratch files together. */
  scratchLimitBytes: number;
  scratchFolder: string;
}

export interface PlanRequest {
  connection: LibvirtConnection;
  /** A machine whose QEMU runs and has the disks: itself, or its stand-in. */
  dom: DomainRef;
  domain: Domain;
  options: OpenForBackupOptions;
  /** Of this run, for names of files. */
  run: string;
  isLocal: boolean;
  /** Why no bitmap can be read, whatever there is. */
  whyFull?: string;
  /** libvirt knows no checkpoint of it, ever. */
  isStandIn?: boolean;
}

/** Less than this holds not even the scratch file's own tables. */
const leastScratchBytes = 1 * MiB;
/** Where disks are no files. */
export const otherScratchFolder = '/var/tmp';

export function machineDisk(disk: DomainDisk, size: number): MachineDisk {
  const { target, location, format, excluded } = disk;
  return {
    name: target,
    slot: target,
    path: location,
    format,
    size,
    ...(excluded === undefined ? {} : { excluded }),
  };
}

/** By target: what the disks of a machine whose QEMU runs read from, top first. */
export async function diskChains(
  connection: LibvirtConnection,
  dom: DomainRef,
): Promise<Map<string, string[]>> {
  const { xml } = await connection.call('domainGetXmlDesc', { dom });
  return new Map(parseDomain(xml, dom.name).disks.map(({ target, element }) => [target, diskChain(element)]));
}

/** Raises `unsupported` when no disk can be read, `no-space` when there is no room for scratch files. */
export async function planBackup(request: PlanRequest): Promise<Plan> {
  const { connection, dom, domain, options, run } = request;
  const folder = options.scratch?.folder ?? scratchFolderOf(domain);
  const plan: Plan = { disks: [], skipped: [], why: [], scratchLimitBytes: 0, scratchFolder: folder };
  const since = asLibvirtCheckpoint(options.since);
  const chains = await diskChains(connection, dom);
  for (const found of domain.disks) {
    if (elementAt(found.element, 'shareable')) {
      const what = 'what other machines write to it while it is read may be in the point in part';
      plan.why.push(`${found.target} is shared (<shareable/>): ${what}`);
    }
    if (found.excluded !== undefined) {
      plan.skipped.push({ disk: machineDisk(found, 0), why: found.excluded });
      continue;
    }
    const { capacity } = await connection.call('domainGetBlockInfo', { dom, disk: found.target });
    const disk = machineDisk(found, capacity);
    const chain = chains.get(found.target) ?? [disk.path];
    const why = whyNotTracked({ ...disk, chain }, options.since, options.full ?? false);
    const whyFull = why ?? request.whyFull;
    plan.disks.push({
      disk,
      chain,
      tracked: keepsBitmaps(disk.format),
      scratch: join(folder, `prima-${run}-${found.target}.qcow2`),
      ...(whyFull === undefined ? { since: since?.name ?? '' } : { whyFull }),
    });
  }
  if (plan.disks.length === 0) throw noDisk(domain, plan);
  if (since) await judgeBitmaps(request, plan, since);
  const sizes = plan.disks.reduce((sum, { disk }) => sum + disk.size, 0);
  const room = await roomIn(request, folder);
  plan.scratchLimitBytes = scratchLimit(sizes, room, told(options, plan));
  return plan;
}

const told = ({ scratch }: OpenForBackupOptions, { disks }: Plan): number | undefined =>
  scratch?.limitBytes === undefined ? undefined : scratch.limitBytes * disks.length;

/** Beside the first disk that is a file: there is room for it, and libvirt may write there. */
function scratchFolderOf({ disks }: Domain): string {
  const file = disks.find(({ source, excluded }) => source === 'file' && excluded === undefined);
  return file ? dirname(file.location) : otherScratchFolder;
}

/** Asks the host about the bitmaps of those disks that may have one; the others are read wholly, with the reason. */
async function judgeBitmaps(request: PlanRequest, plan: Plan, since: LibvirtCheckpoint): Promise<void> {
  const { connection, dom } = request;
  const candidates = plan.disks.filter((planned) => planned.since !== undefined);
  if (candidates.length === 0) return;
  const known = (await listCheckpoints(connection, dom)).find(({ name }) => name === since.name);
  const usable = await usableBitmaps(connection, dom, {
    name: since.name,
    targets: candidates.map(({ disk }) => disk.slot),
    known,
    present: request.domain.disks.map(({ target }) => target),
  });
  if (usable.toldAgain && request.isStandIn !== true) {
    plan.why.push(
      `libvirt had forgotten the checkpoint ${since.name} (the machine was undefined or moved since); its bitmaps are there and it was told again`,
    );
  }
  for (const planned of candidates) {
    const broken = usable.broken.find(({ target }) => target === planned.disk.slot);
    if (!broken) continue;
    delete planned.since;
    planned.whyFull = `the change bitmap is gone or broken: the machine was killed or crashed since, or another disk is there (libvirt: ${broken.why})`;
  }
}

function noDisk({ name }: Domain, { skipped }: Plan): PrimaError {
  const reasons = skipped.map(({ disk, why }) => `${disk.name}: ${why}`).join('; ');
  return new PrimaError(
    'unsupported',
    `${name} has no disk that can be backed up (${reasons || 'none at all'})`,
  );
}

/** Free bytes of the file system of a folder on the host; undefined where that cannot be told. */
async function roomIn({ connection, isLocal }: PlanRequest, folder: string): Promise<number | undefined> {
  try {
    if (isLocal) return await freeBytes(folder);
    return await withPoolOver(connection, folder, async (pool) => {
      return (await connection.call('storagePoolGetInfo', { pool })).available;
    });
  } catch (error) {
    const failure = toPrimaError(error, `looking for free room in ${folder}`);
    if (failure.code === 'cancelled' || failure.code === 'internal') throw failure;
    return undefined; // libvirt says so when it makes the files
  }
}

export async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

/**
 * How much overwritten data is kept: what was told; otherwise a quarter of the disks, at least 1 GiB, and never more than three
 * quarters of the free room.
 */
export function scratchLimit(
  diskBytes: number,
  roomBytes = Number.POSITIVE_INFINITY,
  wanted?: number,
): number {
  const limit = Math.floor(
    Math.min(wanted ?? Math.max(diskBytes / 4, GiB), diskBytes + 16 * MiB, (roomBytes * 3) / 4),
  );
  if (limit >= leastScratchBytes) return limit;
  throw new PrimaError(
    'no-space',
    `a backup needs room for what the guest overwrites meanwhile: ${formatBytes(limit)} is allowed or free, ` +
      `at least ${formatBytes(leastScratchBytes)} is needed; give it another scratch folder`,
  );
}
