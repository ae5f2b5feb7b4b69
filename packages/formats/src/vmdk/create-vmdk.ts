/** Making new VMDKs: all of a disk's files, or none of them. */
import { realpath } from 'node:fs/promises';
import { basename, dirname, join, posix } from 'node:path';
import { MiB, type Random, systemRandom, throwIfAborted, toPrimaError, UserError } from '@prima/base';
import { cowdGrainLimit } from './cowd-header.ts';
import type { CreateType } from './create-types.ts';
import { capacityLimitSectors, type ExtentDescription, type ExtentType } from './descriptor.ts';
import { formatCid, type NewDescriptor, newCid, newDescriptor, writeDescriptor } from './descriptor-write.ts';
import type { DiskFolder, WritableDiskFile } from './disk-file.ts';
import { geometryOf } from './geometry.ts';
import { grainLimitSectors, sectorBytes } from './hosted-header.ts';
import { localFolder } from './local-folder.ts';
import { embeddedDescriptorLimit, writeCowdExtent, writeHostedExtent } from './new-extents.ts';
import type { OpenMapping } from './open-extent.ts';
import { openVmdk } from './open-vmdk.ts';

/** What can be made. A `vmfsSparse` disk has a parent always, the other sparse ones may have one. */
export type NewVmdkType = Extract<
  CreateType,
  | 'monolithicSparse'
  | 'monolithicFlat'
  | 'twoGbMaxExtentSparse'
  | 'twoGbMaxExtentFlat'
  | 'vmfs'
  | 'vmfsSparse'
>;

export interface CreateVmdkOptions {
  createType: NewVmdkType;
  /** Bytes, a multiple of 512; a child's default, and the only size that it may have, is its parent's. */
  size?: number;
  /** Path of the parent's descriptor. */
  parent?: string;
  /** Of the sparse kinds. Default: 128, of vmfsSparse 1. A power of two. */
  grainSectors?: number;
  /** Of hosted sparse kinds: version 2, in which zeros over a parent's data take no space. Default false. */
  zeroedGrains?: boolean;
  /** Of the flat kinds: as a sparse file, with its room taken, or filled with zeros. Default `thin`. */
  allocation?: 'thin' | 'zeroedthick' | 'eagerzeroedthick';
  /** Default: the parent's, or `lsilogic`. */
  adapterType?: string;
  /** More entries of the disk database, without `ddb.`. */
  ddb?: Readonly<Record<string, string | number>>;
  /** Default: the file system, only the folders of the disk and of its parent. */
  folder?: DiskFolder;
  /** For a parent that is a raw device mapping; see `OpenVmdkOptions`. */
  openMapping?: OpenMapping;
  random?: Random;
  signal?: AbortSignal;
}

export interface CreatedVmdk {
  /** The descriptor's, to open the disk by. */
  path: string;
  /** All of them, the descriptor's first. */
  files: readonly string[];
}

/** VMware's pieces of a disk that no file system may find too large: 2 GiB less 1 MiB. */
export const pieceSectors = 4_192_256;

/**
 * Makes a disk that holds nothing (a child: what its parent does). Its names are durable when it resolves; when it
 * fails, nothing is left. Raises `usage`, `exists`, `not-found` (the parent), `no-space`.
 */
export async function createVmdk(path: string, options: CreateVmdkOptions): Promise<CreatedVmdk> {
  const { random = systemRandom } = options;
  const folder =
    options.folder ?? localFolder([dirname(path), ...(options.parent ? [dirname(options.parent)] : [])]);
  const place = options.folder ? path : await absolute(path);
  const parent = options.parent === undefined ? undefined : await readParent(options.parent, folder, options);
  const size = sizeOf(options, parent?.capacity);
  const cid = newCid(random, parent?.cid);
  const made = new MadeFiles(folder, place);
  try {
    const plan = extentsOf(basename(place), options, size);
    const descriptor: NewDescriptor = {
      cid,
      createType: options.createType,
      ...(parent ? { parentCid: parent.cid, parentFileNameHint: hintOf(place, parent.path) } : {}),
      extents: plan,
      ddb: databaseOf(options, { size, cid, adapterType: parent?.adapterType, random }),
    };
    await makeFiles(made, descriptor, { ...options, folder, name: basename(place) });
    return { path: made.paths[0] ?? place, files: made.paths };
  } catch (error) {
    await made.remove();
    throw toPrimaError(error, `creating ${path}`);
  }
}

async function absolute(path: string): Promise<string> {
  const folder = await realpath(dirname(path)).catch((error: unknown) => {
    throw toPrimaError(error, `creating ${path}`);
  });
  return join(folder, basename(path));
}

interface Parent {
  path: string;
  cid: number;
  capacity: number;
  adapterType?: string;
}

async function readParent(path: string, folder: DiskFolder, options: CreateVmdkOptions): Promise<Parent> {
  const { createType } = options;
  if (!['vmfsSparse', 'monolithicSparse', 'twoGbMaxExtentSparse'].includes(createType)) {
    throw new UserError('usage', `a disk of the kind ${createType} cannot have a parent; a sparse one can`);
  }
  const real = options.folder
    ? path
    : await realpath(path).catch((error: unknown) => {
        throw toPrimaError(error, `opening the parent ${path}`);
      });
  const { device, info } = await openVmdk(real, { folder, parents: false, openMapping: options.openMapping });
  await device.close();
  if (info.cid === undefined) {
    throw new UserError(
      'usage',
      `${path} has no descriptor, so a child cannot tell whether it was changed; add one`,
    );
  }
  return { path: info.path, cid: info.cid, capacity: info.capacity, adapterType: info.adapterType };
}

function sizeOf({ createType, size, parent }: CreateVmdkOptions, parentSize: number | undefined): number {
  if (createType === 'vmfsSparse' && parent === undefined) {
    throw new UserError('usage', 'a disk of the kind vmfsSparse is a child: name its parent');
  }
  const bytes = size ?? parentSize ?? 0;
  if (
    !Number.isSafeInteger(bytes) ||
    bytes <= 0 ||
    bytes % sectorBytes !== 0 ||
    bytes / sectorBytes > capacityLimitSectors
  ) {
    throw new UserError('usage', `a disk cannot have ${bytes} bytes; a multiple of 512 is wanted`);
  }
  if (parentSize !== undefined && bytes !== parentSize) {
    throw new UserError('usage', `a child has the size of its parent, ${parentSize} bytes, not ${bytes}`);
  }
  if (createType === 'vmfsSparse' && bytes / sectorBytes >= 2 ** 32) {
    throw new UserError('usage', `a vmfsSparse disk is smaller than 2 TiB, not ${bytes} bytes`);
  }
  return bytes;
}

const shapes: Record<NewVmdkType, { type: ExtentType; suffix: string; split: boolean }> = {
  monolithicSparse: { type: 'SPARSE', suffix: '', split: false },
  monolithicFlat: { type: 'FLAT', suffix: '-flat', split: false },
  twoGbMaxExtentSparse: { type: 'SPARSE', suffix: '-s', split: true },
  twoGbMaxExtentFlat: { type: 'FLAT', suffix: '-f', split: true },
  vmfs: { type: 'VMFS', suffix: '-flat', split: false },
  vmfsSparse: { type: 'VMFSSPARSE', suffix: '-delta', split: false },
};

function extentsOf(name: string, { createType }: CreateVmdkOptions, size: number): ExtentDescription[] {
  const { type, suffix, split } = shapes[createType];
  const stem = name.replace(/\.vmdk$/i, '');
  const total = size / sectorBytes;
  const step = split ? pieceSectors : total;
  return Array.from({ length: Math.ceil(total / step) }, (_, index): ExtentDescription => {
    const number = split ? String(index + 1).padStart(3, '0') : '';
    const file = suffix === '' ? name : `${stem}${suffix}${number}.vmdk`;
    return { access: 'RW', sectors: Math.min(step, total - index * step), type, file, offset: 0 };
  });
}

/** A hint that holds where both are moved together. */
function hintOf(child: string, parent: string): string {
  return posix.relative(posix.dirname(child), parent);
}

interface Identity {
  size: number;
  cid: number;
  adapterType?: string;
  random: Random;
}

function databaseOf(options: CreateVmdkOptions, identity: Identity): Record<string, string | number> {
  const { size, cid, random } = identity;
  const adapterType = options.adapterType ?? identity.adapterType ?? 'lsilogic';
  const { cylinders, heads, sectors } = geometryOf(size, adapterType);
  const hex = (length: number) => Buffer.from(random.bytes(new Uint8Array(length))).toString('hex');
  const tail = hex(12).match(/../g) ?? [];
  const isThin = options.createType === 'vmfs' && (options.allocation ?? 'thin') === 'thin';
  return {
    adapterType,
    'geometry.cylinders': cylinders,
    'geometry.heads': heads,
    'geometry.sectors': sectors,
    virtualHWVersion: 7,
    longContentID: hex(12) + formatCid(cid),
    // VMware's own prefix, by which it knows its disks
    uuid: `60 00 C2 9${hex(1)[0]} ${tail.slice(0, 4).join(' ')}-${tail.slice(4).join(' ')}`,
    ...(isThin ? { thinProvisioned: 1 } : {}),
    ...options.ddb,
  };
}

/** What was made so far, so that it can be taken back. */
class MadeFiles {
  readonly paths: string[] = [];
  readonly #folder: DiskFolder;
  readonly #beside: string;

  constructor(folder: DiskFolder, beside: string) {
    this.#folder = folder;
    this.#beside = beside;
  }

  async make(name: string, fill: (file: WritableDiskFile) => Promise<void>): Promise<void> {
    const file = await this.#folder.create(name, this.#beside, 0);
    this.paths.push(file.path);
    try {
      await fill(file);
      await file.flush();
    } finally {
      await file.close();
    }
  }

  async remove(): Promise<void> {
    for (const path of this.paths.toReversed()) await this.#folder.remove(path);
  }
}

async function makeFiles(made: MadeFiles, fields: NewDescriptor, options: Filling): Promise<void> {
  const descriptor = writeDescriptor(newDescriptor(fields));
  if (options.createType === 'monolithicSparse') {
    if (descriptor.length > embeddedDescriptorLimit) {
      throw new UserError(
        'usage',
        `the descriptor has ${descriptor.length} bytes, ${embeddedDescriptorLimit} fit`,
      );
    }
    await made.make(options.name, (file) =>
      writeHosted(file, fields.extents[0]?.sectors ?? 0, { ...options, descriptor }),
    );
    return;
  }
  // the name is taken first and filled last: half a disk cannot be opened
  await made.make(options.name, async () => undefined);
  for (const extent of fields.extents) {
    throwIfAborted(options.signal, `creating ${options.name}`);
    await made.make(extent.file ?? '', (file) =>
      fillExtent(file, extent, { ...options, hint: fields.parentFileNameHint }),
    );
  }
  await options.folder.replace(made.paths[0] ?? '', descriptor);
}

interface Filling extends CreateVmdkOptions {
  /** The descriptor's. */
  name: string;
  folder: DiskFolder;
  hint?: string;
  descriptor?: Buffer;
}

async function fillExtent(
  file: WritableDiskFile,
  { type, sectors }: ExtentDescription,
  options: Filling,
): Promise<void> {
  if (type === 'SPARSE') await writeHosted(file, sectors, options);
  else if (type === 'VMFSSPARSE') await writeCowd(file, sectors, options);
  else await writeFlat(file, sectors * sectorBytes, options);
}

async function writeHosted(file: WritableDiskFile, capacity: number, options: Filling): Promise<void> {
  const { grainSectors = 128, zeroedGrains = false, descriptor } = options;
  if (!Number.isInteger(Math.log2(grainSectors)) || grainSectors < 16 || grainSectors > grainLimitSectors) {
    throw new UserError(
      'usage',
      `a grain has a power of two of sectors, 16 to ${grainLimitSectors}, not ${grainSectors}`,
    );
  }
  await writeHostedExtent(file, { capacity, grainSize: grainSectors, zeroedGrains }, descriptor);
}

async function writeCowd(file: WritableDiskFile, numSectors: number, options: Filling): Promise<void> {
  const { grainSectors = 1, hint } = options;
  if (!Number.isInteger(grainSectors) || grainSectors < 1 || grainSectors > cowdGrainLimit) {
    throw new UserError(
      'usage',
      `a grain of a vmfsSparse disk has 1 to ${cowdGrainLimit} sectors, not ${grainSectors}`,
    );
  }
  const parent = hint === undefined ? undefined : { fileName: hint, generation: 0 };
  await writeCowdExtent(file, { numSectors, grainSize: grainSectors, parent });
}

async function writeFlat(
  file: WritableDiskFile,
  size: number,
  { allocation, signal }: Filling,
): Promise<void> {
  await file.resize(size);
  if (allocation === 'zeroedthick') await file.allocate({ offset: 0, length: size });
  if (allocation !== 'eagerzeroedthick') return;
  await file.allocate({ offset: 0, length: size });
  const zeros = new Uint8Array(MiB);
  for (let offset = 0; offset < size; offset += MiB) {
    await file.write(offset, zeros.subarray(0, Math.min(MiB, size - offset)), signal);
  }
}
