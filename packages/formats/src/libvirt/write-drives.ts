/** The disks and CD-ROMs of a description → elements of a libvirt domain. */
import {
  type Cdrom,
  type Disk,
  type DriveSource,
  type MachineDescription,
  type ScsiModel,
  type Slot,
  slotName,
} from '../machine/description.ts';
import { type DialectPlaces, type Drive, drivesIn } from '../machine/drives.ts';
import { sameValue } from '../machine/translation.ts';
import {
  elementMaker,
  insertChild,
  removeChild,
  setAttribute,
  setText,
  type XmlElement,
  XmlReading,
} from '@prima/xml';
import { diskLetters, libvirtBuses, targetPrefixes } from './domain-names.ts';
import {
  ensureChild,
  findChildren,
  flagChild,
  insertDevice,
  removeChildren,
  replaceChild,
} from './domain-tree.ts';
import { slotOf } from './read-drives.ts';
import type { DomainWriting } from './write-domain.ts';

const element = elementMaker({});

export function writeDomainDrives(writing: DomainWriting, description: MachineDescription): void {
  const { devices, losses, before } = writing;
  const { ide, ...withoutIde } = libvirtBuses;
  const hasIde = ide !== undefined && !/q35/.test(description.machineType ?? '');
  const dialect: DialectPlaces = {
    name: 'libvirt',
    buses: hasIde ? libvirtBuses : withoutIde,
    cdromBuses: ['sata', 'ide', 'scsi', 'usb'],
    fallback: 'sata',
  };
  const drives = drivesIn(description, dialect, losses);
  const there = elementsBySlot(devices);
  const known = new Map<string, Disk | Cdrom>(
    [...(before?.disks ?? []), ...(before?.cdroms ?? [])].map((drive) => [slotName(drive.slot), drive]),
  );
  const models = new Map(description.scsiControllers.map(({ index, model }) => [index, model]));
  const kept = new Set(drives.map(({ slot }) => slotName(slot)));
  for (const [slot, disk] of there) if (!kept.has(slot)) removeChild(devices, disk);
  for (const drive of drives) {
    const name = slotName(drive.slot);
    const after = drive.disk ?? drive.cdrom;
    if (known.has(name) && sameValue({ ...known.get(name) }, { ...after, slot: drive.slot })) continue;
    const target = there.get(name) ?? newDisk(devices, drive.slot, models.get(drive.slot.controller));
    setAttribute(target, 'device', drive.disk ? 'disk' : 'cdrom');
    writeDrive(target, drive, losses);
  }
}

function elementsBySlot(devices: XmlElement): Map<string, XmlElement> {
  const found = new Map<string, XmlElement>();
  for (const disk of findChildren(devices, 'disk')) {
    const device = disk.attributes.find(({ local }) => local === 'device')?.value ?? 'disk';
    const slot = slotOf(new XmlReading(), disk);
    if (slot && ['disk', 'lun', 'cdrom'].includes(device)) found.set(slotName(slot), disk);
  }
  return found;
}

function newDisk(devices: XmlElement, slot: Slot, model: ScsiModel | undefined): XmlElement {
  const target = element('target', { dev: targetName(devices, slot), bus: slot.bus });
  const disk = element('disk', { type: 'file', device: 'disk' }, [target]);
  const address = addressOf(slot, model);
  if (address) disk.children.push(address);
  insertDevice(devices, disk);
  return disk;
}

function targetName(devices: XmlElement, { bus, controller, unit }: Slot): string {
  const prefix = targetPrefixes[bus] ?? 'sd';
  if (bus === 'virtio') return prefix + diskLetters(unit);
  if (bus === 'ide') return prefix + diskLetters(controller * 2 + unit);
  const taken = new Set(
    findChildren(devices, 'disk').flatMap((disk) =>
      findChildren(disk, 'target').flatMap(({ attributes }) => attributes.map(({ value }) => value)),
    ),
  );
  let index = 0;
  while (taken.has(prefix + diskLetters(index))) index += 1;
  return prefix + diskLetters(index);
}

/** QEMU's LSI controllers count units where the others count targets; virtio-scsi has units of one target. */
function addressOf({ bus, controller, unit }: Slot, model: ScsiModel | undefined): XmlElement | undefined {
  const drive = (channel: number, target: number, lun: number) =>
    element('address', {
      type: 'drive',
      controller: bus === 'ide' ? 0 : controller,
      bus: channel,
      target,
      unit: lun,
    });
  if (bus === 'virtio') return undefined;
  if (bus === 'usb') return element('address', { type: 'usb', bus: controller, port: unit + 1 });
  if (bus === 'ide') return drive(controller, 0, unit);
  const countsTargets =
    bus === 'scsi' && ['pvscsi', 'lsisas1068', 'lsisas1078', 'am53c974'].includes(model ?? '');
  return countsTargets ? drive(0, unit, 0) : drive(0, 0, unit);
}

function writeDrive(
  target: XmlElement,
  { disk, cdrom, where }: Drive,
  losses: DomainWriting['losses'],
): void {
  const drive = disk ?? cdrom;
  writeSource(target, drive?.source);
  const driver = ensureChild(target, 'driver');
  setAttribute(driver, 'name', 'qemu');
  setAttribute(driver, 'type', cdrom ? 'raw' : disk?.format);
  flagChild(target, 'readonly', disk?.readOnly === true || cdrom !== undefined);
  flagChild(target, 'transient', disk?.mode === 'nonpersistent');
  if (disk?.serial === undefined) removeChildren(target, 'serial');
  else setText(ensureChild(target, 'serial'), disk.serial);
  if (drive?.bootIndex === undefined) removeChildren(target, 'boot');
  else setAttribute(ensureChild(target, 'boot'), 'order', drive.bootIndex);
  losses.add(
    `${where}.capacityBytes`,
    disk?.capacityBytes,
    "a disk's size is in the disk, not in the domain",
  );
  if (disk?.mode !== 'nonpersistent') {
    losses.add(`${where}.mode`, disk?.mode, 'libvirt knows persistent and transient disks only');
  }
  if (disk?.readOnly === false)
    losses.add(`${where}.readOnly`, false, 'it is not said where a disk can be written');
}

function writeSource(target: XmlElement, source: DriveSource | undefined): void {
  setAttribute(target, 'type', source?.kind ?? 'file');
  if (!source) {
    removeChildren(target, 'source');
    return;
  }
  const { kind, location } = source;
  if (kind === 'network') replaceChild(target, networkSource(location));
  else replaceChild(target, element('source', { [kind === 'file' ? 'file' : 'dev']: location }));
}

/** `nbd://host:10809/export`, `nbd+unix:///export?socket=/path`, `rbd:pool/image`. */
function networkSource(location: string): XmlElement {
  const rbd = /^rbd:(.*)$/.exec(location)?.[1];
  if (rbd !== undefined) return element('source', { protocol: 'rbd', name: rbd });
  const parts =
    /^([\w.-]+?)(\+unix)?:\/\/(\[[^\]]*\]|[^/:]*)(?::(\d{1,5}))?\/([^?]*)(?:\?socket=(.*))?$/.exec(location);
  const [, protocol = 'nbd', unix, host = '', port, name = location, socket] = parts ?? [];
  const source = element('source', { protocol, name });
  const child = unix
    ? element('host', { transport: 'unix', socket: decoded(socket ?? '') })
    : element('host', { name: host, port });
  insertChild(source, child);
  return source;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a path with a per cent sign, written without escaping it
  }
}
