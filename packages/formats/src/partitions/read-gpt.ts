/** A GPT with both its copies; the second is used where the first is damaged. */
import { FormatError } from '@prima/base';
import type { BlockDevice } from '@prima/block';
import { type GptEntry, type GptHeader, parseGptEntries, parseGptHeader } from './gpt.ts';
import type { Partition, PartitionTable } from './partition-table.ts';
import { gptTypeName } from './type-names.ts';

interface Copy {
  header: GptHeader;
  entries: GptEntry[];
}

/** What is wrong with a copy; `isThere`: it has the magic, so that it is a GPT all the same. */
interface Damage {
  what: string;
  isThere: boolean;
}

export interface ReadGptOptions {
  /** The boot record says that there is one: its absence is damage. */
  isExpected: boolean;
  signal?: AbortSignal;
}

/** Undefined when there is no sign of one. */
export async function readGpt(
  device: BlockDevice,
  options: ReadGptOptions,
): Promise<PartitionTable | undefined> {
  const damages: string[] = [];
  let isThere = options.isExpected;
  for (const sectorSize of [512, 4096]) {
    const primary = await readCopy(device, { sectorSize, at: 1, signal: options.signal });
    if ('header' in primary)
      return await withPrimary(device, primary, { sectorSize, signal: options.signal });
    isThere ||= primary.isThere;
    if (primary.isThere) damages.push(primary.what);
  }
  if (!isThere) return undefined;
  const why = damages[0] ?? 'it is not there';
  for (const sectorSize of [512, 4096]) {
    const at = Math.floor(device.size / sectorSize) - 1;
    const backup = await readCopy(device, { sectorSize, at, signal: options.signal });
    if (!('header' in backup)) continue;
    const table = tableFrom(backup, sectorSize);
    const note = `the primary GPT is damaged (${why}); the backup at the disk's end was used`;
    return { ...table, notes: [note, ...table.notes], intact: false };
  }
  const note = `both copies of the GPT are damaged (${why}): the partitions are not known`;
  return { kind: 'gpt', sectorSize: 512, partitions: [], notes: [note], intact: false };
}

async function withPrimary(
  device: BlockDevice,
  primary: Copy,
  { sectorSize, signal }: { sectorSize: number; signal?: AbortSignal },
): Promise<PartitionTable> {
  const table = tableFrom(primary, sectorSize);
  const { otherSector, entriesCrc } = primary.header;
  const backup = await readCopy(device, { sectorSize, at: otherSector, signal });
  if (!('header' in backup)) {
    return { ...table, intact: false, notes: [...table.notes, `the backup GPT is damaged: ${backup.what}`] };
  }
  const { diskId, entriesCrc: otherCrc } = backup.header;
  if (diskId !== primary.header.diskId || otherCrc !== entriesCrc) {
    return { ...table, intact: false, notes: [...table.notes, 'the two copies of the GPT differ'] };
  }
  if ((otherSector + 1) * sectorSize === device.size) return table;
  return { ...table, notes: [...table.notes, `the backup GPT is not at the disk's end: the disk has grown`] };
}

async function readCopy(
  device: BlockDevice,
  { sectorSize, at, signal }: { sectorSize: number; at: number; signal?: AbortSignal },
): Promise<Copy | Damage> {
  if (at < 1 || (at + 1) * sectorSize > device.size) {
    return { what: `sector ${at} is not on the disk`, isThere: false };
  }
  const sector = Buffer.alloc(sectorSize);
  await device.read(at * sectorSize, sector, signal);
  const isThere = sector.toString('latin1', 0, 8) === 'EFI PART';
  if (!isThere) return { what: 'it is not there', isThere };
  try {
    const header = parseGptHeader(sector, at);
    const { entriesSector, entryCount, entryBytes } = header;
    const place = { offset: entriesSector * sectorSize, length: entryCount * entryBytes };
    if (place.offset + place.length > device.size) {
      return { what: `its entries at sector ${entriesSector} are not on the disk`, isThere };
    }
    const entries = Buffer.alloc(place.length);
    await device.read(place.offset, entries, signal);
    return { header, entries: parseGptEntries(entries, header) };
  } catch (error) {
    if (error instanceof FormatError) return { what: error.message, isThere };
    throw error;
  }
}

function tableFrom({ header, entries }: Copy, sectorSize: number): PartitionTable {
  const notes: string[] = [];
  const partitions: Partition[] = [];
  for (const { index, type, uuid, firstSector, lastSector, attributes, name } of entries) {
    if (lastSector < firstSector || firstSector < header.firstUsable || lastSector > header.lastUsable) {
      notes.push(
        `partition ${index}, sectors ${firstSector} to ${lastSector}, is outside the usable sectors`,
      );
      if (lastSector < firstSector) continue;
    }
    partitions.push({
      index,
      offset: firstSector * sectorSize,
      length: (lastSector - firstSector + 1) * sectorSize,
      typeId: type,
      typeName: gptTypeName(type),
      ...(name !== '' && { name }),
      uuid,
      bootable: (attributes & 4n) !== 0n,
    });
  }
  return { kind: 'gpt', sectorSize, diskId: header.diskId, partitions, notes, intact: notes.length === 0 };
}
