/** The disks and CD-ROMs of a description → items and disks of an OVF envelope. */
import {
  type Bus,
  type Disk,
  type DriveSource,
  type MachineDescription,
  slotName,
} from '../machine/description.ts';
import { type Drive, drivesIn } from '../machine/drives.ts';
import type { Losses } from '../machine/translation.ts';
import { elementMaker, type XmlElement } from '@prima/xml';
import type { ItemMaker } from './items.ts';
import { formatUri, ovfNamespaces, resourceType, scsiSubTypes } from './ovf-names.ts';
import type { FileNames } from './write-ovf.ts';

const element = elementMaker(ovfNamespaces);

const dialect = {
  name: 'an envelope',
  buses: {
    scsi: { controllers: 4, units: 64, reserved: 7 },
    ide: { controllers: 2, units: 2 },
    sata: { controllers: 4, units: 30 },
    nvme: { controllers: 4, units: 15 },
    virtio: { controllers: 4, units: 64 },
  },
  cdromBuses: ['sata', 'ide', 'scsi'],
  fallback: 'sata',
} as const;

export function drivesFor(description: MachineDescription, losses: Losses): Drive[] {
  return drivesIn(description, dialect, losses);
}

interface DriveWriting {
  items: ItemMaker;
  drives: readonly Drive[];
  files: FileNames;
  losses: Losses;
  description: MachineDescription;
}

const busItems: Readonly<Record<Bus, { type: number; subType?: string; name: string }>> = {
  ide: { type: resourceType.ide, name: 'IDE controller' },
  scsi: { type: resourceType.scsi, name: 'SCSI controller' },
  sata: { type: resourceType.otherStorage, subType: 'vmware.sata.ahci', name: 'SATA controller' },
  nvme: { type: resourceType.otherStorage, subType: 'vmware.nvme.controller', name: 'NVMe controller' },
  virtio: { type: resourceType.otherStorage, subType: 'virtio', name: 'virtio controller' },
  usb: { type: resourceType.other, name: 'USB controller' },
};

export function writeDriveItems(writing: DriveWriting): { disks: XmlElement[] } {
  const { items, drives, files, losses } = writing;
  const controllers = writeControllers(writing);
  const disks: XmlElement[] = [];
  for (const { slot, disk, cdrom, where } of drives) {
    const parent = controllers.get(`${slot.bus}${slot.controller}`);
    const file = fileOf((disk ?? cdrom)?.source, { where, files, losses });
    const place = { parent, addressOnParent: slot.unit };
    if (disk) {
      const id = `vmdisk${disks.length + 1}`;
      disks.push(writeDisk(disk, { id, fileRef: file, where, losses }));
      const more = { 'rasd:HostResource': `ovf:/disk/${id}` };
      items.add(resourceType.disk, { name: `Disk ${slotName(slot)}`, ...place, more });
    } else {
      const more = { 'rasd:HostResource': file === undefined ? undefined : `ovf:/file/${file}` };
      items.add(resourceType.cdrom, { name: `CD-ROM ${slotName(slot)}`, ...place, more });
    }
    losses.add(`${where}.bootIndex`, (disk ?? cdrom)?.bootIndex, 'an envelope has no order of devices');
  }
  return { disks };
}

function writeControllers({ items, drives, losses, description }: DriveWriting): Map<string, number> {
  const controllers = new Map<string, number>();
  const add = (bus: Bus, index: number, subType?: string) => {
    const { type, subType: usual, name } = busItems[bus];
    const more = { 'rasd:Address': index };
    controllers.set(
      `${bus}${index}`,
      items.add(type, { name: `${name} ${index}`, subType: subType ?? usual, more }),
    );
  };
  for (const { index, model } of description.scsiControllers) add('scsi', index, scsiSubTypes[model][0]);
  for (const { slot } of drives) {
    if (controllers.has(`${slot.bus}${slot.controller}`)) continue;
    add(slot.bus, slot.controller, slot.bus === 'scsi' ? 'lsilogic' : undefined);
    if (slot.bus === 'scsi') {
      losses.add(
        'scsiControllers',
        `lsilogic is written for scsi${slot.controller}`,
        'an envelope says which',
      );
    }
  }
  return controllers;
}

function fileOf(
  source: DriveSource | undefined,
  { where, files, losses }: { where: string; files: FileNames; losses: Losses },
): string | undefined {
  if (!source) return undefined;
  if (source.kind !== 'file') {
    losses.add(`${where}.source`, source.location, 'files of a package lie beside its envelope');
    return undefined;
  }
  const { id, name } = files.add(source.location);
  if (name !== source.location)
    losses.add(`${where}.source.location`, source.location, `it is ${name} in the package`);
  return id;
}

function writeDisk(
  disk: Disk,
  { id, fileRef, where, losses }: { id: string; fileRef: string | undefined; where: string; losses: Losses },
): XmlElement {
  const { uri, isOurs } = formatUri(disk.format ?? 'vmdk');
  if (disk.format === undefined)
    losses.add(`${where}.format`, 'vmdk is written', 'an envelope has to say one');
  else if (isOurs)
    losses.add(`${where}.format`, disk.format, 'there is no address for it that other tools know');
  if (disk.capacityBytes === undefined) {
    losses.add(`${where}.capacityBytes`, '0 is written', 'an envelope has to say how large a disk is');
  }
  const why = 'an envelope has no place for it';
  losses.add(`${where}.mode`, disk.mode, why);
  losses.add(`${where}.readOnly`, disk.readOnly, why);
  losses.add(`${where}.serial`, disk.serial, why);
  return element('Disk', {
    'ovf:capacity': disk.capacityBytes ?? 0,
    'ovf:capacityAllocationUnits': 'byte',
    'ovf:diskId': id,
    'ovf:fileRef': fileRef,
    'ovf:format': uri,
  });
}
