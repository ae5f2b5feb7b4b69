/** Checks one extent in its open file, and repairs it where the file is open for writing. */
import { alignUp } from '@prima/base';
import { checkSparse } from './check-sparse.ts';
import { cowdFreeSectorOffset, cowdHeaderBytes, cowdUncleanOffset } from './cowd-header.ts';
import { type DiskFile, isWritableFile, readOnlyFile } from './disk-file.ts';
import { cowdDataStart, cowdTableLayout, openSeSparseExtent, readCowdHeader } from './esx-extents.ts';
import type { Findings } from './findings.ts';
import {
  hostedDataStart,
  hostedTableLayout,
  hostedUncleanOffset,
  keepOneDirectory,
  readHostedHeader,
} from './hosted-extent.ts';
import { HostedFlags, sectorBytes } from './hosted-header.ts';
import { repairSparse, type SparseSubject } from './repair-sparse.ts';
import { SparseTables } from './sparse-tables.ts';

export interface CheckedExtent {
  format: string;
  /** What the descriptor says; undefined where there is none. */
  sectors: number | undefined;
  offset: number;
}

export interface ExtentCheckContext {
  findings: Findings;
  repairs: string[];
  refusals: string[];
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

async function checkHosted(
  file: DiskFile,
  extent: CheckedExtent,
  context: ExtentCheckContext,
): Promise<void> {
  const note = (text: string) => context.findings.add('noted', file.name, text);
  const header = await readHostedHeader(file, note);
  const { capacity, grainSize, flags, descriptorOffset, descriptorSize } = header;
  const compressed = (flags & HostedFlags.compressed) !== 0;
  const { lost, ...layout } = hostedTableLayout(header, file);
  if (lost) context.findings.add('directory-broken', file.name, lost);
  await checkTables(file, context, {
    extent,
    capacity,
    layout: { ...layout, file, note: () => undefined },
    grainBytes: grainSize * sectorBytes,
    zeroEntries: (flags & HostedFlags.zeroedGrains) !== 0,
    dataStart: sectorBytes,
    // a stream may have its tables behind its grains
    headEnd: compressed ? sectorBytes : hostedDataStart(header, []),
    areas: [
      { sector: 0, length: 1 },
      { sector: descriptorOffset, length: descriptorSize },
    ].filter(({ length }) => length > 0),
    compressed,
    unclean: header.uncleanShutdown,
    setUnclean: (writable) => writable.write(hostedUncleanOffset, Uint8Array.of(0)),
    keepDirectory: keepOneDirectory,
    hasLostDirectory: lost !== undefined,
  });
}

async function checkCowd(file: DiskFile, extent: CheckedExtent, context: ExtentCheckContext): Promise<void> {
  const header = await readCowdHeader(file);
  const { numSectors, grainSize, freeSector } = header;
  await checkTables(file, context, {
    extent,
    capacity: numSectors,
    layout: { ...cowdTableLayout(header, file), file, note: () => undefined },
    grainBytes: grainSize * sectorBytes,
    zeroEntries: false,
    dataStart: cowdDataStart(header),
    headEnd: cowdDataStart(header),
    areas: [{ sector: 0, length: cowdHeaderBytes / sectorBytes }],
    compressed: false,
    unclean: header.uncleanShutdown,
    setUnclean: (writable) => writable.write(cowdUncleanOffset, Buffer.alloc(4)),
    free: { sector: freeSector, offset: cowdFreeSectorOffset },
  });
}

/** Both kinds of headers have it there. */
const capacityOffset = 12;

async function checkTables(
  file: DiskFile,
  context: ExtentCheckContext,
  subject: SparseSubject,
): Promise<void> {
  const { findings, signal } = context;
  const { extent, capacity, layout, unclean, free } = subject;
  const { sectors = capacity } = extent;
  if (sectors !== capacity) {
    const text = `the descriptor gives it ${sectors} sectors, its header ${capacity}`;
    findings.add('capacity-differs', file.name, text, capacityOffset);
  }
  if (unclean) findings.add('unclean', file.name, 'it was not closed by who wrote it last');
  const tables = new SparseTables(layout);
  const size = capacity * sectorBytes;
  const { grainBytes, zeroEntries, dataStart, headEnd, areas, compressed } = subject;
  const { tableCount } = layout;
  const options = { grainBytes, zeroEntries, dataStart, headEnd, areas, compressed, size, tableCount };
  const checked = await checkSparse({ file, tables, findings, signal, ...options });
  const end = alignUp(checked.usedEnd, sectorBytes);
  if (free && free.sector * sectorBytes < end) {
    const text = `freeSector is ${free.sector}, though grains reach to sector ${end / sectorBytes}`;
    findings.add('free-sector-wrong', file.name, text, free.offset);
  }
  if (isWritableFile(file)) await repairSparse(file, { ...context, subject, tables, checked });
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
