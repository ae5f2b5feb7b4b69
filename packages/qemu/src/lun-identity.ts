/** Who a device is, and where it is now: Linux's /sys for block devices, vital product data for iSCSI LUNs. */
import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PrimaError, systemErrorCode, toPrimaError } from '@prima/base';
import { identitiesOfPage80, identitiesOfPage83, isSameLun, serialIdentity } from '@prima/formats';
import { inquireIscsi } from './iscsi.ts';
import { parseIscsiUrl } from './iscsi-url.ts';

/** Files below /sys/block/NAME that name a device, and what they make of it. */
const places: readonly [file: string, read: (bytes: Buffer) => string[]][] = [
  ['device/vpd_pg83', identitiesOfPage83],
  ['device/vpd_pg80', identitiesOfPage80],
  ['wwid', (bytes) => named(bytes, '')],
  ['device/wwid', (bytes) => named(bytes, '')],
  ['serial', (bytes) => serialIdentity(bytes.toString('latin1'))],
  ['device/serial', (bytes) => serialIdentity(bytes.toString('latin1'))],
  ['dm/uuid', (bytes) => named(bytes, 'dm.')],
  ['loop/backing_file', (bytes) => named(bytes, 'file.')],
];

/** @param device `/dev/…` or `iscsi://…`. Raises `not-found`, `unsupported` for what is no device, `remote`. */
export async function identitiesOf(device: string, signal?: AbortSignal): Promise<string[]> {
  const lun = parseIscsiUrl(device);
  return lun ? inquireIscsi(lun, signal) : identitiesInSystem(await systemFolder(device));
}

/** The block devices of this computer that are the one with these identities. */
export async function findDevices(identities: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  const names = await readdir('/sys/block').catch((error: unknown) => {
    throw toPrimaError(error, 'looking for the block devices of this computer');
  });
  for (const name of names) {
    if (isSameLun(identities, await identitiesInSystem(join('/sys/block', name))))
      found.push(`/dev/${name.replaceAll('!', '/')}`);
  }
  return found;
}

async function systemFolder(path: string): Promise<string> {
  const info = await stat(path).catch((error: unknown) => {
    throw toPrimaError(error, `looking at the device ${path}`);
  });
  if (!info.isBlockDevice()) {
    throw new PrimaError(
      'unsupported',
      `${path} is no block device, and only devices are mapped; a file is a disk as it is`,
    );
  }
  // glibc's makedev, as in file-in-use.ts
  const major = Math.floor(info.rdev / 2 ** 8) & 0xfff;
  const minor = (info.rdev & 0xff) | (Math.floor(info.rdev / 2 ** 12) & 0xfff00);
  return realpath(`/sys/dev/block/${major}:${minor}`).catch((error: unknown) => {
    throw toPrimaError(error, `looking up ${path} in /sys`);
  });
}

async function identitiesInSystem(folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const [file, read] of places) {
    const bytes = await readFile(join(folder, file)).catch((error: unknown) => {
      if (systemErrorCode(error) === undefined) throw error;
      return undefined; // most devices have few of these
    });
    if (bytes) found.push(...read(bytes));
  }
  return [...new Set(found)];
}

function named(bytes: Buffer, prefix: string): string[] {
  const text = bytes.toString('latin1').replaceAll('\0', '').trim();
  return text === '' ? [] : [prefix + text];
}
