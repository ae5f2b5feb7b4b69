/**
 * Disks of a point that were devices (docs/format/raw-device-mapping.md): the device is found again by who it is, whatever its
 * address is now, and written over where a person says so.
 */
import { constants } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { formatBytes, PrimaError, systemErrorCode, toPrimaError, UserError } from '@prima/base';
import { type BlockDevice, copyDevice, type CopyOptions, type CopyResult } from '@prima/block';
import { isSameLun, type MappingFile } from '@prima/formats';
import { findDevices, identitiesOf, openDeviceForWriting } from '@prima/qemu';
import type { PointDisk } from '@prima/repository';
import { isOpenInQemu } from '../backup/file-in-use.ts';
import { describeDevice } from '../disk/raw-mapping.ts';

export interface LunChoice {
  /** Where they may be now, besides where they were and what this computer has: `/dev/…`, `iscsi://…`. */
  devices?: readonly string[];
  /** Write what the point holds over them; otherwise they are left as they are. */
  overwrite?: boolean;
}

/** By the name of the disk. Raises what `findLun` does, `usage` when none of the disks was a device. */
export async function findLuns(
  disks: readonly PointDisk[],
  choice: LunChoice,
  signal?: AbortSignal,
): Promise<Map<string, MappingFile>> {
  const found = new Map<string, MappingFile>();
  for (const disk of disks) if (disk.lun) found.set(disk.name, await findLun(disk, choice, signal));
  if (found.size > 0) return found;
  const names = disks.map(({ name }) => name).join(', ');
  throw new UserError(
    'usage',
    `no LUN can be mapped: ${names || 'the point'} was none, or the point does not say which`,
  );
}

/**
 * The device that the disk was, where it is now. Raises `not-found`, `ambiguous`, `refused` where nothing but an address is known of it,
 * or it has another size.
 */
async function findLun(
  disk: PointDisk,
  { devices = [] }: LunChoice,
  signal?: AbortSignal,
): Promise<MappingFile> {
  const { name, lun = { device: '', identities: [] } } = disk;
  const { identities } = lun;
  if (identities.length === 0) {
    throw new PrimaError(
      'refused',
      `${name} was the device ${lun.device}, of which the point knows nothing but its address; restore it as a disk file, or name a device ` +
        'that it shall be written over (--to-device)',
    );
  }
  const seen: string[] = [];
  for (const device of new Set([...devices, lun.device])) {
    const there = await identitiesOf(device, signal).catch((error: unknown) =>
      toPrimaError(error, `looking at ${device}`),
    );
    if (!(there instanceof PrimaError) && isSameLun(identities, there)) return sizedLun(disk, device, signal);
    seen.push(there instanceof PrimaError ? there.message : `${device} is ${there.join(', ') || 'nameless'}`);
  }
  const [found, another] = await findDevices(identities);
  const who = `${name}, the device that was ${lun.device} (${identities.join(', ')})`;
  if (found === undefined) {
    throw new PrimaError(
      'not-found',
      `${who}, is not on this computer: ${seen.join('; ')}. Say where it is now (--lun DEVICE), or restore it as a disk file`,
      { details: { device: lun.device, identities } },
    );
  }
  if (another !== undefined)
    throw new PrimaError('ambiguous', `both ${found} and ${another} are ${who}; name one (--lun)`);
  return sizedLun(disk, found, signal);
}

async function sizedLun(
  { name, size }: PointDisk,
  device: string,
  signal?: AbortSignal,
): Promise<MappingFile> {
  const known = await describeDevice(device, signal);
  if (known.size === size) return known;
  throw new PrimaError(
    'refused',
    `${device} is the device that ${name} was, but has ${known.size} bytes now, and the point ${size}; restore it as a disk file`,
    { details: { device, size: known.size, wanted: size } },
  );
}

/** Raises `refused` where `device` is not the one that the disk was, or not of its size; `force` takes another one that is not smaller. */
export async function checkLun(
  disk: PointDisk,
  device: string,
  { force = false, signal }: { force?: boolean; signal?: AbortSignal },
): Promise<MappingFile> {
  const { name, size, lun } = disk;
  const known = await describeDevice(device, signal);
  const [is, was] = [known.identities, lun?.identities ?? []].map((names) => names.join(', ') || 'unknown');
  const differs =
    known.size === size || (force && known.size > size)
      ? undefined
      : `it has ${known.size} bytes, and ${name} has ${size}`;
  const isOther = !force && !isSameLun(lun?.identities ?? [], known.identities);
  const why = differs ?? (isOther ? `it is ${is}, and ${name} was ${was}` : undefined);
  if (why === undefined) return known;
  const advice = differs ? '' : '. If you know that it is to be written over, say --force';
  throw new PrimaError(
    'refused',
    `${device} is not known to be the device that ${name} was: ${why}${advice}`,
    {
      details: { device, size: known.size, wanted: size },
    },
  );
}

/**
 * Writes all of `source` to the device, zeros too, durably. Raises `busy` where it is in use on this computer, and what reading and
 * writing raise: then it is in part written, and the failure says so.
 */
export async function writeLun(
  source: BlockDevice,
  device: string,
  options: Pick<CopyOptions, 'signal' | 'onProgress'>,
): Promise<CopyResult> {
  await using _claim = await claimDevice(device);
  const target = await openDeviceForWriting(device, options.signal);
  try {
    const copied = await copyDevice(source, target, options);
    await target.flush();
    return copied;
  } catch (error) {
    const failure = toPrimaError(error, `writing ${device}`);
    throw new PrimaError(
      failure.code,
      `${failure.message}; ${device} is in part written now, and holds neither what it did nor the point`,
      { cause: failure, details: { ...failure.details, device } },
    );
  } finally {
    await target.close();
  }
}

/** Keeps file systems and other devices of this computer away from a block device. Of LUNs elsewhere nothing can be told. */
async function claimDevice(device: string): Promise<AsyncDisposable> {
  let handle: FileHandle | undefined;
  if (device.startsWith('/')) {
    const inUse = (by: string, cause?: unknown) =>
      new PrimaError('busy', `${device} is in use: ${by}; nothing was written`, {
        cause,
        details: { device },
      });
    if (await isOpenInQemu(await stat(device))) throw inUse('a QEMU on this computer has it open');
    handle = await open(device, constants.O_RDWR | constants.O_EXCL).catch((error: unknown) => {
      if (systemErrorCode(error) === 'EBUSY') throw inUse('it is mounted, or part of another device', error);
      throw toPrimaError(error, `claiming ${device}`);
    });
  }
  return { [Symbol.asyncDispose]: async () => handle?.close() };
}

/** Raised where nobody has said that the device may be written over. */
export function mustBeAsked(device: MappingFile): PrimaError {
  const who = device.identities.join(', ') || 'it has no name of its own';
  return new PrimaError(
    'refused',
    `restoring to ${device.device} (${who}; ${formatBytes(device.size)}) takes what is on it now, for good; say so with --overwrite-lun`,
    { details: { device: device.device } },
  );
}

/** What became of disks that were devices. */
export function lunNotes(
  disks: readonly PointDisk[],
  found: ReadonlyMap<string, MappingFile> | undefined,
  choice: LunChoice | undefined,
): string[] {
  return disks.flatMap(({ name, lun }) => {
    if (!lun) return [];
    const now = found?.get(name);
    if (!now) {
      const who = [lun.device, ...lun.identities].join(', ');
      return [
        `${name} was a device (${who}) and is a disk file now; --map-luns has it stand for the device again`,
      ];
    }
    const content = choice?.overwrite ? 'which holds what the point does' : 'on which nothing was changed';
    const moved = now.device === lun.device ? '' : ` (it was ${lun.device})`;
    return [`${name} stands for ${now.device}${moved}, ${content}`];
  });
}
