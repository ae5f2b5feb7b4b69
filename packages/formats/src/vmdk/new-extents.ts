/** Writing the empty extents of new disks: header, directories and tables of hosted sparse and COWD files. */
import { alignUp, MiB } from '@prima/base';
import { type CowdHeader, cowdTableCount, cowdTableEntries, writeCowdHeader } from './cowd-header.ts';
import type { WritableDiskFile } from './disk-file.ts';
import { HostedFlags, type HostedHeader, sectorBytes, writeHostedHeader } from './hosted-header.ts';

/** Sectors set aside for the descriptor, as VMware and QEMU do it. */
const descriptorSectors = 20;
const entriesPerTable = 512;
const tableSectors = (entriesPerTable * 4) / sectorBytes;

export interface NewHostedExtent {
  /** Sectors. */
  capacity: number;
  grainSize: number;
  /** Writes version 2, in which zeros over a parent's data take no space. */
  zeroedGrains: boolean;
}

/**
 * Where everything is: header, descriptor, the redundant directory and its tables, the directory and its tables, then
 * grains. All tables are there from the beginning, as everybody expects who reads such files.
 */
export function hostedLayout({ capacity, grainSize, zeroedGrains }: NewHostedExtent): HostedHeader {
  const tables = Math.ceil(capacity / (grainSize * entriesPerTable));
  const directorySectors = Math.ceil((tables * 4) / sectorBytes);
  const rgdOffset = 1 + descriptorSectors;
  const gdOffset = rgdOffset + directorySectors + tables * tableSectors;
  const flags = HostedFlags.validNewLine | HostedFlags.redundantTables;
  return {
    version: zeroedGrains ? 2 : 1,
    flags: zeroedGrains ? flags | HostedFlags.zeroedGrains : flags,
    capacity,
    grainSize,
    descriptorOffset: 1,
    descriptorSize: descriptorSectors,
    numGTEsPerGT: entriesPerTable,
    rgdOffset,
    gdOffset,
    overHead: alignUp(gdOffset + directorySectors + tables * tableSectors, grainSize),
    uncleanShutdown: false,
    compressAlgorithm: 0,
  };
}

/** Fills an empty file. */
export async function writeHostedExtent(
  file: WritableDiskFile,
  extent: NewHostedExtent,
  descriptor: Uint8Array = new Uint8Array(),
): Promise<void> {
  const header = hostedLayout(extent);
  const tables = Math.ceil(header.capacity / (header.grainSize * entriesPerTable));
  const directorySectors = Math.ceil((tables * 4) / sectorBytes);
  await file.resize(header.overHead * sectorBytes);
  await file.write(0, writeHostedHeader(header));
  await file.write(header.descriptorOffset * sectorBytes, descriptor);
  for (const sector of [header.rgdOffset, header.gdOffset ?? 0]) {
    await writeDirectory(file, { sector, tables, firstTable: sector + directorySectors, tableSectors });
  }
}

interface NewDirectory {
  sector: number;
  tables: number;
  /** Sector of the first table; the others follow. */
  firstTable: number;
  tableSectors: number;
}

async function writeDirectory(
  file: WritableDiskFile,
  { sector, tables, firstTable, tableSectors: step }: NewDirectory,
): Promise<void> {
  const perPiece = MiB / 4;
  for (let first = 0; first < tables; first += perPiece) {
    const piece = Buffer.alloc(Math.min(perPiece, tables - first) * 4);
    for (let entry = 0; entry < piece.length / 4; entry += 1) {
      piece.writeUInt32LE(firstTable + (first + entry) * step, entry * 4);
    }
    await file.write(sector * sectorBytes + first * 4, piece);
  }
}

/** The most that fits into the header's 20 sectors. */
export const embeddedDescriptorLimit = descriptorSectors * sectorBytes;

export interface NewCowdExtent {
  /** Sectors of the disk, below 2^32. */
  numSectors: number;
  /** Default 1 sector, as ESX does it. */
  grainSize?: number;
  parent?: CowdHeader['parent'];
  geometry?: CowdHeader['geometry'];
  generation?: number;
  name?: string;
  description?: string;
}

const cowdTableSectors = (cowdTableEntries * 4) / sectorBytes;

/**
 * Fills an empty file with an empty delta: what a redo log is at its beginning. All tables are there, as a hole of the file:
 * where one is missing, QEMU 7.2 writes its entries over the header.
 */
export async function writeCowdExtent(file: WritableDiskFile, extent: NewCowdExtent): Promise<void> {
  const { numSectors, grainSize = 1 } = extent;
  const gdOffset = 4;
  const numGDEntries = cowdTableCount(numSectors, grainSize);
  const firstTable = gdOffset + Math.ceil((numGDEntries * 4) / sectorBytes);
  const freeSector = firstTable + numGDEntries * cowdTableSectors;
  const header = writeCowdHeader({
    flags: 3,
    numSectors,
    grainSize,
    gdOffset,
    numGDEntries,
    freeSector,
    geometry: extent.geometry,
    parent: extent.parent,
    generation: extent.generation ?? 0,
    name: extent.name ?? '',
    description: extent.description ?? '',
    savedGeneration: extent.generation ?? 0,
    uncleanShutdown: false,
  });
  await file.resize(freeSector * sectorBytes);
  await file.write(0, header);
  await writeDirectory(file, {
    sector: gdOffset,
    tables: numGDEntries,
    firstTable,
    tableSectors: cowdTableSectors,
  });
}
