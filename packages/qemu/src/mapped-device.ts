/** The device of a raw device mapping (docs/format/raw-device-mapping.md): found again when it has moved, and opened. */
import { readFile, stat } from 'node:fs/promises';
import { dirname, isAbsolute } from 'node:path';
import { PrimaError, toPrimaError } from '@prima/base';
import { type BlockDevice, openRawFile } from '@prima/block';
import {
  isSameLun,
  localFolder,
  type MappingFile,
  mappingLimitBytes,
  type OpenMapping,
  parseMapping,
} from '@prima/formats';
import { openIscsi, parseIscsiUrl } from '@prima/qemu';
import { findDevices, identitiesOf } from './lun-identity.ts';

/** @param device `/dev/…` or `iscsi://…` */
export async function openDevice(device: string, signal?: AbortSignal): Promise<BlockDevice> {
  const lun = parseIscsiUrl(device);
  return lun ? openIscsi(lun, { signal }) : openRawFile(device);
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

/** Opens the devices of mappings that are read as disks. Raises `unsupported` for physical ones. */
export function mappingOpener(note: (text: string) => void, signal?: AbortSignal): OpenMapping {
  return async ({ mode, file, descriptor }) => {
    if (isAbsolute(file)) {
      throw new PrimaError('unsupported', `${descriptor} stands for ${file} itself; name that device`);
    }
    if (mode === 'physical') {
      throw new PrimaError(
        'unsupported',
        `${descriptor} maps a device in physical mode: its guest speaks to the LUN itself, and nothing on a host holds that still. Back up ` +
          'the device itself with its machine off (prima backup /dev/…), a snapshot of it that the storage array makes, or its files ' +
          'from inside of the guest; or map it in virtual mode',
        { details: { path: descriptor } },
      );
    }
    const folder = localFolder([dirname(descriptor)]);
    const mapping = await readMapping(await folder.resolve(file, descriptor));
    return openDevice(await locateDevice(mapping, note, signal), signal);
  };
}
