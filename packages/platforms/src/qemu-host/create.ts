/** Makes a machine from parameters. */
import { randomUUID } from 'node:crypto';
import { copyFile, rm, writeFile } from 'node:fs/promises';
import { constants } from 'node:fs';
import { join, resolve } from 'node:path';
import { MiB, PrimaError, toPrimaError, UserError } from '@prima/base';
import { copyDevice, openRawFile } from '@prima/block';
import { detectFormat, Vmx, writeQcow2File, writeVmx, writeVmxUuid } from '@prima/formats';
import type { CreateRequest } from '../platform.ts';
import { createImage, imageChain, openWithQemu } from '@prima/qemu';
import { resizeDisk } from './disk-files.ts';
import { checkMachineName, fileExists } from './machine-folder.ts';
import { newMac } from './restore.ts';
import { currentMachineType } from './run-record.ts';
import { makeStaging, publish } from './staging.ts';

/** Answers the machine's folder. Raises `exists`, `usage`. */
export async function createMachine(root: string, request: CreateRequest): Promise<string> {
  checkRequest(request);
  if (await fileExists(join(root, request.name))) {
    throw new PrimaError('exists', `there is something at ${join(root, request.name)} already`);
  }
  const staging = await makeStaging(root, request.name);
  try {
    const vmx = await configuration(request);
    for (const [index, disk] of request.disks.entries()) {
      const format = await formatFor(disk);
      const name = `disk${index}.${format}`;
      await makeDisk(join(staging, name), format, disk);
      const slot = `scsi0:${index}`;
      vmx.set(`${slot}.present`, 'TRUE');
      vmx.set(`${slot}.fileName`, name);
      vmx.set(`prima.${slot}.format`, format);
    }
    await writeFile(join(staging, `${request.name}.vmx`), writeVmx(vmx), { mode: 0o600 });
    return await publish(root, staging, request.name);
  } catch (error) {
    await rm(staging, { recursive: true, force: true });
    throw toPrimaError(error, `creating the machine ${request.name}`);
  }
}

function checkRequest({ name, memoryBytes, cpus, disks }: CreateRequest): void {
  checkMachineName(name);
  if (memoryBytes < 16 * MiB || memoryBytes % MiB !== 0) {
    throw new UserError('usage', `memory of ${memoryBytes} bytes: give whole MiB, at least 16`);
  }
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > 255) {
    throw new UserError('usage', `${cpus} processors: give 1 to 255`);
  }
  if (disks.length > 15) throw new UserError('usage', `${disks.length} disks: 15 at most`);
  for (const { size, copyOf } of disks) {
    const fits = size === undefined ? copyOf !== undefined : size > 0 && size % 512 === 0;
    if (!fits)
      throw new UserError('usage', 'a disk needs a size, a multiple of 512 bytes, or a file to copy');
  }
}

async function configuration(request: CreateRequest): Promise<Vmx> {
  const vmx = new Vmx();
  vmx.set('.encoding', 'UTF-8');
  vmx.set('displayName', request.name);
  vmx.set('guestOS', 'other-64');
  vmx.set('uuid.bios', writeVmxUuid(randomUUID()));
  vmx.set('memsize', String(request.memoryBytes / MiB));
  vmx.set('numvcpus', String(request.cpus));
  vmx.set('prima.machine', await currentMachineType());
  vmx.set('prima.cpu', 'max');
  for (const key of ['kernel', 'initrd'] as const) {
    const path = request[key];
    if (path !== undefined) vmx.set(`prima.${key}`, resolve(path));
  }
  if (request.append !== undefined) vmx.set('prima.append', request.append);
  if (request.disks.length > 0) {
    vmx.set('scsi0.present', 'TRUE');
    vmx.set('scsi0.virtualDev', request.diskController ?? 'virtio-blk');
  }
  if (request.network === 'user') {
    vmx.set('ethernet0.present', 'TRUE');
    vmx.set('ethernet0.connectionType', 'nat');
    vmx.set('ethernet0.addressType', 'static');
    vmx.set('ethernet0.address', newMac());
  }
  return vmx;
}

/** The format a disk gets: what was asked for; otherwise a copy is as its source where a machine can use that. */
async function formatFor({ format, copyOf }: CreateRequest['disks'][number]): Promise<'raw' | 'qcow2'> {
  if (format !== undefined) return format;
  if (copyOf === undefined) return 'raw';
  return (await detectFormat(copyOf)) === 'raw' ? 'raw' : 'qcow2';
}

async function makeDisk(
  path: string,
  format: 'raw' | 'qcow2',
  { size, copyOf }: CreateRequest['disks'][number],
): Promise<void> {
  if (copyOf === undefined) {
    await createImage(path, { format, size: size ?? 0 });
    return;
  }
  const chain = await imageChain(copyOf, await detectFormat(copyOf));
  const isPlain = chain.length === 1 && chain[0]?.format === format;
  if (isPlain) await copyFile(copyOf, path, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
  else await convert(copyOf, path, format);
  if (size !== undefined) await resizeDisk(path, format, size);
}

/** Writes the content of any disk, with its backing files, to a file of its own. */
async function convert(from: string, path: string, format: 'raw' | 'qcow2'): Promise<void> {
  const source = await openWithQemu(from, { format: await detectFormat(from) });
  try {
    if (format === 'qcow2') {
      await writeQcow2File(source, path);
      return;
    }
    const target = await openRawFile(path, { create: { size: source.size } });
    try {
      await copyDevice(source, target, { targetIsZero: true });
      await target.flush();
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}
