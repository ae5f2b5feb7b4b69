/** The partitions of an MBR, with the chain of extended boot records. */
import { FormatError } from '@prima/base';
import type { BlockDevice } from '@prima/block';
import { isExtended, type Mbr, mbrBytes, type MbrEntry, mbrTypeId, parseMbr } from './mbr.ts';
import type { Partition, PartitionTable } from './partition-table.ts';
import { mbrTypeName } from './type-names.ts';

/** An MBR counts in sectors of 512 bytes, whatever the disk's own are. */
const sectorSize = 512;
/** More than any system makes; also ends a chain that never does. */
const mostLogical = 256;

export async function readMbrPartitions(
  device: BlockDevice,
  mbr: Mbr,
  signal?: AbortSignal,
): Promise<PartitionTable> {
  const table: PartitionTable = {
    kind: 'mbr',
    sectorSize,
    ...(mbr.diskId !== undefined && { diskId: mbr.diskId }),
    partitions: [],
    notes: [],
    intact: true,
  };
  for (const entry of mbr.entries) {
    if (isExtended(entry.type)) await readLogical(device, entry, { table, signal });
    else table.partitions.push(partition(entry, { index: entry.slot + 1, base: 0 }));
  }
  return table;
}

function partition(entry: MbrEntry, { index, base }: { index: number; base: number }): Partition {
  return {
    index,
    offset: (base + entry.firstSector) * sectorSize,
    length: entry.sectors * sectorSize,
    typeId: mbrTypeId(entry.type),
    typeName: mbrTypeName(entry.type),
    bootable: entry.status === 0x80,
  };
}

/** Follows the chain inside `extended`; what breaks it is a note, and ends it. */
async function readLogical(
  device: BlockDevice,
  extended: MbrEntry,
  { table, signal }: { table: PartitionTable; signal?: AbortSignal },
): Promise<void> {
  const broken = (what: string) => {
    table.notes.push(`the chain of logical partitions is broken after ${logical} of them: ${what}`);
    table.intact = false;
  };
  const end = extended.firstSector + extended.sectors;
  const seen = new Set<number>();
  let logical = 0;
  for (let at: number | undefined = extended.firstSector; at !== undefined; ) {
    if (seen.has(at)) return broken(`it comes back to sector ${at}`);
    if (seen.size === mostLogical) return broken(`more than ${mostLogical} records`);
    if (at < extended.firstSector || at >= end || (at + 1) * sectorSize > device.size) {
      return broken(`sector ${at} is not in the extended partition`);
    }
    seen.add(at);
    const record = await readRecord(device, at, signal);
    if (typeof record === 'string') return broken(record);
    const own = record.entries.find(({ slot, type }) => slot === 0 && !isExtended(type));
    if (own) {
      const found = partition(own, { index: 5 + logical, base: at });
      table.partitions.push(found);
      logical += 1;
      if (found.offset + found.length > end * sectorSize) broken(`partition ${found.index} stands out`);
    }
    const next = record.entries.find(({ slot, type }) => slot === 1 && isExtended(type));
    at = next && extended.firstSector + next.firstSector;
  }
}

async function readRecord(device: BlockDevice, sector: number, signal?: AbortSignal): Promise<Mbr | string> {
  const bytes = new Uint8Array(mbrBytes);
  await device.read(sector * sectorSize, bytes, signal);
  try {
    return parseMbr(bytes);
  } catch (error) {
    if (error instanceof FormatError) return `sector ${sector}: ${error.message}`;
    throw error;
  }
}
