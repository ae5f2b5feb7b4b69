/** The device of a raw device mapping (docs/format/raw-device-mapping.md): found again when it has moved, and opened. */
import { readFile, realpath, stat } from 'node:fs/promises';
import { dirname, isAbsolute } from 'node:path';
import { PrimaError, toPrimaError } from '@prima/base';
import { type BlockDevice, openRawFile, type WritableDevice } from '@prima/block';
import {
  isSameLun,
  localFolder,
  type MappingFile,
  mappingLimitBytes,
  type OpenMapping,
  parseMapping,
  readLinkText,
  sectorBytes,
} from '@prima/formats';
import { openIscsi, openIscsiForWriting } from './iscsi.ts';
import { parseIscsiUrl } from './iscsi-url.ts';
import { findDevices, identitiesOf } from './lun-identity.ts';

export const mappingModes = ['virtual', 'physical'] as const;
export type MappingMode = (typeof mappingModes)[number];

/** A device as it was found: where, and who it is. */
export interface FoundLun {
  /** `/dev/…` or `iscsi://…` */
  device: string;
  /** See scsi-identity.ts; empty where it has none. */
  identities: readonly string[];
}

/** @param device `/dev/…` or `iscsi://…` */
export async function openDevice(device: string, signal?: AbortSignal): Promise<BlockDevice> {
  const lun = parseIscsiUrl(device);
  return lun ? openIscsi(lun, { signal }) : openRawFile(device);
}

/** Raises `busy` where somebody else writes to it, as far as that shows. */
export async function openDeviceForWriting(device: string, signal?: AbortSignal): Promise<WritableDevice> {
  const lun = parseIscsiUrl(device);
  return lun ? openIscsiForWriting(lun, { signal }) : openRawFile(device, { writable: true });
}

/** Raises `format`. */
export async function readMapping(path: string): Promise<MappingFile> {
  try {
    const { size } = await stat(path);
    return parseMapping(size <= mappingLimitBytes ? await readFile(path, 'utf8') : '', path);
  } catch (error) {
    throw toPrimaError(error, `reading the mapping file ${path}`);
  }
}

export interface MappingPlace {
  /** The descriptor, symbolic links followed. */
  path: string;
  /** The mapping file. */
  mapping: string;
  mode: MappingMode;
  /** Bytes of the disk. */
  size: number;
}

/** Of the VMDK at `path`, or undefined where it is no raw device mapping. */
export async function mappingPlace(path: string): Promise<MappingPlace | undefined> {
  const real = await realpath(path).catch((error: unknown) => {
    throw toPrimaError(error, `looking for ${path}`);
  });
  const folder = localFolder([dirname(real)]);
  const { descriptor } = await readLinkText(real, folder);
  const [extent] = descriptor?.extents ?? [];
  if (!descriptor || extent?.type !== 'VMFSRDM' || extent.file === undefined) return undefined;
  const mode = descriptor.createType === 'vmfsPassthroughRawDeviceMap' ? 'physical' : 'virtual';
  const mapping = await folder.resolve(extent.file, real);
  return { path: real, mapping, mode, size: extent.sectors * sectorBytes };
}

/** Where the device is now. Raises `not-found`, `ambiguous`. */
export async function locateDevice(
  { device, identities, size }: MappingFile,
  note: (text: string) => void,
  signal?: AbortSignal,
): Promise<string> {
  const there = await identitiesOf(device, signal).catch((error: unknown) =>
    toPrimaError(error, `looking at ${device}`),
  );
  if (identities.length === 0) {
    if (there instanceof PrimaError) throw there;
    note(`nothing but its address and size (${size} bytes) tells ${device} from other devices`);
    return device;
  }
  if (!(there instanceof PrimaError) && isSameLun(identities, there)) return device;
  const name = identities.join(', ');
  const [found, another] = await findDevices(identities);
  if (found === undefined) {
    const why =
      there instanceof PrimaError
        ? there.message
        : `at that address is ${there.join(', ') || 'a nameless one'} now`;
    throw new PrimaError(
      'not-found',
      `the device that was ${device} when it was mapped (${name}) is not on this computer: ${why}. If it has another address now, ` +
        'map it again (prima disk rdm remap FILE --device …)',
      { details: { device, identities } },
    );
  }
  if (another !== undefined)
    throw new PrimaError(
      'ambiguous',
      `both ${found} and ${another} are the device that was ${device} (${name})`,
    );
  note(`the device that was ${device} when it was mapped is ${found} now (${name})`);
  return found;
}

/** Why no method that reads files takes the mapping at `descriptor`, and what does. */
export function physicalMode(descriptor: string): PrimaError {
  return new PrimaError(
    'unsupported',
    `${descriptor} maps a device in physical mode: its guest speaks to the LUN itself, and nothing on a host holds that still. Back up ` +
      'the device itself with its machine off (prima backup /dev/…), a snapshot of it that the storage array makes, or its files ' +
      'from inside of the guest; or map it in virtual mode',
    { details: { path: descriptor } },
  );
}

export interface MappingOpenerOptions {
  note?: (text: string) => void;
  /** Told which device it is, before it is opened. */
  onFound?: (lun: FoundLun) => void;
  signal?: AbortSignal;
}

/** Opens the devices of mappings that are read, or written, as disks. Raises `unsupported` for physical ones. */
export function mappingOpener({
  note = () => undefined,
  onFound,
  signal,
}: MappingOpenerOptions = {}): OpenMapping {
  return async ({ mode, file, descriptor, writable }) => {
    if (isAbsolute(file)) {
      throw new PrimaError('unsupported', `${descriptor} stands for ${file} itself; name that device`);
    }
    if (mode === 'physical') throw physicalMode(descriptor);
    const folder = localFolder([dirname(descriptor)]);
    const mapping = await readMapping(await folder.resolve(file, descriptor));
    const device = await locateDevice(mapping, note, signal);
    onFound?.({ device, identities: mapping.identities });
    return writable ? openDeviceForWriting(device, signal) : openDevice(device, signal);
  };
}
