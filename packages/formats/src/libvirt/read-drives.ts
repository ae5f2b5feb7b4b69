/** The disks and CD-ROMs of a libvirt domain. */
import {
  type Bus,
  buses,
  type Cdrom,
  type Disk,
  type DriveSource,
  type Slot,
} from '../machine/description.ts';
import { oneOf, parseBelow } from '../machine/numbers.ts';
import { defined } from '../machine/translation.ts';
import type { XmlElement, XmlReading } from '@prima/xml';
import { diskIndex } from './domain-names.ts';

export function readDomainDrives(
  reading: XmlReading,
  devices: XmlElement | undefined,
): { disks: Disk[]; cdroms: Cdrom[] } {
  const disks: Disk[] = [];
  const cdroms: Cdrom[] = [];
  for (const element of reading.children(devices, 'disk')) {
    const device = reading.attribute(element, 'device') ?? 'disk';
    const slot = slotOf(reading, element);
    if (!slot || (device !== 'disk' && device !== 'lun' && device !== 'cdrom')) reading.unread(element);
    else if (device === 'cdrom') cdroms.push(cdromOf(reading, element, slot));
    else disks.push(diskOf(reading, element, slot));
  }
  return { disks, cdroms };
}

/** What a disk element of a domain is at; undefined for floppies and buses that descriptions lack. */
export function slotOf(reading: XmlReading, element: XmlElement): Slot | undefined {
  const target = reading.child(element, 'target');
  const dev = reading.attribute(target, 'dev') ?? '';
  const bus = oneOf<Bus>(buses, reading.attribute(target, 'bus') ?? busOf(dev));
  const index = diskIndex(dev) ?? 0;
  if (bus === undefined) return undefined;
  const address = reading.child(element, 'address');
  if (bus === 'virtio') {
    if (address) reading.unread(address);
    return { bus, controller: 0, unit: index };
  }
  const isOf = (type: string) =>
    address?.attributes.some(({ local, value }) => local === 'type' && value === type);
  if (!address || !isOf(bus === 'usb' ? 'usb' : 'drive')) {
    if (address) reading.unread(address);
    return implied(bus, index);
  }
  const part = (name: string) =>
    parseBelow(
      reading.attribute(address, name),
      65_536,
      `libvirt domain: address ${name} of ${dev.slice(0, 20)}`,
    ) ?? 0;
  reading.attribute(address, 'type');
  if (bus === 'usb') {
    const port =
      parseBelow(reading.attribute(address, 'port')?.split('.')[0], 256, 'libvirt domain: USB port') ?? 1;
    return { bus, controller: part('bus'), unit: Math.max(0, port - 1) };
  }
  const [controller, channel, targetId, unit] = [
    part('controller'),
    part('bus'),
    part('target'),
    part('unit'),
  ];
  if (bus === 'ide') return { bus, controller: controller * 2 + channel, unit };
  return { bus, controller, unit: targetId === 0 ? unit : targetId };
}

function busOf(dev: string): string | undefined {
  return dev.startsWith('hd')
    ? 'ide'
    : dev.startsWith('sd')
      ? 'scsi'
      : dev.startsWith('vd')
        ? 'virtio'
        : undefined;
}

/** Where libvirt puts a disk that has no address: by the letter of its target. */
function implied(bus: Bus, index: number): Slot {
  const units = bus === 'ide' ? 2 : bus === 'sata' ? 6 : bus === 'scsi' ? 7 : 702;
  return { bus, controller: Math.floor(index / units), unit: index % units };
}

function cdromOf(reading: XmlReading, element: XmlElement, slot: Slot): Cdrom {
  reading.child(element, 'readonly');
  const driver = reading.child(element, 'driver');
  const isUsual = ['qemu', undefined].includes(reading.attribute(driver, 'name'));
  if (isUsual && reading.attribute(driver, 'type') !== 'raw' && driver) reading.unread(driver);
  return defined({ slot, source: sourceOf(reading, element), bootIndex: bootIndexOf(reading, element) });
}

function diskOf(reading: XmlReading, element: XmlElement, slot: Slot): Disk {
  const driver = reading.child(element, 'driver');
  reading.attribute(driver, 'name');
  const isTransient = reading.child(element, 'transient');
  return defined<Disk>({
    slot,
    source: sourceOf(reading, element),
    format: reading.attribute(driver, 'type'),
    mode: isTransient ? 'nonpersistent' : undefined,
    readOnly: reading.child(element, 'readonly') ? true : undefined,
    serial: reading.childText(element, 'serial') || undefined,
    bootIndex: bootIndexOf(reading, element),
  });
}

/** The `order` of an element's own `<boot>`. */
export function bootIndexOf(reading: XmlReading, element: XmlElement): number | undefined {
  const order = reading.attribute(reading.child(element, 'boot'), 'order');
  return parseBelow(order, 65_536, 'libvirt domain: boot order');
}

function sourceOf(reading: XmlReading, element: XmlElement): DriveSource | undefined {
  const source = reading.child(element, 'source');
  reading.attribute(element, 'type');
  if (!source) return undefined;
  const found = locationOf(reading, source);
  if (!found) reading.unread(source);
  return found;
}

function locationOf(reading: XmlReading, source: XmlElement): DriveSource | undefined {
  const [file, dev] = [reading.attribute(source, 'file'), reading.attribute(source, 'dev')];
  if (file !== undefined) return { kind: 'file', location: file };
  if (dev !== undefined) return { kind: 'block', location: dev };
  const protocol = reading.attribute(source, 'protocol');
  if (protocol === undefined) return undefined;
  const name = reading.attribute(source, 'name') ?? '';
  if (protocol === 'rbd') return { kind: 'network', location: `rbd:${name}` };
  const host = reading.child(source, 'host');
  const isUnix = reading.attribute(host, 'transport') === 'unix';
  if (isUnix) {
    const socket = encodeURIComponent(reading.attribute(host, 'socket') ?? '');
    return { kind: 'network', location: `${protocol}+unix:///${name}?socket=${socket}` };
  }
  const port = reading.attribute(host, 'port');
  const address = `${reading.attribute(host, 'name') ?? ''}${port === undefined ? '' : `:${port}`}`;
  return { kind: 'network', location: `${protocol}://${address}/${name}` };
}
