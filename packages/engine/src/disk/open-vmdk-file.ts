/** A VMDK on this computer, with its extents, parents and mapped devices, opened to be read. */
import { stat } from 'node:fs/promises';
import { PrimaError, toPrimaError } from '@prima/base';
import { openVmdk, type VmdkInfo } from '@prima/formats';
import { type FoundLun, mappingOpener } from '@prima/qemu';
import { isOpenForWriting } from '../backup/file-in-use.ts';
import type { OpenDiskFileOptions, OpenedDiskFile } from './open-disk.ts';

/** Raises what the format's reader raises, and `busy` where a QEMU writes to one of its files. */
export async function openVmdkFile(
  path: string,
  { allowed, mappings = true, signal }: OpenDiskFileOptions,
): Promise<Omit<OpenedDiskFile, 'format' | 'reason'>> {
  const notes: string[] = [];
  let lun: FoundLun | undefined;
  const openMapping = mappingOpener({
    note: (text) => notes.push(text),
    onFound: (found) => (lun = found),
    signal,
  });
  const { device, info } = await openVmdk(path, {
    roots: allowed,
    ...(mappings && { openMapping }),
    signal,
  });
  try {
    const files = vmdkFiles(info);
    for (const file of files) await assertNobodyWrites(file);
    const basedOn = info.parents.map((parent) => ({ path: parent.path, format: 'vmdk' }));
    return {
      device,
      basedOn,
      files,
      vmdk: { ...info, notes: [...info.notes, ...notes] },
      ...(lun && { lun }),
    };
  } catch (error) {
    await device.close();
    throw error;
  }
}

/** All files of a VMDK and its parents, each once. */
function vmdkFiles({ path, extents, parents }: VmdkInfo): string[] {
  const links = [{ path, extents }, ...parents];
  const all = links.flatMap((link) => [link.path, ...link.extents.map((extent) => extent.path ?? link.path)]);
  return [...new Set(all)];
}

async function assertNobodyWrites(path: string): Promise<void> {
  const found = await stat(path).catch((error: unknown) => {
    throw toPrimaError(error, `looking at ${path}`);
  });
  if (!(await isOpenForWriting(found))) return;
  throw new PrimaError(
    'busy',
    `${path} is open for writing in a running QEMU, so what is read of it would be of no single moment; stop the machine, ` +
      'or back it up as a machine',
    { details: { path }, retryable: true },
  );
}
