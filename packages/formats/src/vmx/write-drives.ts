/** The disks and CD-ROMs of a description → keys of a .vmx. */
import { PrimaError } from '@prima/base';
import {
  type Cdrom,
  type Disk,
  type MachineDescription,
  type ScsiModel,
  type Slot,
  slotName,
} from '../machine/description.ts';
import { type DialectBuses, type Drive, drivesIn } from '../machine/drives.ts';
import { sameValue } from '../machine/translation.ts';
import type { Vmx } from './vmx.ts';
import { put, type VmxWriting } from './write-description.ts';

const vmwareBuses: DialectBuses = {
  scsi: { controllers: 4, units: 64, reserved: 7 },
  ide: { controllers: 2, units: 2 },
  sata: { controllers: 4, units: 30 },
  nvme: { controllers: 4, units: 15 },
};

const cdromBuses = ['sata', 'ide', 'scsi'] as const;

const dialects = {
  vmware: { name: 'VMware', buses: vmwareBuses, cdromBuses, fallback: 'sata' },
  'plain-qemu': {
    name: 'a .vmx',
    buses: { ...vmwareBuses, virtio: { controllers: 4, units: 64 } },
    cdromBuses,
    fallback: 'sata',
  },
} as const;

const vmwareModels: ReadonlySet<ScsiModel> = new Set(['lsilogic', 'lsisas1068', 'buslogic', 'pvscsi']);

/** Returns where each drive is in the file: `disks[0]` at `scsi0:1`. */
export function writeVmxDrives(writing: VmxWriting, description: MachineDescription): Map<string, string> {
  const { vmx, flavour, losses, before } = writing;
  const drives = drivesIn(description, dialects[flavour], losses);
  writeControllers(writing, description, drives);
  const places = placeDrives(vmx, drives, description);
  const known = new Map(
    [...(before?.disks ?? []), ...(before?.cdroms ?? [])].map((drive) => [places(drive.slot), drive]),
  );
  const kept = new Set(drives.map(({ slot }) => places(slot)));
  for (const slot of known.keys()) if (!kept.has(slot)) deleteSlot(vmx, slot);
  for (const drive of drives) {
    const slot = places(drive.slot);
    const controller = slot.replace(/:.*/, '');
    if (!controller.startsWith('ide')) vmx.set(`${controller}.present`, 'TRUE');
    if (sameButBoot(known.get(slot), drive)) continue;
    if (drive.disk) writeDisk(writing, { slot, disk: drive.disk, where: drive.where });
    else if (drive.cdrom) writeCdrom(writing, { slot, cdrom: drive.cdrom, where: drive.where });
  }
  const isWritten = ({ slot }: Drive) =>
    vmx.has(`${places(slot)}.present`) || vmx.has(`${places(slot)}.fileName`);
  return new Map(drives.filter(isWritten).map(({ where, slot }) => [where, places(slot)]));
}

/** Where each slot is in the file: virtio-blk disks are on SCSI controllers of their own. */
function placeDrives(
  vmx: Vmx,
  drives: readonly Drive[],
  { scsiControllers }: MachineDescription,
): (slot: Slot) => string {
  const isVirtio = (index: number) => vmx.get(`scsi${index}.virtualDev`)?.toLowerCase() === 'virtio-blk';
  const all = Array.from({ length: 64 }, (_, index) => index);
  const used = new Set([
    ...drives.filter(({ slot }) => slot.bus === 'scsi').map(({ slot }) => slot.controller),
    ...scsiControllers.map(({ index }) => index),
  ]);
  const there = all.filter((index) => !used.has(index) && isVirtio(index));
  // Behind those that are there: they are numbered by their order.
  const free = all.filter((index) => !used.has(index) && index > (there.at(-1) ?? -1));
  const virtio = [...there, ...free];
  const count = Math.max(0, ...drives.map(({ slot }) => (slot.bus === 'virtio' ? slot.controller + 1 : 0)));
  for (const index of used) if (isVirtio(index)) vmx.delete(`scsi${index}.virtualDev`);
  for (const index of virtio.slice(0, count)) {
    vmx.set(`scsi${index}.present`, 'TRUE');
    vmx.set(`scsi${index}.virtualDev`, 'virtio-blk');
  }
  return (slot) => {
    if (slot.bus !== 'virtio') return slotName(slot);
    const index = virtio[slot.controller];
    if (index === undefined)
      throw new PrimaError('unsupported', 'a .vmx has no place for more SCSI controllers');
    return slotName({ ...slot, bus: 'scsi', controller: index });
  };
}

function deleteSlot(vmx: Vmx, slot: string): void {
  for (const prefix of [`${slot}.`, `prima.${slot}.`]) vmx.deleteAll(prefix);
}

function sameButBoot(before: Disk | Cdrom | undefined, { disk, cdrom, slot }: Drive): boolean {
  const after = disk ?? cdrom;
  return sameValue({ ...before, bootIndex: 0, slot }, { ...after, bootIndex: 0, slot });
}

function writeControllers(
  { vmx, losses, flavour, before }: VmxWriting,
  { scsiControllers }: MachineDescription,
  drives: readonly Drive[],
): void {
  const wanted = new Map(scsiControllers.map(({ index, model }) => [index, model]));
  for (const { index } of before?.scsiControllers ?? []) {
    if (!wanted.has(index)) vmx.delete(`scsi${index}.virtualDev`);
    if (!drives.some(({ slot }) => slot.bus === 'scsi' && slot.controller === index)) {
      vmx.delete(`scsi${index}.present`);
    }
  }
  for (const [at, { index, model }] of scsiControllers.entries()) {
    const isKnown = flavour === 'plain-qemu' || vmwareModels.has(model);
    if (!isKnown) {
      losses.add(
        `scsiControllers[${at}].model`,
        model,
        'VMware has no such controller; pvscsi takes its place',
      );
    }
    vmx.set(`scsi${index}.present`, 'TRUE');
    vmx.set(`scsi${index}.virtualDev`, isKnown ? model : 'pvscsi');
  }
}

function writeDisk(
  { vmx, losses, flavour }: VmxWriting,
  drive: { slot: string; disk: Disk; where: string },
): void {
  const { slot, disk, where } = drive;
  const { source, format, mode } = disk;
  if (!source || source.kind === 'network') {
    losses.add(where, source?.location ?? slot, 'a disk of a .vmx is a file or a device of the host');
    deleteSlot(vmx, slot);
    return;
  }
  vmx.set(`${slot}.present`, 'TRUE');
  vmx.set(`${slot}.fileName`, source.location);
  put(vmx, `${slot}.mode`, mode);
  const wasRaw = /^(?:rawDisk|.*cdrom.*)$/i.test(vmx.get(`${slot}.deviceType`) ?? '');
  if (source.kind === 'block') vmx.set(`${slot}.deviceType`, 'rawDisk');
  else if (wasRaw) vmx.delete(`${slot}.deviceType`);
  const isSaid = format === 'vmdk' && /\.vmdk$/i.test(source.location);
  if (flavour === 'plain-qemu') put(vmx, `prima.${slot}.format`, isSaid ? undefined : format);
  else if (!isSaid)
    losses.add(`${where}.format`, format, 'VMware runs VMDKs only: the disk has to be converted');
  losses.add(`${where}.capacityBytes`, disk.capacityBytes, "a disk's size is in the disk, not in the .vmx");
  losses.add(`${where}.serial`, disk.serial, 'VMware makes the serial numbers of disks');
  losses.add(`${where}.readOnly`, disk.readOnly, 'VMware has no disks that cannot be written');
}

function writeCdrom(
  { vmx, losses }: VmxWriting,
  { slot, cdrom, where }: { slot: string; cdrom: Cdrom; where: string },
): void {
  const { source } = cdrom;
  const isNetwork = source?.kind === 'network';
  if (isNetwork) losses.add(`${where}.source`, source.location, 'VMware has no CD-ROMs over the network');
  vmx.set(`${slot}.present`, 'TRUE');
  const isImage = source !== undefined && !isNetwork;
  vmx.set(`${slot}.deviceType`, isImage && source.kind === 'block' ? 'atapi-cdrom' : 'cdrom-image');
  put(vmx, `${slot}.fileName`, isImage ? source.location : undefined);
}
