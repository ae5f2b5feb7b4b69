/** Makes a VMDK larger: its last extent, and where it is split into pieces, more of them. */
import { randomBytes } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { PrimaError, temporaryPrefix, throwIfAborted, UserError } from '@prima/base';
import {
  changeDescriptor,
  type ExtentDescription,
  localFolder,
  pieceSectors,
  replaceExtents,
  makeRoomForTables,
  type SectorChange,
  sectorBytes,
  writeTablesForGrowth,
  type VmdkDescriptor,
  writeHostedExtent,
} from '@prima/formats';
import { type FileStep, identityAt, identityOf } from '../file-steps.ts';
import type { JournalEntry } from '../journal.ts';
import type { DiskPart, DiskParts } from './disk-parts.ts';
import { type Allocation, type Extending, growFlat } from './extend-disk.ts';
import { descriptorStep } from './text-steps.ts';

/** The paths of new extents. */
export async function extendVmdk(
  parts: DiskParts,
  entry: JournalEntry,
  options: Extending,
): Promise<string[]> {
  const { doing, size, signal } = options;
  const { descriptor, text } = parts;
  const [last, part] = lastExtent(parts, doing);
  if (!descriptor || !text) throw noDescriptor(doing);
  const isSplit = /^twogb/i.test(descriptor.createType);
  const sectors = size / sectorBytes - (options.before / sectorBytes - last.sectors);
  const limit = isSplit
    ? Math.max(pieceSectors, ...descriptor.extents.map((extent) => extent.sectors))
    : sectors;
  const first = Math.min(sectors, limit);
  const work: Work = { parts, entry, options, how: allocationOf(descriptor, options), steps: [] };
  if (first > last.sectors) await growLast(work, { last, part, sectors: first });
  const more = await addPieces(work, { last, sectors: sectors - first, limit });
  throwIfAborted(signal, doing);
  const kept = descriptor.extents.slice(0, -1);
  const extents = [...kept, { ...last, sectors: first }, ...more.map(({ extent }) => extent)];
  const changed = withGeometry(replaceExtents(descriptor, extents), size);
  // what names the new room comes after all that it names
  await entry.commit([...work.steps, await descriptorStep(text, changed, entry)]);
  return more.map(({ path }) => path);
}

interface Work {
  parts: DiskParts;
  entry: JournalEntry;
  options: Extending;
  how: Allocation;
  /** To be committed. */
  steps: FileStep[];
}

function noDescriptor(doing: string): PrimaError {
  return new PrimaError(
    'unsupported',
    `${doing}: it has no descriptor that could say its new size; convert it to a kind that has one`,
  );
}

/** Raises for kinds that cannot grow, each with its reason. */
function lastExtent(
  { descriptor, files, parent, path, text }: DiskParts,
  doing: string,
): [ExtentDescription, DiskPart] {
  const last = descriptor?.extents.at(-1);
  if (!descriptor || !last) throw noDescriptor(doing);
  if (parent !== undefined) {
    throw new PrimaError(
      'refused',
      `${doing}: it is a child of ${parent}; consolidate it first, or extend a clone`,
    );
  }
  if (!['FLAT', 'VMFS', 'SPARSE'].includes(last.type) || last.access !== 'RW') {
    throw new PrimaError(
      'unsupported',
      `${doing}: its last extent (${last.access} ${last.type}) cannot grow`,
    );
  }
  const isEmbedded = text?.format !== 'descriptor';
  const part = isEmbedded ? files[0] : files.find(({ extent }) => extent?.file === last.file);
  const uses = descriptor.extents.filter(({ file }) => file === last.file);
  if (part && uses.length === 1) return [last, part];
  throw new PrimaError(
    'unsupported',
    `${doing}: the last extent of ${path} is no file of its own, so it cannot grow`,
  );
}

function allocationOf({ createType, ddb }: VmdkDescriptor, { eagerZero }: Extending): Allocation {
  if (eagerZero || createType === 'vmfsEagerZeroedThick') return 'eager';
  const isThin = createType === 'vmfsThin' || ddb.get('thinprovisioned') === '1';
  return createType.startsWith('vmfs') && !isThin ? 'taken' : 'thin';
}

async function growLast(
  { entry, how, steps, options }: Work,
  { last, part, sectors }: { last: ExtentDescription; part: DiskPart; sectors: number },
): Promise<void> {
  const { path } = part;
  if (last.type !== 'SPARSE') {
    const { size } = await stat(path);
    const wanted = (last.offset + sectors) * sectorBytes;
    const tail = size - (last.offset + last.sectors) * sectorBytes;
    if (tail > 0) {
      throw new PrimaError(
        'unsupported',
        `${options.doing}: ${path} holds ${tail} bytes behind the disk's end`,
      );
    }
    await growFlat(path, { entry, size: wanted, how });
    return;
  }
  const file = await localFolder([dirname(path)]).openForWriting(path);
  try {
    const growth = { capacity: sectors, signal: options.signal };
    const identity = await identityOf(path);
    const step = ({ offset, old, fresh }: SectorChange): FileStep => {
      const [before, after] = [old.toString('base64'), fresh.toString('base64')];
      return { kind: 'bytes', path, file: identity, offset, old: before, new: after };
    };
    await entry.carryOut((await makeRoomForTables(file, growth)).map(step));
    steps.push(step(await writeTablesForGrowth(file, growth)));
  } finally {
    await file.close();
  }
}

interface Piece {
  path: string;
  extent: ExtentDescription;
}

async function addPieces(
  work: Work,
  { last, sectors, limit }: { last: ExtentDescription; sectors: number; limit: number },
): Promise<Piece[]> {
  const pieces: Piece[] = [];
  let name = last.file ?? '';
  for (let left = sectors; left > 0; ) {
    throwIfAborted(work.options.signal, work.options.doing);
    name = nextName(name);
    const extent = { ...last, file: name, sectors: Math.min(left, limit), offset: 0 };
    const path = join(dirname(work.parts.path), name);
    if ((await identityAt(path)) !== undefined) {
      throw new UserError(
        'exists',
        `${work.options.doing}: ${path} is there already, and a new piece needs its name`,
      );
    }
    await addPiece(work, { path, extent });
    pieces.push({ path, extent });
    left -= extent.sectors;
  }
  return pieces;
}

function nextName(name: string): string {
  const [, stem = name.replace(/\.vmdk$/i, ''), digits = '000', ending = '.vmdk'] =
    /^(.*-[sf])(\d{3,})(\.vmdk)$/i.exec(name) ?? [];
  const isNumbered = digits !== '000';
  const number = String(Number(digits) + 1).padStart(digits.length, '0');
  return isNumbered ? `${stem}${number}${ending}` : `${stem}-x${number}${ending}`;
}

async function addPiece({ entry, how, steps, parts }: Work, { path, extent }: Piece): Promise<void> {
  const temporary = join(
    dirname(path),
    `${temporaryPrefix}${basename(path).slice(0, 60)}-${randomBytes(4).toString('hex')}`,
  );
  await entry.intend({ kind: 'temporary', path: temporary });
  const file = await localFolder([dirname(path)]).create(temporary, parts.path, 0);
  try {
    if (extent.type === 'SPARSE') {
      await writeHostedExtent(file, { capacity: extent.sectors, grainSize: 128, zeroedGrains: false });
    }
    await file.flush();
  } finally {
    await file.close();
  }
  if (extent.type !== 'SPARSE') await growFlat(temporary, { entry, size: extent.sectors * sectorBytes, how });
  steps.push({ kind: 'move', path: temporary, to: path, file: await identityOf(temporary) });
}

/** As many cylinders of the old kind as the new size has. */
function withGeometry(descriptor: VmdkDescriptor, size: number): VmdkDescriptor {
  const number = (key: string) => Number(descriptor.ddb.get(`geometry.${key}`) ?? 0);
  const [heads, sectors] = [number('heads'), number('sectors')];
  if (heads <= 0 || sectors <= 0) return descriptor;
  const isIde = descriptor.ddb.get('adaptertype')?.toLowerCase() === 'ide';
  const cylinders = Math.floor(size / sectorBytes / (heads * sectors));
  return changeDescriptor(descriptor, {
    'ddb.geometry.cylinders': isIde ? Math.min(cylinders, 16_383) : cylinders,
  });
}
