/** Opening a hosted sparse extent (hosted-header.ts): as it is read, decompressed or written. */
import { FormatError, PrimaError } from '@prima/base';
import { CompressedLayer } from './compressed-layer.ts';
import { descriptorLimitBytes } from './descriptor.ts';
import { type DiskFile, isWritableFile, type WritableDiskFile } from './disk-file.ts';
import {
  HostedFlags,
  type HostedHeader,
  hostedHeaderBytes,
  isHostedHeader,
  parseHostedHeader,
  sectorBytes,
} from './hosted-header.ts';
import type { Layer } from './layer.ts';
import { readUpTo } from './read-file.ts';
import { SparseLayer } from './sparse-layer.ts';
import { SparseTables, type TableLayout } from './sparse-tables.ts';
import { WritableSparseLayer } from './writable-sparse-layer.ts';
import { WritableTables } from './writable-tables.ts';

export interface ExtentOptions {
  /** What the descriptor says; default: what the header says. */
  sectors?: number;
  note: (text: string) => void;
}

/** The header, and for a stream that ends with one the footer's in its place. */
export async function readHostedHeader(file: DiskFile, note: (text: string) => void): Promise<HostedHeader> {
  const header = parseHostedHeader(await readUpTo(file, 0, hostedHeaderBytes), file.name);
  return header.gdOffset === undefined ? readFooter(file, note) : header;
}

/** How far from the end of the file a footer is looked for; some copies leave a little behind it. */
const footerSearchSectors = 128;
const footerMarkerType = 3;

/** The footer is the sector behind its marker, which is the last but two; QEMU and others look only there. */
async function readFooter(file: DiskFile, note: (text: string) => void): Promise<HostedHeader> {
  const sectors = Math.floor(file.size / sectorBytes);
  const first = Math.max(1, sectors - footerSearchSectors);
  const tail = await readUpTo(file, first * sectorBytes, (sectors - first) * sectorBytes);
  for (let at = tail.length - 2 * sectorBytes; at >= 0; at -= sectorBytes) {
    const isMarker = tail.readUInt32LE(at + 8) === 0 && tail.readUInt32LE(at + 12) === footerMarkerType;
    const copy = tail.subarray(at + sectorBytes, at + 2 * sectorBytes);
    if (!isMarker || !isHostedHeader(copy)) continue;
    const position = (first + 1) * sectorBytes + at;
    const footer = parseHostedHeader(copy, file.name, position);
    if (footer.gdOffset === undefined) continue;
    if (position !== file.size - 2 * sectorBytes)
      note(`${file.name}: there is something behind the end of the stream`);
    return footer;
  }
  throw new FormatError(
    `${file.name}: it is a stream whose tables are at its end, but the footer that names them is missing: it is cut off`,
    { details: { path: file.name, offset: Math.max(0, file.size - 3 * sectorBytes) } },
  );
}

/** Raises `format`, and `unsupported` for a compressed one that is to be written. */
export async function openHostedExtent(file: DiskFile, options: ExtentOptions): Promise<Layer> {
  const header = await readHostedHeader(file, options.note);
  const { capacity, grainSize, flags } = header;
  const { sectors = capacity, note } = options;
  if (sectors > capacity) {
    throw new FormatError(
      `${file.name}: its descriptor gives it ${sectors} sectors, its header ${capacity} (offset 12)`,
      { details: { path: file.name, offset: 12 } },
    );
  }
  if (header.uncleanShutdown) note(`${file.name}: it was not closed by who wrote it last`);
  const { lost, ...tableLayout } = hostedTableLayout(header, file);
  const layout = { ...tableLayout, note };
  if (lost !== undefined && isWritableFile(file)) throw damagedDirectory(file.name, lost);
  if (lost !== undefined) note(`${file.name}: ${lost}; the other one is used; have it repaired`);
  const facts = {
    size: sectors * sectorBytes,
    grainBytes: grainSize * sectorBytes,
    zeroEntries: (flags & HostedFlags.zeroedGrains) !== 0,
  };
  if ((flags & HostedFlags.compressed) !== 0) {
    if (isWritableFile(file)) throw notWritable(file.name);
    const markers = (flags & HostedFlags.markers) !== 0;
    return new CompressedLayer({ ...facts, file, tables: new SparseTables({ ...layout, file }), markers });
  }
  if (!isWritableFile(file)) {
    return new SparseLayer({ ...facts, file, tables: new SparseTables({ ...layout, file }) });
  }
  return new WritableSparseLayer({
    ...facts,
    file,
    tables: new WritableTables({ ...layout, file }),
    dataStart: hostedDataStart(header, layout.directories),
    freeStart: 0,
    setUnclean: (unclean) => setUnclean(file, unclean),
  });
}

export const hostedUncleanOffset = 72;

async function setUnclean(file: WritableDiskFile, unclean: boolean): Promise<void> {
  await file.write(hostedUncleanOffset, Uint8Array.of(unclean ? 1 : 0));
  if (unclean) await file.flush();
}

export interface HostedLayout extends Omit<TableLayout, 'file' | 'note'> {
  /** Why the second directory, or the first, is not one of `directories`. */
  lost?: string;
}

/** More would be 256 TiB where grains and tables have their usual sizes; what is kept of each has to fit into memory. */
const tableLimit = 8 * 1024 * 1024;

/** The directories that lie in the file, the one to go by first. Raises `format` when there is none. */
export function hostedTableLayout(header: HostedHeader, file: DiskFile): HostedLayout {
  const { gdOffset = 0, rgdOffset, flags, numGTEsPerGT: entriesPerTable } = header;
  const tableCount = tableCountOf(header);
  const broken = (what: string, offset: number) =>
    new FormatError(`${file.name}: ${what} (offset ${offset})`, { details: { path: file.name, offset } });
  if (tableCount > tableLimit) {
    throw broken(
      `it would have ${tableCount} grain tables of ${entriesPerTable} grains, ${tableLimit} are the most`,
      12,
    );
  }
  const redundant = (flags & HostedFlags.redundantTables) !== 0 && rgdOffset !== 0 && rgdOffset !== gdOffset;
  const bytes = tableCount * 4;
  const fits = (sector: number) => sector > 0 && sector * sectorBytes + bytes <= file.size;
  const named = redundant ? [gdOffset, rgdOffset] : [gdOffset];
  const directories = named.filter(fits);
  if (directories.length === 0) {
    throw broken(
      `its grain directory of ${bytes} bytes is said to be at sector ${gdOffset}, and the file has ${file.size} ` +
        'bytes; it is cut off or damaged',
      56,
    );
  }
  const gone = named.findIndex((sector) => !fits(sector));
  const lost =
    gone === -1
      ? undefined
      : `the header says that grain directory ${gone + 1} is at sector ${named[gone]}, outside of the file`;
  return { directories, entriesPerTable, tableCount, ...(lost === undefined ? {} : { lost }) };
}

function tableCountOf({ capacity, grainSize, numGTEsPerGT }: HostedHeader): number {
  return Math.ceil(capacity / (grainSize * numGTEsPerGT));
}

/** Makes the directory at `sector` the only one that the header knows. */
export async function keepOneDirectory(file: WritableDiskFile, sector: number): Promise<void> {
  const head = await readUpTo(file, 0, hostedHeaderBytes);
  head.writeUInt32LE((head.readUInt32LE(8) & ~HostedFlags.redundantTables) >>> 0, 8);
  head.writeBigUInt64LE(0n, 48);
  head.writeBigUInt64LE(BigInt(sector), 56);
  await file.write(0, head);
  await file.flush();
}

/** Where grains may be, bytes. */
export function hostedDataStart(header: HostedHeader, directories: readonly number[]): number {
  const { descriptorOffset, descriptorSize, overHead } = header;
  const directorySectors = Math.ceil((tableCountOf(header) * 4) / sectorBytes);
  const ends = directories.map((sector) => sector + directorySectors);
  return Math.max(1, overHead, descriptorOffset + descriptorSize, ...ends) * sectorBytes;
}

function damagedDirectory(name: string, lost: string): FormatError {
  return new FormatError(`${name}: ${lost}; it can be read, to be written it has to be repaired first`, {
    details: { path: name, offset: 48 },
  });
}

function notWritable(name: string): PrimaError {
  return new PrimaError(
    'unsupported',
    `${name} is streamOptimized (compressed), which is written once from front to end; convert it to write to it`,
    { details: { path: name } },
  );
}

/** The embedded descriptor's bytes, up to their end; undefined when there is none, or nothing but zeros. */
export async function readEmbeddedDescriptor(file: DiskFile): Promise<Buffer | undefined> {
  const header = parseHostedHeader(await readUpTo(file, 0, hostedHeaderBytes), file.name);
  const { descriptorOffset, descriptorSize } = header;
  if (descriptorOffset === 0 || descriptorSize === 0) return undefined;
  const length = descriptorSize * sectorBytes;
  const at = descriptorOffset * sectorBytes;
  if (length > descriptorLimitBytes || at + length > file.size) {
    throw new FormatError(
      `${file.name}: its descriptor of ${length} bytes at ${at} does not fit (offset 28)`,
      {
        details: { path: file.name, offset: 28 },
      },
    );
  }
  const bytes = await readUpTo(file, at, length);
  return bytes[0] === 0 ? undefined : bytes;
}
