/**
 * The mapping file of a raw device mapping that Prima made, `x-rdm.vmdk` or `x-rdmp.vmdk` (docs/format/raw-device-mapping.md): JSON
 * that says which device is meant. ESX's own hold no data at all (an inode of a type of its own): nothing can be read of them.
 */
import { FormatError } from '@prima/base';

export interface MappingFile {
  version: 1;
  /** `/dev/…`, or `iscsi://HOST[:PORT]/TARGET/LUN`. */
  device: string;
  /** Bytes. */
  size: number;
  /** See scsi-identity.ts; empty where the device has none. */
  identities: readonly string[];
}

export const mappingLimitBytes = 65_536;

export function writeMapping(mapping: MappingFile): string {
  return `${JSON.stringify(mapping, null, 2)}\n`;
}

/** Raises `format`. */
export function parseMapping(text: string, path: string): MappingFile {
  const wrong = (what: string, cause?: unknown) =>
    new FormatError(
      `${path} does not say which device it stands for (${what}). ESX's mappings do not, either: say it with prima disk rdm remap`,
      { cause, details: { path } },
    );
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw wrong('it is not JSON', error);
  }
  const { version, device, size, identities } = (value ?? {}) as Partial<MappingFile>;
  if (version !== 1) throw wrong('its version is not 1');
  if (typeof device !== 'string' || device === '' || device.includes('\0')) throw wrong('it names none');
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size <= 0 || size % 512 !== 0)
    throw wrong('its size is no whole number of sectors');
  if (
    !Array.isArray(identities) ||
    identities.length > 64 ||
    !identities.every((name) => typeof name === 'string')
  )
    throw wrong('its identities are no list');
  return { version, device, size, identities };
}
