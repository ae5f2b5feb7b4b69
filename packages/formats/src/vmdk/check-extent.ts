/** Checks one extent in its open file, and repairs it where the file is open for writing. */
import { alignUp } from '@prima/base';
import { checkSparse, type SparseChecked } from './check-sparse.ts';
import { cowdFreeSectorOffset, cowdUncleanOffset } from './cowd-header.ts';
import { type DiskFile, isWritableFile, readOnlyFile, type WritableDiskFile } from './disk-file.ts';
import { cowdDataStart, cowdTableLayout, openSeSparseExtent, readCowdHeader } from './esx-extents.ts';
import type { Findings } from './findings.ts';
import {
  hostedDataStart,
  hostedTableLayout,
  hostedUncleanOffset,
  readHostedHeader,
} from './hosted-extent.ts';
import { HostedFlags, sectorBytes } from './hosted-header.ts';
import { SparseTables, type TableLayout } from './sparse-tables.ts';

export interface CheckedExtent {
  format: string;
  /** What the descriptor says; undefined where there is none. */
  sectors: number | undefined;
  offset: number;
}

export interface ExtentCheckContext {
  findings: Findings;
  repairs: string[];
  signal?: AbortSignal;
}

export async function checkExtent(
  file: DiskFile,
  extent: CheckedExtent,
  context: ExtentCheckContext,
): Promise<void> {
  switch (extent.format) {
    case 'hosted':
      return checkHosted(file, extent, context);
    case 'cowd':
      return checkCowd(file, extent, context);
    case 'seSparse':
      return checkSeSparse(file, extent, context);
    default:
      return checkFlat(file, extent, context);
  }
}

async function checkFlat(
  file: DiskFile,
  { sectors = 0, offset }: CheckedExtent,
  { findings }: ExtentCheckContext,
) {
  const end = (offset + sectors) * sectorBytes;
  if (end > file.size) {
    const text = `the descriptor wants it up to byte ${end}, but it has ${file.size}; it is cut off`;
    findings.add('extent-short', file.name, text, file.size);
  }
}

/** The parts of a header that are checked alike. */
interface Subject {
  extent: CheckedExtent;
  /** Sectors, as the header says. */
  capacity: number;
  capacityOffset: number;
  layout: TableLayout;
  grainBytes: number;
  zeroEntries: boolean;
  dataStart: number;
  compressed: boolean;
  unclean: boolean;
  setUnclean: (file: WritableDiskFile) => Promise<void>;
  free?: { sector: number; offset: number };
}

async function checkHosted(
  file: DiskFile,
  extent: CheckedExtent,
  context: ExtentCheckContext,
): Promise<void> {
  const note = (text: string) => context.findings.add('noted', file.name, text);
  const header = await readHostedHeader(file, note);
  const { capacity, grainSize, flags } = header;
  const compressed = (flags & HostedFlags.compressed) !== 0;
  await checkTables(file, context, {
    extent,
    capacity,
    capacityOffset: 12,
    layout: { ...hostedTableLayout(header, file, note), file },
    grainBytes: grainSize * sectorBytes,
    zeroEntries: (flags & HostedFlags.zeroedGrains) !== 0,
    // a stream may have its tables behind its grains
    dataStart: compressed ? sectorBytes : hostedDataStart(header),
    compressed,
    unclean: header.uncleanShutdown,
    setUnclean: (writable) => writable.write(hostedUncleanOffset, Uint8Array.of(0)),
  });
}

async function checkCowd(file: DiskFile, extent: CheckedExtent, context: ExtentCheckContext): Promise<void> {
  const note = (text: string) => context.findings.add('noted', file.name, text);
  const header = await readCowdHeader(file);
  const { numSectors, grainSize, freeSector } = header;
  await checkTables(file, context, {
    extent,
    capacity: numSectors,
    capacityOffset: 12,
    layout: { ...cowdTableLayout(header, file, note), file },
    grainBytes: grainSize * sectorBytes,
    zeroEntries: false,
    dataStart: cowdDataStart(header),
    compressed: false,
    unclean: header.uncleanShutdown,
    setUnclean: (writable) => writable.write(cowdUncleanOffset, Buffer.alloc(4)),
    free: { sector: freeSector, offset: cowdFreeSectorOffset },
  });
}

async function checkTables(file: DiskFile, context: ExtentCheckContext, subject: Subject): Promise<void> {
  const { findings, signal } = context;
  const { extent, capacity, layout, unclean, free, grainBytes, zeroEntries, dataStart, compressed } = subject;
  const { sectors = capacity } = extent;
  if (sectors !== capacity) {
    const text = `the descriptor gives it ${sectors} sectors, its header ${capacity}`;
    findings.add('capacity-differs', file.name, text, subject.capacityOffset);
  }
  if (unclean) findings.add('unclean', file.name, 'it was not closed by who wrote it last');
  const tables = new SparseTables(layout);
  const size = capacity * sectorBytes;
  const { tableCount } = layout;
  const options = { grainBytes, zeroEntries, dataStart, compressed, size, tableCount };
  const checked = await checkSparse({ file, tables, findings, signal, ...options });
  const end = alignUp(checked.usedEnd, sectorBytes);
  if (free && free.sector * sectorBytes < end) {
    const text = `freeSector is ${free.sector}, though grains reach to sector ${end / sectorBytes}`;
    findings.add('free-sector-wrong', file.name, text, free.offset);
  }
  if (isWritableFile(file)) await repair(file, { ...context, ...subject, tables, checked, end });
}

interface Repair extends ExtentCheckContext, Subject {
  tables: SparseTables;
  checked: SparseChecked;
  end: number;
}

async function repair(file: WritableDiskFile, task: Repair): Promise<void> {
  const { findings, repairs, checked, end, unclean, free, setUnclean, compressed } = task;
  const did = (text: string) => void repairs.push(`${file.name}: ${text}`);
  if (checked.cutGrainEnd > file.size) {
    did(
      `grew from ${file.size} to ${checked.cutGrainEnd} bytes; what was cut off its last grain reads as zeros`,
    );
    await file.resize(checked.cutGrainEnd);
  }
  for (const index of checked.unequalTables) await repairTable(file, index, task);
  if (checked.unequalTables.length > 0)
    did(`made the copies of ${checked.unequalTables.length} grain tables equal`);
  // what belongs to nothing may be what broken tables do not name any more
  const whole = !findings.hasErrors(file.name);
  if (whole && !compressed && file.size > end && checked.unequalTables.length === 0) {
    did(`cut off ${file.size - end} bytes at its end that belong to nothing`);
    await file.resize(end);
  }
  await file.flush();
  if (free && free.sector * sectorBytes < end) {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(end / sectorBytes);
    await file.write(free.offset, bytes);
    did(`set freeSector from ${free.sector} to ${end / sectorBytes}`);
  }
  if (unclean && whole) {
    await setUnclean(file);
    did('cleared the mark of an unclean shutdown');
  }
  await file.flush();
}

/** Makes all copies of a table what is read; one that is nowhere gets a place at the end. */
async function repairTable(file: WritableDiskFile, index: number, { tables }: Repair): Promise<void> {
  const table = await tables.table(index);
  if (table === undefined) return;
  const bytes = tables.bytesOf(table);
  const places = await tables.placesOf(index);
  for (const [which, sector] of places.entries()) {
    if (tables.isTable(sector)) {
      await file.write(sector * sectorBytes, bytes);
      continue;
    }
    const at = alignUp(file.size, sectorBytes);
    await file.write(at, bytes);
    await file.flush();
    const entry = Buffer.alloc(4);
    entry.writeUInt32LE(at / sectorBytes);
    await file.write(tables.directoryOffset(which, index), entry);
  }
}

async function checkSeSparse(
  file: DiskFile,
  { sectors }: CheckedExtent,
  context: ExtentCheckContext,
): Promise<void> {
  const { findings, signal } = context;
  const note = (text: string) => findings.add('noted', file.name, text);
  const layer = await openSeSparseExtent(readOnlyFile(file), { sectors, note });
  for (let offset = 0; offset < layer.size; ) {
    for (const run of await layer.locate({ offset, length: layer.size - offset }, signal)) {
      offset += run.length;
      if (run.kind === 'data' && run.position + run.length > file.size) {
        const text = `the disk's bytes from ${run.offset} on are said to be at ${run.position}; the file ends at ${file.size}`;
        findings.add('grain-beyond-end', file.name, text, run.position);
      }
    }
  }
}
