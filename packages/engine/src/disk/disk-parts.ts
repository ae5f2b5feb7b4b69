/** The files that a disk is made of: all that is renamed, deleted, and changed with it. */
import { realpath, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { PrimaError, statIfThere, toPrimaError } from '@prima/base';
import {
  type DetectedFormat,
  type ExtentDescription,
  type LinkText,
  localFolder,
  readLinkText,
  type VmdkDescriptor,
} from '@prima/formats';
import { imageChain } from '@prima/qemu';
import { isOpenInQemu } from '../backup/file-in-use.ts';
import type { NamedDisk } from './inspect-disk.ts';
import { formatOf } from './open-disk.ts';

export interface DiskPart {
  path: string;
  /** The extent that it holds, where it is one; a file may hold several. */
  extent?: ExtentDescription;
  isMissing: boolean;
}

export interface DiskParts {
  /** Where the disk is opened by, symbolic links followed. */
  path: string;
  format: DetectedFormat['format'];
  /** Its own files, the one at `path` first; none of its parents'. */
  files: DiskPart[];
  /** Of a VMDK. */
  text?: LinkText;
  descriptor?: VmdkDescriptor;
  /** The descriptor is in the extent itself. */
  isEmbedded: boolean;
  /** Files of other disks that it is based on, as it names them. */
  parent?: string;
}

/** Looks only: files that are named and not there are `isMissing`. Raises what reading the format raises. */
export async function diskParts(disk: NamedDisk, option = '--format'): Promise<DiskParts> {
  const path = await realpath(disk.path).catch((error: unknown) => {
    throw toPrimaError(error, `looking for the disk ${disk.path}`);
  });
  const { format } = await formatOf(path, { format: disk.format, option });
  if (!(await stat(path)).isFile()) {
    throw new PrimaError('unsupported', `${path} is a device, which is neither made nor changed as a file`);
  }
  if (format === 'vmdk') return vmdkParts(path, disk.allowed ?? []);
  const self = { path, isMissing: false };
  const plain = { path, format, isEmbedded: false };
  if (format !== 'qcow2') return { ...plain, files: [self] };
  const [top, below] = await imageChain(path, format);
  const data = top?.dataFile === undefined ? [] : [await partAt(top.dataFile)];
  return { ...plain, files: [self, ...data], ...(below && { parent: below.path }) };
}

async function vmdkParts(path: string, allowed: readonly string[]): Promise<DiskParts> {
  const folder = localFolder([...allowed, dirname(path)]);
  const text = await readLinkText(path, folder);
  const { descriptor, parent } = text;
  const isEmbedded = descriptor !== undefined && text.format !== 'descriptor';
  const self: DiskPart = { path, isMissing: false };
  const [only] = descriptor?.extents ?? [];
  if (isEmbedded && only) self.extent = only;
  const files = [self];
  const add = async (name: string, extent?: ExtentDescription) => {
    const part = await namedPart(name, path, folder);
    if (!part.isMissing && !(await stat(part.path)).isFile()) return; // a device is not the disk's own
    if (files.every((other) => other.path !== part.path)) files.push({ ...part, ...(extent && { extent }) });
  };
  for (const extent of isEmbedded ? [] : (descriptor?.extents ?? [])) {
    if (extent.file !== undefined && extent.type !== 'VMFSRAW') await add(extent.file, extent);
  }
  if (descriptor?.changeTrackPath !== undefined) await add(descriptor.changeTrackPath);
  return {
    path,
    format: 'vmdk',
    files,
    text,
    ...(descriptor && { descriptor }),
    isEmbedded,
    ...(parent && { parent: parent.hint }),
  };
}

async function namedPart(
  name: string,
  beside: string,
  folder: ReturnType<typeof localFolder>,
): Promise<DiskPart> {
  try {
    return { path: await folder.resolve(name, beside), isMissing: false };
  } catch (error) {
    if (!(error instanceof PrimaError) || error.code !== 'not-found') throw error;
    return { path: resolve(dirname(beside), name), isMissing: true };
  }
}

async function partAt(path: string): Promise<DiskPart> {
  return { path, isMissing: (await statIfThere(path)) === undefined };
}

/** Raises `not-found` when a part is missing, `busy` when a QEMU has one open, for reading too. */
export async function assertUsable({ files, path }: DiskParts, doing: string): Promise<void> {
  const missing = files.find(({ isMissing }) => isMissing);
  if (missing) {
    throw new PrimaError('not-found', `${doing}: ${missing.path}, which belongs to ${path}, is not there`);
  }
  await assertUnused(files, doing);
}

export async function assertUnused(files: readonly DiskPart[], doing: string): Promise<void> {
  for (const { path } of files) {
    const found = await statIfThere(path);
    if (found === undefined || !(await isOpenInQemu(found))) continue;
    throw new PrimaError('busy', `${doing}: ${path} is open in a running QEMU; stop what uses it first`, {
      details: { path },
      retryable: true,
    });
  }
}

/** Where redo logs of ESX 2 lie: beside the disk, under its name. */
export function redoLogName(path: string): string {
  return `${path}.REDO`;
}
