/** The partitions of a disk, read through any BlockDevice: which table counts, what is in each, what is odd. */
import { FormatError, type Range } from '@prima/base';
import type { BlockDevice } from '@prima/block';
import { readGpt } from './read-gpt.ts';
import { readMbrPartitions } from './read-mbr.ts';
import { type Mbr, gptProtective, mbrBytes, parseMbr } from './mbr.ts';
import type { Partition, PartitionTable } from './partition-table.ts';
import { type FileSystemInfo, findSignatures, signatureRanges, type Window } from './signatures.ts';

/**
 * Reads the partition table of `device` and looks into each partition. Damage is told in `notes`, never raised; raises
 * what reading the device raises.
 */
export async function readPartitions(device: BlockDevice, signal?: AbortSignal): Promise<PartitionTable> {
  const whole = { offset: 0, length: device.size };
  const direct = await signaturesIn(device, whole, signal);
  const table = await tableOf(device, direct, signal);
  const partitions = table.partitions.toSorted((a, b) => a.offset - b.offset);
  const notes = [...table.notes, ...overlaps(partitions), ...outside(partitions, device.size)];
  let intact = table.intact && notes.length === table.notes.length;
  for (const partition of table.kind === 'none' ? [] : partitions) {
    if (partition.offset + partition.length > device.size) continue;
    const found = await signaturesIn(device, partition, signal);
    Object.assign(partition, contentOf(found));
    if (found.length > 1) notes.push(ambiguous(`partition ${partition.index}`, found));
  }
  if (table.kind !== 'none' && direct.length > 0) {
    notes.push(
      `${direct.map(({ kind }) => kind).join(' and ')} shows at the disk's beginning besides the table`,
    );
    intact = false;
  }
  return { ...table, partitions, notes, intact };
}

async function tableOf(
  device: BlockDevice,
  direct: readonly FileSystemInfo[],
  signal?: AbortSignal,
): Promise<PartitionTable> {
  const mbr = await readMbr(device, signal);
  const isProtected = mbr?.entries.some(({ type }) => type === gptProtective) ?? false;
  const gpt = await readGpt(device, { isExpected: isProtected, signal });
  if (gpt && (isProtected || mbr === undefined || mbr.entries.length === 0)) {
    return await besideMbr(gpt, mbr, device.size);
  }
  if (mbr === undefined || (direct.length > 0 && !isPlausible(mbr, device.size)))
    return withoutTable(device.size, direct);
  const table = await readMbrPartitions(device, mbr, signal);
  if (!gpt) return table;
  const note = 'there is a GPT, too, but the boot record has partitions of its own and does not point to it';
  return { ...table, intact: false, notes: [...table.notes, note] };
}

/** A file system's boot sector ends like a boot record and has code or text where that has its entries. */
function isPlausible({ entries }: Mbr, size: number): boolean {
  const fits = entries.every(
    ({ firstSector, sectors }) => firstSector > 0 && (firstSector + sectors) * 512 <= size,
  );
  return entries.length > 0 && fits;
}

async function readMbr(device: BlockDevice, signal?: AbortSignal): Promise<Mbr | undefined> {
  if (device.size < mbrBytes) return undefined;
  const sector = new Uint8Array(mbrBytes);
  await device.read(0, sector, signal);
  try {
    return parseMbr(sector);
  } catch (error) {
    if (error instanceof FormatError) return undefined; // a boot sector of something else, or nothing
    throw error;
  }
}

/** What the boot record adds to a GPT: nothing, when it only protects it. */
async function besideMbr(gpt: PartitionTable, mbr: Mbr | undefined, size: number): Promise<PartitionTable> {
  const notes = [...gpt.notes];
  let { intact } = gpt;
  if (mbr === undefined || mbr.entries.length === 0) {
    notes.push('the GPT has no protective boot record: some systems will not see it');
    intact = false;
  }
  const others = (mbr?.entries ?? []).filter(({ type }) => type !== gptProtective);
  for (const { slot, firstSector, sectors } of others) {
    const range = { offset: firstSector * gpt.sectorSize, length: sectors * gpt.sectorSize };
    const twin = gpt.partitions.find(
      ({ offset, length }) => offset === range.offset && length === range.length,
    );
    const is = twin ? `partition ${twin.index}` : 'none of the GPT';
    notes.push(`hybrid: entry ${slot + 1} of the boot record is ${is}`);
    if (!twin || range.offset + range.length > size) intact = false;
  }
  return { ...gpt, notes, intact };
}

function withoutTable(size: number, direct: readonly FileSystemInfo[]): PartitionTable {
  const whole: Partition = {
    index: 0,
    offset: 0,
    length: size,
    typeId: '',
    typeName: 'whole disk',
    bootable: false,
    ...contentOf(direct),
  };
  return {
    kind: 'none',
    sectorSize: 512,
    partitions: direct.length > 0 ? [whole] : [],
    notes: direct.length > 1 ? [ambiguous('the disk', direct)] : [],
    intact: true,
  };
}

function contentOf([fileSystem, ...others]: readonly FileSystemInfo[]): Partial<Partition> {
  if (!fileSystem) return {};
  return { fileSystem, ...(others.length > 0 && { alsoShows: others.map(({ kind }) => kind) }) };
}

async function signaturesIn(
  device: BlockDevice,
  part: Range,
  signal?: AbortSignal,
): Promise<FileSystemInfo[]> {
  return findSignatures(await readWindows(device, part, signal), part.length);
}

async function readWindows(device: BlockDevice, part: Range, signal?: AbortSignal): Promise<Window[]> {
  const windows: Window[] = [];
  for (const { offset, length } of signatureRanges(part.length)) {
    const bytes = Buffer.alloc(length);
    await device.read(part.offset + offset, bytes, signal);
    windows.push({ offset, bytes });
  }
  return windows;
}

function ambiguous(where: string, found: readonly FileSystemInfo[]): string {
  return `${where} shows more than one thing: ${found.map(({ kind }) => kind).join(', ')}; the first is assumed`;
}

function overlaps(partitions: readonly Partition[]): string[] {
  const notes: string[] = [];
  let reach: Partition | undefined;
  for (const partition of partitions) {
    if (reach && partition.offset < reach.offset + reach.length) {
      notes.push(`partitions ${reach.index} and ${partition.index} overlap`);
    }
    const end = partition.offset + partition.length;
    if (!reach || end > reach.offset + reach.length) reach = partition;
  }
  return notes;
}

function outside(partitions: readonly Partition[], size: number): string[] {
  return partitions
    .filter(({ offset, length }) => offset + length > size)
    .map(({ index, offset, length }) => `partition ${index} ends at ${offset + length}, the disk at ${size}`);
}
