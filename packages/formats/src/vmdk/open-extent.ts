/** Opening one extent of a descriptor. */
import { FormatError, PrimaError, type Range, UserError } from '@prima/base';
import { type BlockDevice, isWritable } from '@prima/block';
import type { CreateType } from './create-types.ts';
import type { ExtentDescription } from './descriptor.ts';
import { deviceFile } from './device-file.ts';
import type { DiskFile, DiskFolder } from './disk-file.ts';
import { openCowdExtent, openSeSparseExtent } from './esx-extents.ts';
import { flatLayer, zeroLayer } from './flat-layer.ts';
import { openHostedExtent } from './hosted-extent.ts';
import { sectorBytes } from './hosted-header.ts';
import type { Layer } from './layer.ts';

/** A raw device mapping: the file names a LUN and holds none of its data. */
export interface RawDeviceMapping {
  mode: 'virtual' | 'physical';
  /** The mapping file as the descriptor names it, and the descriptor's path. */
  file: string;
  descriptor: string;
  sizeBytes: number;
  /** The disk is opened to be written to. */
  writable: boolean;
}

/** Finds the device that a mapping file, or a `vmfsRaw` extent, stands for. The device is closed with the disk. */
export type OpenMapping = (mapping: RawDeviceMapping) => Promise<BlockDevice>;

export interface ExtentContext {
  folder: DiskFolder;
  /** The descriptor's. */
  path: string;
  createType: CreateType;
  writable: boolean;
  openMapping?: OpenMapping;
  note: (text: string) => void;
}

/** `format`: how the extent lies in its file. */
export type ExtentFormat = 'flat' | 'hosted' | 'cowd' | 'seSparse' | 'mapping' | 'none';

export interface OpenExtent {
  layer: Layer;
  format: ExtentFormat;
  /** Absent where there is no file, or it is a mapped device. */
  file?: DiskFile;
  path?: string;
}

export async function openExtent(extent: ExtentDescription, context: ExtentContext): Promise<OpenExtent> {
  const { access, type, sectors, file: name } = extent;
  const size = sectors * sectorBytes;
  if (access === 'NOACCESS' && type !== 'ZERO') {
    context.note(`${context.path}: ${sectors} sectors of ${name} may not be accessed; they read as zeros`);
  }
  if (type === 'ZERO' || access === 'NOACCESS' || name === undefined) {
    return { layer: zeroLayer(size), format: 'none' };
  }
  if (type === 'VMFSRDM' || type === 'VMFSRAW') return openMapped(extent, name, context);
  const path = await context.folder.resolve(name, context.path);
  const writable = context.writable && access === 'RW';
  const file = await (writable ? context.folder.openForWriting(path) : context.folder.open(path));
  try {
    return { ...(await openInFile(file, extent, context)), file, path };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function openInFile(
  file: DiskFile,
  { type, sectors, offset }: ExtentDescription,
  { note }: ExtentContext,
): Promise<{ layer: Layer; format: ExtentFormat }> {
  switch (type) {
    case 'SPARSE':
      return { layer: await openHostedExtent(file, { sectors, note }), format: 'hosted' };
    case 'VMFSSPARSE':
      return { layer: await openCowdExtent(file, { sectors, note }), format: 'cowd' };
    case 'SESPARSE':
      return { layer: await openSeSparseExtent(file, { sectors, note }), format: 'seSparse' };
    default:
      return { layer: openFlat(file, offset, sectors), format: 'flat' };
  }
}

function openFlat(file: DiskFile, offset: number, sectors: number): Layer {
  const range = { offset: offset * sectorBytes, length: sectors * sectorBytes };
  if (range.offset + range.length > file.size) {
    throw new FormatError(
      `${file.name}: the descriptor wants the bytes ${range.offset} to ${range.offset + range.length} of it, but it ` +
        `has ${file.size}; it is cut off`,
      { details: { path: file.name, offset: file.size } },
    );
  }
  return flatLayer(file, range);
}

const modes: Partial<Record<CreateType, RawDeviceMapping['mode']>> = {
  vmfsPassthroughRawDeviceMap: 'physical',
};

async function openMapped(
  extent: ExtentDescription,
  name: string,
  context: ExtentContext,
): Promise<OpenExtent> {
  const { createType, path, openMapping } = context;
  const writable = context.writable && extent.access === 'RW';
  const mode = modes[createType] ?? 'virtual';
  const sizeBytes = extent.sectors * sectorBytes;
  if (!openMapping) {
    throw new PrimaError(
      'unsupported',
      `${path} is a raw device mapping in ${mode} mode (${name}): its data is on a LUN, the mapping file holds none; ` +
        'name the device that holds it',
      { details: { path, mode, file: name } },
    );
  }
  const device = await openMapping({ mode, file: name, descriptor: path, sizeBytes, writable });
  if (device.size < sizeBytes) {
    await device.close();
    throw new UserError(
      'usage',
      `${path} maps ${sizeBytes} bytes through ${name}, but the device given for it has ${device.size}`,
    );
  }
  const file = writable ? writableDeviceFile(device, name) : deviceFile(device, name);
  return { layer: flatLayer(file, { offset: 0, length: sizeBytes }), format: 'mapping' };
}

/** A device that is written as a file which cannot grow; read-only where the device is. */
function writableDeviceFile(device: BlockDevice, name: string): DiskFile {
  const file = deviceFile(device, name);
  if (!isWritable(device)) return file;
  return Object.assign(file, {
    write: (offset: number, from: Uint8Array, signal?: AbortSignal) => device.write(offset, from, signal),
    zero: (range: Range, signal?: AbortSignal) => device.zero(range, signal),
    flush: () => device.flush(),
    allocate: async () => undefined,
    resize: async () => {
      throw new PrimaError('unsupported', `${name} is a device, which has the size that it has`);
    },
  });
}
