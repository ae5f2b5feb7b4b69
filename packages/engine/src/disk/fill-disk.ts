/**
 * Room of a disk taken and given back, without a byte of what it holds changed: inflating writes zeros where nothing is
 * stored yet, punching makes holes of stored zeros. Whatever moment it ends at, the disk holds what it did; doing it again
 * goes on.
 */
import { stat } from 'node:fs/promises';
import {
  alignDown,
  isZero,
  KiB,
  MiB,
  type Progress,
  type Range,
  throwIfAborted,
  PrimaError,
} from '@prima/base';
import { type GrowingFile, openGrowingFile, type WritableDevice } from '@prima/block';
import { changeDescriptor, openVmdk } from '@prima/formats';
import { openWithQemu } from '@prima/qemu';
import type { JournalEntry } from '../journal.ts';
import { assertRoom } from '../restore/space.ts';
import { changeDisk, type ChangeOptions } from './change-disk.ts';
import { assertNoDependents } from './dependents.ts';
import { assertUsable, type DiskParts } from './disk-parts.ts';
import type { NamedDisk } from './inspect-disk.ts';
import { descriptorStep } from './text-steps.ts';

export interface FillOptions extends ChangeOptions {
  onProgress?: (subject: string, progress: Progress) => void;
}

export interface FilledDisk {
  path: string;
  /** Bytes that all its files took on their disk, before and now. */
  before: number;
  after: number;
}

interface Work {
  parts: DiskParts;
  disk: NamedDisk;
  doing: string;
  options: FillOptions;
}

/** Takes all the room that the disk may need. Raises `no-space` before anything is done, `busy`, `refused`. */
export async function inflateDisk(disk: NamedDisk, options: FillOptions): Promise<FilledDisk> {
  return refill(disk, { ...options, doing: `inflating ${disk.path}`, thin: false }, async (work) => {
    const { parts } = work;
    if (!isFlat(parts)) {
      await assertNoDependents(parts, work.doing); // its content id changes with the first write
      await inflateDevice(work);
    }
    for (const { path } of extentFiles(parts)) await onFile(path, (file) => fillHoles(file, path, work));
  });
}

/** Gives back the room of what is stored as zeros. Raises `busy`. */
export async function punchDisk(disk: NamedDisk, options: FillOptions): Promise<FilledDisk> {
  return refill(disk, { ...options, doing: `punching holes into ${disk.path}`, thin: true }, async (work) => {
    for (const { path } of work.parts.files) await onFile(path, (file) => punchFile(file, work));
  });
}

async function refill(
  disk: NamedDisk,
  options: FillOptions & { doing: string; thin: boolean },
  task: (work: Work) => Promise<void>,
): Promise<FilledDisk> {
  const { doing, thin } = options;
  return changeDisk(disk, options, async (parts, entry) => {
    await assertUsable(parts, doing);
    const before = await allocated(parts);
    await task({ parts, disk, doing, options });
    throwIfAborted(options.signal, doing);
    await markThin(parts, thin, entry);
    return { path: parts.path, before, after: await allocated(parts) };
  });
}

async function allocated({ files }: DiskParts): Promise<number> {
  let bytes = 0;
  for (const { path } of files) bytes += (await stat(path)).blocks * 512;
  return bytes;
}

/** ESX tells its thin flat disks by an entry of the disk database. */
async function markThin({ descriptor, text }: DiskParts, thin: boolean, entry: JournalEntry): Promise<void> {
  if (descriptor?.createType !== 'vmfs' || !text) return;
  if ((descriptor.ddb.get('thinprovisioned') === '1') === thin) return;
  const changed = changeDescriptor(descriptor, { 'ddb.thinProvisioned': thin ? 1 : undefined });
  await entry.commit([await descriptorStep(text, changed, entry)]);
}

const isFlat = ({ format, descriptor, text }: DiskParts) =>
  format === 'raw' ||
  text?.format === 'flat' ||
  descriptor?.extents.every(({ type }) => ['FLAT', 'VMFS', 'ZERO'].includes(type)) === true;

function extentFiles({ files, text }: DiskParts): DiskParts['files'] {
  return text?.format === 'descriptor' ? files.filter(({ extent }) => extent !== undefined) : files;
}

async function onFile(path: string, task: (file: GrowingFile) => Promise<void>): Promise<void> {
  const file = await openGrowingFile(path, { writable: true });
  try {
    await task(file);
    await file.flush();
  } finally {
    await file.close();
  }
}

const zeros = new Uint8Array(MiB);

/** What can be inflated: a flat file, or a disk with tables, in which zeros that are written have a place of their own. */
type Inflatable = Pick<WritableDevice, 'size' | 'extents' | 'write'>;

async function fillHoles(target: Inflatable, path: string, { options, doing }: Work): Promise<void> {
  const { signal, onProgress } = options;
  const holes: Range[] = [];
  for await (const { kind, ...range } of target.extents({ offset: 0, length: target.size }, { signal }))
    if (kind !== 'data') holes.push(range);
  const total = sum(holes);
  await assertRoom(path, total);
  let done = 0;
  for (const { offset, length } of holes) {
    for (let at = 0; at < length; at += zeros.length) {
      throwIfAborted(signal, doing);
      const piece = zeros.subarray(0, Math.min(zeros.length, length - at));
      await target.write(offset + at, piece, signal);
      done += piece.length;
      onProgress?.(path, { phase: 'inflating', done, total });
    }
  }
}

function sum(ranges: readonly Range[]): number {
  return ranges.reduce((total, { length }) => total + length, 0);
}

async function inflateDevice(work: Work): Promise<void> {
  const device = await openWritable(work);
  try {
    await fillHoles(device, work.parts.path, work);
    await device.flush();
  } finally {
    await device.close();
  }
}

async function openWritable({ parts, disk, doing, options }: Work): Promise<WritableDevice> {
  const { path, format } = parts;
  if (format === 'vmdk') {
    return (await openVmdk(path, { writable: true, roots: disk.allowed, signal: options.signal })).device;
  }
  if (format === 'qcow2') return openWithQemu(path, { format, writable: true, signal: options.signal });
  throw new PrimaError(
    'unsupported',
    `${doing}: disks of the format ${format} cannot be inflated; convert it`,
  );
}

/** The least that is worth a hole. */
const pieceBytes = 64 * KiB;

async function punchFile(file: GrowingFile, { options, doing }: Work): Promise<void> {
  const { signal, onProgress } = options;
  const { size } = file;
  const buffer = new Uint8Array(MiB);
  for await (const { kind, offset, length } of file.extents({ offset: 0, length: size }, { signal })) {
    const end = kind === 'data' ? offset + length : offset;
    for (let at = offset; at < end; ) {
      throwIfAborted(signal, doing);
      const stop = Math.min(alignDown(at, buffer.length) + buffer.length, end);
      const bytes = buffer.subarray(0, stop - at);
      await file.read(at, bytes, signal);
      for (const run of zeroRuns(bytes, at)) await file.zero(run, signal);
      at = stop;
      onProgress?.(file.path, { phase: 'punching', done: at, total: size });
    }
  }
}

function* zeroRuns(bytes: Uint8Array, offset: number): Generator<Range> {
  let start: number | undefined;
  for (let at = 0; at < bytes.length; ) {
    const stop = Math.min(alignDown(offset + at, pieceBytes) + pieceBytes - offset, bytes.length);
    if (isZero(bytes.subarray(at, stop))) start ??= at;
    else if (start !== undefined) {
      yield { offset: offset + start, length: at - start };
      start = undefined;
    }
    at = stop;
  }
  if (start !== undefined) yield { offset: offset + start, length: bytes.length - start };
}
