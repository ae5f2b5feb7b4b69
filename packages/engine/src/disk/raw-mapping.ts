/** Raw device mappings (docs/format/raw-device-mapping.md): disks whose data is on a device, which is known when it has moved. */
import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { PrimaError, replaceFile, systemRandom, toPrimaError, UserError } from '@prima/base';
import {
  isSameLun,
  type MappingFile,
  mappingName,
  type NewMapping,
  newMapping,
  writeMapping,
} from '@prima/formats';
import {
  identitiesOf,
  locateDevice,
  type MappingMode,
  type MappingPlace,
  mappingPlace,
  openDevice,
  parseIscsiUrl,
  readMapping,
} from '@prima/qemu';
import type { StagedFiles } from '../restore/staged-files.ts';
import { type MadeDisk, makeDisk, type MakeDiskOptions } from './make-disk.ts';

export interface CreateMappingOptions extends MakeDiskOptions {
  /** A block device, or `iscsi://HOST[:PORT]/TARGET/LUN`. */
  device: string;
  mode: MappingMode;
}

/** Makes a descriptor and its mapping file. Raises `unsupported` for what is no device, `exists`, `remote`. */
export async function createMapping(target: string, options: CreateMappingOptions): Promise<MadeDisk> {
  const { device, mode, signal } = options;
  const doing = `mapping ${device} as ${target}`;
  const known = await describeDevice(device, signal);
  return makeDisk(target, { ...options, doing }, async (staged, name) => {
    return stageMapping(staged, { name, mode, ...known });
  });
}

/** The paths that its two files will have, the descriptor's first. */
export async function stageMapping(staged: StagedFiles, wanted: NewMapping): Promise<string[]> {
  const { descriptor, mapping } = newMapping(wanted, systemRandom);
  const files = [
    [await staged.stage(wanted.name), descriptor],
    [await staged.stage(mappingName(wanted.name, wanted.mode)), mapping],
  ] as const;
  for (const [{ temporary }, bytes] of files) await writeFile(temporary, bytes, { flag: 'wx', mode: 0o600 });
  return files.map(([{ path }]) => path);
}

/** The device at that address, and who it is. Raises `unsupported` for what is no device, `usage` for an empty one. */
export async function describeDevice(device: string, signal?: AbortSignal): Promise<MappingFile> {
  const identities = await identitiesOf(device, signal);
  const opened = await openDevice(device, signal);
  const { size } = opened;
  await opened.close();
  if (size > 0) {
    const path = parseIscsiUrl(device) ? device : resolve(device);
    return { version: 1, device: path, size, identities };
  }
  throw new UserError('usage', `${device} has no size: nothing is in it, or attached to it`);
}

export interface MappingInfo {
  path: string;
  mode: MappingMode;
  size: number;
  /** Where the device was when it was mapped, and who it is. */
  device: string;
  identities: readonly string[];
  /** Where it is now; absent where it cannot be found. */
  found?: string;
  /** What there is to say of that, a sentence each. */
  notes: string[];
}

/** Raises `state` for a disk that is no mapping, `format` for one of ESX's. */
export async function queryMapping(path: string, signal?: AbortSignal): Promise<MappingInfo> {
  const place = await placeOf(path);
  const { device, size, identities } = await readMapping(place.mapping);
  const notes: string[] = [];
  const found = await locateDevice(
    { version: 1, device, size, identities },
    (text) => notes.push(text),
    signal,
  ).catch((error: unknown) => {
    notes.push(toPrimaError(error, `looking for ${device}`).message);
    return undefined;
  });
  return {
    path: place.path,
    mode: place.mode,
    size,
    device,
    identities,
    ...(found !== undefined && { found }),
    notes,
  };
}

/**
 * Has the mapping stand for `device` from now on. Raises `refused` where that is another one, or nobody can tell, and `force` is
 * not set; `usage` where it is smaller than the disk.
 */
export async function remapDevice(
  path: string,
  device: string,
  { force = false, signal }: { force?: boolean; signal?: AbortSignal },
): Promise<MappingInfo> {
  const place = await placeOf(path);
  const now = await describeDevice(device, signal);
  const before = await readMapping(place.mapping).catch((error: unknown) => {
    if (error instanceof PrimaError && error.code === 'format') return undefined; // ESX's own: says nothing
    throw error;
  });
  if (now.size < place.size) {
    throw new UserError(
      'usage',
      `${device} has ${now.size} bytes, and ${path} maps ${place.size}: it is another device`,
    );
  }
  if (!force && !(before && isSameLun(before.identities, now.identities))) {
    const was = before?.identities.join(', ') || 'unknown';
    throw new PrimaError(
      'refused',
      `${device} is not known to be the device that ${path} stands for: it is ${now.identities.join(', ') || 'without a name of its own'}, ` +
        `and the mapped one is ${was}. If you know that it is meant, say --force`,
      { details: { path, device } },
    );
  }
  await replaceFile(place.mapping, writeMapping({ ...now, size: place.size }));
  return queryMapping(path, signal);
}

async function placeOf(path: string): Promise<MappingPlace> {
  const place = await mappingPlace(path);
  if (place) return place;
  throw new PrimaError('state', `${path} is not an rdm: it maps no device`, { details: { path } });
}
