/** A machine from a restore point: staged out of sight, then published by one rename. */
import { randomBytes, randomUUID } from 'node:crypto';
import { open, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { formatBytes, PrimaError, syncFolder, systemRandom } from '@prima/base';
import { openRawFile, type WritableDevice } from '@prima/block';
import { createImage, openWithQemu } from '@prima/qemu';
import { mappingName, newMapping, parseVmx, type Vmx, writeVmx, writeVmxUuid } from '@prima/formats';
import type { Machine, RestoreDisk, RestoreRequest, RestoreTarget } from '../platform.ts';
import { freeBytes } from './live-plan.ts';
import { checkMachineName, fileExists, memoryLaunchName, memoryName } from './machine-folder.ts';
import { currentMachineType } from './run-record.ts';
import { discardFolder, makeStaging, publish } from './staging.ts';
import { translateMachine } from './translate-machine.ts';

export interface RestoreWork {
  root: string;
  request: RestoreRequest;
  /** Machines that are on this host now. */
  present: readonly Pick<Machine, 'id' | 'name'>[];
  /** Looks at the published machine, and starts it where that is wanted. */
  published(folder: string, start: boolean): Promise<Machine>;
}

interface StagedDisk {
  slot: string;
  /** Where it will be, and where it is now. */
  path: string;
  staged: string;
  format: 'raw' | 'qcow2' | 'vmdk';
  /** Absent for a disk that stands for a device. */
  device?: WritableDevice;
}

export async function prepareRestore(work: RestoreWork): Promise<RestoreTarget> {
  const { root, request } = work;
  checkMachineName(request.name);
  const { pool, format, networks, replace } = request;
  if (pool !== undefined || format !== undefined || networks !== undefined || replace === true) {
    throw new PrimaError(
      'unsupported',
      'plain QEMU hosts have no pools and networks to choose from, keep formats and replace no machine: leave --to-pool, --format, --network and --replace out',
    );
  }
  if (work.present.some(({ name }) => name === request.name)) {
    throw new PrimaError(
      'exists',
      `there is a machine ${request.name} on this host; restore it under another name`,
    );
  }
  await assertRoom(root, request);
  const notes: string[] = [];
  const { vmx, slotOf } = await configurationOf(work, notes);
  const staging = await makeStaging(root, request.name);
  const devices: WritableDevice[] = [];
  try {
    await writeFiles(staging, request);
    const disks: StagedDisk[] = [];
    const placed: StagedDisk[] = [];
    for (const disk of request.disks) {
      const own = { ...disk, slot: slotOf(disk.slot) };
      const work = { staging, folder: join(root, request.name), vmx, notes, taken: disks };
      const made = await (disk.lun ? stageMapping(own, disk.lun, work) : stageDisk(own, work));
      if (made.device) devices.push(made.device);
      disks.push({ ...made, slot: disk.slot });
      placed.push(made);
      placeDisk(vmx, made);
    }
    dropOtherDisks(vmx, placed, notes);
    const memory = request.memory && (await stageMemory(staging, request));
    if (memory) devices.push(memory);
    await writeFile(join(staging, `${request.name}.vmx`), writeVmx(vmx), { mode: 0o600 });
    return target({ work, staging, devices, disks, memory, notes });
  } catch (error) {
    await closeAll(devices);
    await rm(staging, { recursive: true, force: true });
    throw error;
  }
}

/** Asked before anything is written, which would be for nothing. */
async function assertRoom(root: string, { name, dataBytes = 0 }: RestoreRequest): Promise<void> {
  const free = await freeBytes(root);
  if (free >= dataBytes) return;
  throw new PrimaError(
    'no-space',
    `${root} has ${formatBytes(free)} left, and ${name} needs ${formatBytes(dataBytes)}; nothing was written`,
    { details: { folder: root, free, needed: dataBytes } },
  );
}

interface Staged {
  work: RestoreWork;
  staging: string;
  devices: WritableDevice[];
  disks: StagedDisk[];
  memory: WritableDevice | undefined;
  notes: string[];
}

function target({ work, staging, devices, disks, memory, notes }: Staged): RestoreTarget {
  const { root, request } = work;
  let over = false;
  return {
    disks,
    notes,
    ...(memory ? { memory } : {}),
    commit: async (options = {}) => {
      for (const device of devices) await device.flush();
      await closeAll(devices);
      const mappings = disks.filter(({ format }) => format === 'vmdk').map(({ path }) => basename(path));
      await syncFiles(staging, [
        `${request.name}.vmx`,
        ...request.files.map(({ name }) => name),
        ...mappings.flatMap((name) => [name, mappingName(name, 'virtual')]),
      ]);
      const folder = await publish(root, staging, request.name);
      over = true;
      return work.published(folder, options.start ?? false);
    },
    abort: async () => {
      await closeAll(devices);
      if (over) return;
      over = true;
      await discardFolder(root, staging);
    },
  };
}

async function closeAll(devices: readonly WritableDevice[]): Promise<void> {
  for (const device of devices) await device.close();
}

interface Configuration {
  vmx: Vmx;
  /** What the .vmx calls a slot of the request. */
  slotOf: (slot: string) => string;
}

/** The point's .vmx with the name, and where it must be, the identity of the machine that it becomes. */
async function configurationOf(work: RestoreWork, notes: string[]): Promise<Configuration> {
  const { files, foreign, name } = work.request;
  if (foreign) {
    const translated = translateMachine(foreign, await currentMachineType());
    notes.push(...translated.notes);
    identify(translated.vmx, work, notes);
    return translated;
  }
  const file = files.find((one) => one.name.toLowerCase().endsWith('.vmx'));
  if (!file) {
    const message = `the point of ${name} has no .vmx: it does not come from a host of this kind`;
    throw new PrimaError('unsupported', message);
  }
  const vmx = parseVmx(file.bytes);
  identify(vmx, work, notes);
  return { vmx, slotOf: (slot) => slot };
}

function identify(vmx: Vmx, { request, present }: RestoreWork, notes: string[]): void {
  const copied = vmx.get('displayName') !== request.name;
  const original = present.find(({ id }) => id === request.id);
  if (copied || original || vmx.get('uuid.bios') === undefined) {
    vmx.set('uuid.bios', writeVmxUuid(randomUUID()));
    vmx.delete('uuid.location');
    const why = original
      ? `${original.name} has the original's`
      : copied
        ? 'it has another name than the original'
        : 'its configuration says none';
    notes.push(`the machine gets a new UUID: ${why}`);
  }
  if (original && !request.memory) renewMacs(vmx, notes);
  vmx.set('displayName', request.name);
}

function renewMacs(vmx: Vmx, notes: string[]): void {
  for (const key of vmx.keys()) {
    const match = /^(ethernet\d+)\.(generatedAddress|address)$/i.exec(key);
    if (!match) continue;
    vmx.set(key, newMac());
    notes.push(`${match[1]} gets a new MAC address: the original's machine is on this host`);
  }
}

/** Of the range that QEMU uses. */
export function newMac(): string {
  const [a = 0, b = 0, c = 0] = randomBytes(3);
  return ['52', '54', '00', ...[a, b, c].map((byte) => byte.toString(16).padStart(2, '0'))].join(':');
}

/** All of the point's files but its .vmx; names are plain ones or refused. */
async function writeFiles(staging: string, { files, memory }: RestoreRequest): Promise<void> {
  for (const { name, bytes } of files) {
    if (name.toLowerCase().endsWith('.vmx') || (name === memoryLaunchName && !memory)) continue;
    if (name !== basename(name) || name.startsWith('.') || name === '') {
      throw new PrimaError('format', `the point holds a file "${name}", which is no plain file name`);
    }
    await writeFile(join(staging, name), bytes, { mode: 0o600, flag: 'wx' });
  }
}

async function syncFiles(folder: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const path = join(folder, name);
    if (!(await fileExists(path))) continue;
    const handle = await open(path, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
  await syncFolder(folder);
}

interface DiskWork {
  staging: string;
  folder: string;
  vmx: Vmx;
  notes: string[];
  taken: readonly StagedDisk[];
}

async function stageDisk(disk: RestoreDisk, work: DiskWork): Promise<StagedDisk> {
  const format = disk.format === 'qcow2' ? 'qcow2' : 'raw';
  if (format !== disk.format) work.notes.push(`${disk.name} was ${disk.format} and becomes raw`);
  const name = diskFileName(disk, format, work);
  const staged = join(work.staging, name);
  const device =
    format === 'raw'
      ? await openRawFile(staged, { create: { size: disk.size } })
      : await createQcow2(staged, disk.size);
  return { slot: disk.slot, path: join(work.folder, name), staged, format, device };
}

/** A raw device mapping, in virtual mode, under the name that it had where that is one of a VMDK's. */
async function stageMapping(
  disk: RestoreDisk,
  lun: NonNullable<RestoreDisk['lun']>,
  { staging, folder, vmx, taken }: DiskWork,
): Promise<StagedDisk> {
  const before = basename(vmx.get(`${disk.slot}.fileName`) ?? '');
  const plain = /^[A-Za-z0-9][A-Za-z0-9._ -]*\.vmdk$/.test(before);
  const free = (name: string) => !taken.some(({ path }) => path === join(folder, name));
  const name = plain && free(before) ? before : `${disk.name}.vmdk`;
  const { device, identities } = lun;
  const made = newMapping(
    { version: 1, name, mode: 'virtual', device, identities, size: disk.size },
    systemRandom,
  );
  const staged = join(staging, name);
  await writeFile(staged, made.descriptor, { mode: 0o600, flag: 'wx' });
  await writeFile(join(staging, mappingName(name, 'virtual')), made.mapping, { mode: 0o600, flag: 'wx' });
  return { slot: disk.slot, path: join(folder, name), staged, format: 'vmdk' };
}

async function createQcow2(path: string, size: number): Promise<WritableDevice> {
  await createImage(path, { format: 'qcow2', size });
  return openWithQemu(path, { format: 'qcow2', writable: true });
}

/** The name it had, where that is a plain one that fits the format; otherwise `disk0.raw`. */
function diskFileName(disk: RestoreDisk, format: 'raw' | 'qcow2', { vmx, taken, folder }: DiskWork): string {
  const before = basename(vmx.get(`${disk.slot}.fileName`) ?? '');
  const free = (name: string) => !taken.some(({ path }) => path === join(folder, name));
  const plain =
    /^[A-Za-z0-9][A-Za-z0-9._ -]*\.[a-z0-9]+$/.test(before) && !/\.(vmx|nvram|vmxf|vmsd)$/i.test(before);
  if (
    format === disk.format &&
    plain &&
    before !== memoryName &&
    before !== memoryLaunchName &&
    free(before)
  ) {
    return before;
  }
  for (let number = 0; ; number += 1) {
    const name = number === 0 ? `${disk.name}.${format}` : `${disk.name}-${number}.${format}`;
    if (free(name)) return name;
  }
}

function placeDisk(vmx: Vmx, { slot, path, format }: StagedDisk): void {
  vmx.set(`${slot}.present`, 'TRUE');
  vmx.set(`${slot}.fileName`, basename(path));
  vmx.set(`prima.${slot}.format`, format);
  vmx.delete(`${slot}.redo`);
}

/** Disks that the point does not have must not be looked for at their old places. */
function dropOtherDisks(vmx: Vmx, disks: readonly StagedDisk[], notes: string[]): void {
  for (const key of vmx.keys()) {
    const slot = /^((?:scsi|sata|ide|nvme)\d+:\d+)\.fileName$/i.exec(key)?.[1]?.toLowerCase();
    if (slot === undefined || disks.some((disk) => disk.slot === slot)) continue;
    vmx.set(`${slot}.present`, 'FALSE');
    notes.push(`${slot} is not in the point and is left out of the machine`);
  }
}

async function stageMemory(staging: string, request: RestoreRequest): Promise<WritableDevice> {
  if (!request.files.some(({ name }) => name === memoryLaunchName)) {
    const message = `the point of ${request.name} has memory, but not what the machine ran on (${memoryLaunchName})`;
    throw new PrimaError('format', message);
  }
  return openRawFile(join(staging, memoryName), { create: { size: request.memory?.size ?? 0 } });
}
