/**
 * Makes a disk larger. What is new reads as zeros, and is the disk's only when all of it is there: everything is written
 * where nobody looks, beyond the ends of files and to new ones, and a crash takes it back; then the descriptor and the
 * headers are committed together.
 */
import { stat } from 'node:fs/promises';
import { PrimaError, throwIfAborted, UserError } from '@prima/base';
import { openGrowingFile } from '@prima/block';
import { growImage, imageInfo } from '@prima/qemu';
import { type FileStep, identityOf } from '../file-steps.ts';
import type { JournalEntry } from '../journal.ts';
import { assertRoom } from '../restore/space.ts';
import { changeDisk, type ChangeOptions } from './change-disk.ts';
import { checkDisk } from './check-disk.ts';
import { assertNoDependents } from './dependents.ts';
import { assertUsable, type DiskParts } from './disk-parts.ts';
import { extendVmdk } from './extend-vmdk.ts';
import type { NamedDisk } from './inspect-disk.ts';
import { openDiskFile } from './open-disk.ts';

export interface ExtendOptions extends ChangeOptions {
  /** Bytes, more than it has; a multiple of 512. */
  size: number;
  /** Fills the new room of flat disks with zeros, not only takes it. */
  eagerZero?: boolean;
}

export interface ExtendedDisk {
  path: string;
  /** Bytes of the disk. */
  before: number;
  size: number;
  /** Files that are new. */
  added: string[];
}

/**
 * Raises `usage` for a size that is not larger, `refused` where snapshots, children or redo logs would be worth nothing
 * afterwards, `busy`, `no-space`, `verify-failed` for a disk with faults.
 */
export async function extendDisk(disk: NamedDisk, options: ExtendOptions): Promise<ExtendedDisk> {
  const { size, signal } = options;
  const doing = `extending ${disk.path}`;
  return changeDisk(disk, { ...options, doing }, async (parts, entry) => {
    await assertUsable(parts, doing);
    await assertNoDependents(parts, doing);
    const before = await sizeOf(disk, signal);
    assertLarger(size, before, doing);
    const { findings } = await checkDisk(disk, signal);
    const fault = parts.format === 'raw' ? undefined : findings.find(({ severity }) => severity === 'error');
    if (fault) {
      throw new PrimaError(
        'verify-failed',
        `${doing}: it is not sound (${fault.message}); repair or convert it first`,
      );
    }
    throwIfAborted(signal, doing);
    const added = await extend(parts, entry, { ...options, doing, before });
    return { path: parts.path, before, size, added };
  });
}

async function sizeOf(disk: NamedDisk, signal?: AbortSignal): Promise<number> {
  const { device } = await openDiskFile(disk.path, { ...disk, option: '--format', signal });
  const { size } = device;
  await device.close();
  return size;
}

function assertLarger(size: number, before: number, doing: string): void {
  if (!Number.isSafeInteger(size) || size % 512 !== 0) {
    throw new UserError('usage', `${doing}: a disk cannot have ${size} bytes; a multiple of 512 is wanted`);
  }
  if (size > before) return;
  const what =
    size === before ? 'it has that size already' : 'disks are never made smaller: that would cut off data';
  throw new UserError('usage', `${doing} from ${before} to ${size} bytes: ${what}`);
}

export interface Extending extends ExtendOptions {
  doing: string;
  before: number;
}

async function extend(parts: DiskParts, entry: JournalEntry, options: Extending): Promise<string[]> {
  if (parts.format === 'vmdk') return extendVmdk(parts, entry, options);
  if (parts.format === 'raw') await extendRaw(parts.path, entry, options);
  else await extendImage(parts, options);
  return [];
}

async function extendRaw(path: string, entry: JournalEntry, { size, eagerZero }: Extending): Promise<void> {
  const { size: old } = await stat(path);
  const step: FileStep = { kind: 'size', path, file: await identityOf(path), old, size };
  if (eagerZero) await growFlat(path, { entry, size, how: 'eager' });
  else await entry.commit([step]);
}

/** QEMU writes the new size last, and in one sector. */
async function extendImage({ path, format, parent }: DiskParts, options: Extending): Promise<void> {
  const { size, signal, doing } = options;
  const { snapshots } = await imageInfo(path, format, { signal });
  const [first] = snapshots;
  if (first !== undefined) {
    throw new PrimaError(
      'refused',
      `${doing}: it has ${snapshots.length} internal snapshots (${first}), which have the old size; delete them first`,
    );
  }
  if (parent !== undefined) {
    throw new PrimaError(
      'refused',
      `${doing}: it is based on ${parent}; commit it there, or clone it, first`,
    );
  }
  await growImage(path, { format, size }, { signal });
}

/** How new room of a flat file is had: not at all, taken from the file system, or taken and filled with zeros. */
export type Allocation = 'thin' | 'taken' | 'eager';

/** Makes a flat file longer; until the entry is committed a failure cuts it back. Durable when it resolves. */
export async function growFlat(
  path: string,
  { entry, size, how }: { entry: JournalEntry; size: number; how: Allocation },
): Promise<void> {
  const { size: old } = await stat(path);
  const added = { offset: old, length: size - old };
  if (how !== 'thin') await assertRoom(path, added.length);
  const file = await openGrowingFile(path, { writable: true });
  try {
    // known by its new size only, so that nobody's later growth is cut back
    await entry.intend({ kind: 'size', path, file: await identityOf(path), old: size, size: old });
    await file.resize(size);
    if (how !== 'thin') await file.allocate(added);
    if (how === 'eager') await writeZeros(file, added);
    await file.flush();
  } finally {
    await file.close();
  }
}

const zeros = new Uint8Array(1024 * 1024);

async function writeZeros(
  file: { write(offset: number, from: Uint8Array): Promise<void> },
  { offset, length }: { offset: number; length: number },
): Promise<void> {
  for (let done = 0; done < length; done += zeros.length) {
    await file.write(offset + done, zeros.subarray(0, Math.min(zeros.length, length - done)));
  }
}
