/** Opening the sparse extents of ESX: COWD (cowd-header.ts), read and written, and seSparse (se-sparse.ts), read. */
import { FormatError, PrimaError } from '@prima/base';
import {
  type CowdHeader,
  cowdFreeSectorOffset,
  cowdHeaderBytes,
  cowdTableCount,
  cowdTableEntries,
  cowdUncleanOffset,
  parseCowdHeader,
} from './cowd-header.ts';
import { type DiskFile, isWritableFile, type WritableDiskFile } from './disk-file.ts';
import type { ExtentOptions } from './hosted-extent.ts';
import { sectorBytes } from './hosted-header.ts';
import type { Layer } from './layer.ts';
import { readUpTo } from './read-file.ts';
import { checkVolatileHeader, parseSeSparseHeader, SeSparseTables } from './se-sparse.ts';
import { SparseLayer } from './sparse-layer.ts';
import { SparseTables, type TableLayout } from './sparse-tables.ts';
import { WritableSparseLayer } from './writable-sparse-layer.ts';
import { WritableTables } from './writable-tables.ts';

export async function readCowdHeader(file: DiskFile): Promise<CowdHeader> {
  return parseCowdHeader(await readUpTo(file, 0, cowdHeaderBytes), file.name);
}

/** Where grains and tables may be, bytes. */
export function cowdDataStart({ gdOffset, numGDEntries }: CowdHeader): number {
  return (gdOffset + Math.ceil((numGDEntries * 4) / sectorBytes)) * sectorBytes;
}

/** Raises `format` when the directory does not lie in the file. */
export function cowdTableLayout(header: CowdHeader, file: DiskFile): Omit<TableLayout, 'file' | 'note'> {
  const { numSectors, grainSize, gdOffset } = header;
  if (cowdDataStart(header) > file.size) {
    throw new FormatError(`${file.name}: the file ends before its grain directory does (offset 20)`, {
      details: { path: file.name, offset: 20 },
    });
  }
  return {
    directories: [gdOffset],
    entriesPerTable: cowdTableEntries,
    tableCount: cowdTableCount(numSectors, grainSize),
  };
}

/** Raises `format`. */
export async function openCowdExtent(file: DiskFile, options: ExtentOptions): Promise<Layer> {
  const header = await readCowdHeader(file);
  const { numSectors, grainSize, freeSector } = header;
  const { sectors = numSectors, note } = options;
  const broken = (what: string, offset: number) =>
    new FormatError(`${file.name}: ${what} (offset ${offset})`, { details: { path: file.name, offset } });
  if (sectors > numSectors) {
    throw broken(`its descriptor gives it ${sectors} sectors, its header ${numSectors}`, 12);
  }
  if (header.uncleanShutdown) note(`${file.name}: it was not closed by who wrote it last`);
  const layout = { ...cowdTableLayout(header, file), note };
  const facts = { size: sectors * sectorBytes, grainBytes: grainSize * sectorBytes, zeroEntries: false };
  if (!isWritableFile(file)) {
    return new SparseLayer({
      ...facts,
      file,
      tables: new SparseTables({ ...layout, file, skipHoles: true }),
    });
  }
  return new WritableSparseLayer({
    ...facts,
    file,
    tables: new WritableTables({ ...layout, file }),
    dataStart: cowdDataStart(header),
    freeStart: freeSector * sectorBytes,
    setUnclean: async (unclean) => {
      await writeWord(file, cowdUncleanOffset, unclean ? 1 : 0);
      if (unclean) await file.flush();
    },
    setFree: (sector) => writeWord(file, cowdFreeSectorOffset, sector),
  });
}

async function writeWord(file: WritableDiskFile, offset: number, value: number): Promise<void> {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  await file.write(offset, bytes);
}

/** Raises `format`, `state` when changes are pending in its journal, `unsupported` when it is to be written. */
export async function openSeSparseExtent(file: DiskFile, options: ExtentOptions): Promise<SparseLayer> {
  if (isWritableFile(file)) {
    throw new PrimaError(
      'unsupported',
      `${file.name} is seSparse, which Prima only reads; convert it to write to it`,
    );
  }
  const header = parseSeSparseHeader(await readUpTo(file, 0, sectorBytes), file.name);
  const { sectors = header.capacity } = options;
  const broken = (what: string, offset: number) =>
    new FormatError(`${file.name}: ${what} (offset ${offset})`, { details: { path: file.name, offset } });
  if (sectors > header.capacity) {
    throw broken(`its descriptor gives it ${sectors} sectors, its header ${header.capacity}`, 16);
  }
  const at = header.volatileOffset * sectorBytes;
  if (at + sectorBytes > file.size) throw broken('the volatile header lies beyond the end of the file', 80);
  checkVolatileHeader(await readUpTo(file, at, sectorBytes), file.name, at);
  return new SparseLayer({
    file,
    size: sectors * sectorBytes,
    grainBytes: header.grainSize * sectorBytes,
    tables: new SeSparseTables(file, header),
    zeroEntries: true,
  });
}
