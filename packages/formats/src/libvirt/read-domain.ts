/** libvirt's domain XML → description. Which element is which member: docs/format/machine-configuration.md. */
import { FormatError } from '@prima/base';
import { type XmlDocument, type XmlElement, XmlReading } from '@prima/xml';
import type { CpuTopology, Cpus, Firmware, MachineDescription } from '../machine/description.ts';
import { multiply, oneOf, parseBelow, parseUuid, parseWhole } from '../machine/numbers.ts';
import { defined, Losses, type Translation } from '../machine/translation.ts';
import { nameOf, scsiModelNames, unitBytes } from './domain-names.ts';
import { readDomainDevices } from './read-devices.ts';
import { readDomainDrives } from './read-drives.ts';

/** What a domain says for itself and its host alone: nothing is lost without it. */
const silentPaths = [/\/alias$/, /\/@id$/, /\/address$/, /\/backingStore$/];

/** Raises `format` where the root is no domain or a value is none. */
export function readDomain({ root }: XmlDocument): Translation<MachineDescription> {
  if (root.local !== 'domain') {
    throw new FormatError(`libvirt domain: the root is <${root.name}> where <domain> was expected`);
  }
  const reading = new XmlReading();
  const losses = new Losses();
  reading.attribute(root, 'type');
  const os = reading.child(root, 'os');
  const devices = reading.child(root, 'devices');
  reading.childText(devices, 'emulator');
  const name = reading.childText(root, 'name');
  if (name === undefined || name === '') throw new FormatError('libvirt domain: it has no <name>');
  const description = defined<MachineDescription>({
    name,
    uuid: parseUuid(reading.childText(root, 'uuid'), 'libvirt domain: <uuid>'),
    annotation: reading.childText(root, 'description') || undefined,
    guestOs: readLibosinfo(reading, root),
    memoryBytes: readMemory(reading, root),
    cpus: readCpus(reading, root),
    machineType: reading.attribute(readType(reading, os), 'machine'),
    firmware: readFirmware(reading, os),
    kernel: readKernel(reading, os),
    clock: readClock(reading, root),
    scsiControllers: readScsiControllers(reading, devices),
    ...readDomainDrives(reading, devices),
    ...readDomainDevices(reading, devices, losses),
  });
  readLegacyBoot(reading, os, description);
  listUnread(reading, root, losses);
  return { result: description, notCarried: losses.list };
}

function listUnread(reading: XmlReading, root: XmlElement, losses: Losses): void {
  const silent: string[] = [];
  for (const { path, count, sample } of reading.unreadPaths(root)) {
    if (silentPaths.some((pattern) => pattern.test(path))) silent.push(path);
    else if (/\/@(?:passwd|password)$/.test(path)) {
      losses.add(path, 'a password', 'passwords are not carried from file to file');
    } else {
      const times = count > 1 ? ` (${count} of them)` : '';
      losses.add(path, `${sample}${times}`, 'a description has no place for it');
    }
  }
  if (silent.length > 0) {
    const why = 'names and addresses on the machine’s buses; the target gives its own';
    losses.add(silent.join(' '), 'aliases and addresses', why);
  }
}

function readType(reading: XmlReading, os: XmlElement | undefined): XmlElement | undefined {
  const type = reading.child(os, 'type');
  const text = reading.text(type);
  if (text !== undefined && text !== 'hvm') {
    throw new FormatError(`libvirt domain: its os type is "${text.slice(0, 40)}" where hvm was expected`);
  }
  const arch = reading.attribute(type, 'arch');
  if (type && arch !== undefined && arch !== 'x86_64' && arch !== 'i686') {
    throw new FormatError(`libvirt domain: a machine of ${arch.slice(0, 40)} where x86_64 was expected`);
  }
  return type;
}

function readLibosinfo(reading: XmlReading, root: XmlElement): MachineDescription['guestOs'] {
  const metadata = reading.child(root, 'metadata');
  const os = reading.child(reading.child(metadata, 'libosinfo'), 'os');
  const libosinfo = reading.attribute(os, 'id');
  return libosinfo === undefined ? undefined : { libosinfo };
}

function readMemory(reading: XmlReading, root: XmlElement): number {
  const [most, current] = ['memory', 'currentMemory'].map((name) => {
    const element = reading.child(root, name);
    const amount = parseWhole(reading.text(element), `libvirt domain: <${name}>`);
    const unit = reading.attribute(element, 'unit') ?? 'KiB';
    const bytes = unitBytes(unit);
    if (bytes === undefined) {
      throw new FormatError(`libvirt domain: <${name}> is in "${unit.slice(0, 40)}", no unit of memory`);
    }
    return amount === undefined ? undefined : multiply(amount, bytes, `libvirt domain: <${name}>`);
  });
  if (most === undefined) throw new FormatError('libvirt domain: it has no <memory>');
  const smaller = reading.child(root, 'currentMemory');
  if (smaller && current !== most) reading.unread(smaller);
  return most;
}

function readCpus(reading: XmlReading, root: XmlElement): Cpus {
  const vcpu = reading.child(root, 'vcpu');
  const count = parseBelow(reading.text(vcpu), 65_536, 'libvirt domain: <vcpu>') ?? 1;
  if (vcpu?.attributes.some(({ local, value }) => local === 'placement' && value === 'static')) {
    reading.attribute(vcpu, 'placement');
  }
  const cpu = reading.child(root, 'cpu');
  const topology = reading.child(cpu, 'topology');
  const part = (name: string) =>
    parseBelow(reading.attribute(topology, name), 65_536, `libvirt domain: cpu ${name}`) ?? 1;
  const parts: CpuTopology = {
    sockets: part('sockets'),
    cores: part('cores') * part('dies'),
    threads: part('threads'),
  };
  const isWhole = topology && parts.sockets * parts.cores * parts.threads === count;
  if (topology && !isWhole) reading.unread(topology);
  return defined({
    count: Math.max(1, count),
    topology: isWhole ? parts : undefined,
    model: readCpuModel(reading, cpu),
  });
}

function readCpuModel(reading: XmlReading, cpu: XmlElement | undefined): string | undefined {
  switch (reading.attribute(cpu, 'mode')) {
    case 'host-passthrough':
      return 'host';
    case 'host-model':
      return 'host-model';
    case 'maximum':
      return 'max';
    default:
      return reading.childText(cpu, 'model') || undefined;
  }
}

function readFirmware(reading: XmlReading, os: XmlElement | undefined): Firmware {
  const automatic = reading.attribute(os, 'firmware');
  const loader = reading.child(os, 'loader');
  const file = reading.text(loader) || undefined;
  const type = reading.attribute(loader, 'type');
  reading.attribute(loader, 'readonly');
  const secure = reading.attribute(loader, 'secure');
  const nvram = reading.childText(os, 'nvram') || undefined;
  const features = reading.children(reading.child(os, 'firmware'), 'feature');
  const feature = features.find((element) => reading.attribute(element, 'name') === 'secure-boot');
  const enabled = reading.attribute(feature, 'enabled');
  for (const other of features) if (other !== feature) reading.unread(other);
  const isSecure = secure === 'yes' || enabled === 'yes';
  return defined({
    kind: automatic === 'efi' || type === 'pflash' || nvram !== undefined ? 'uefi' : 'bios',
    secureBoot: isSecure ? true : secure === 'no' || enabled === 'no' ? false : undefined,
    loader: file,
    nvram,
  });
}

function readKernel(reading: XmlReading, os: XmlElement | undefined): MachineDescription['kernel'] {
  const [image, initrd, commandLine] = ['kernel', 'initrd', 'cmdline'].map(
    (name) => reading.childText(os, name) || undefined,
  );
  return image === undefined ? undefined : defined({ image, initrd, commandLine });
}

function readClock(reading: XmlReading, root: XmlElement): MachineDescription['clock'] {
  const clock = reading.child(root, 'clock');
  const offset = oneOf(['utc', 'localtime'] as const, reading.attribute(clock, 'offset'));
  if (clock && offset === undefined) reading.unread(clock);
  return offset;
}

function readScsiControllers(
  reading: XmlReading,
  devices: XmlElement | undefined,
): MachineDescription['scsiControllers'] {
  const found = new Map<number, MachineDescription['scsiControllers'][number]>();
  for (const element of reading.children(devices, 'controller')) {
    const type = reading.attribute(element, 'type');
    const index =
      parseBelow(reading.attribute(element, 'index'), 1000, 'libvirt domain: controller index') ?? 0;
    const written = reading.attribute(element, 'model');
    const model = nameOf(scsiModelNames, written);
    if (type === 'scsi' && model && !found.has(index)) found.set(index, { index, model });
    // Controllers of drives are implied by these; others (usb, pci) are the host's to choose.
    else if (type !== 'ide' && type !== 'sata' && !(type === 'scsi' && written === undefined)) {
      reading.unread(element);
    }
  }
  return [...found.values()].sort((a, b) => a.index - b.index);
}

/** `<boot dev="hd"/>`: kinds of devices, of which the first is meant. */
function readLegacyBoot(
  reading: XmlReading,
  os: XmlElement | undefined,
  { disks, cdroms, nics }: MachineDescription,
): void {
  const order = reading.children(os, 'boot');
  const isSaid = [...disks, ...cdroms, ...nics].some(({ bootIndex }) => bootIndex !== undefined);
  let next = 1;
  for (const element of order) {
    const dev = reading.attribute(element, 'dev');
    const device =
      dev === 'hd' ? disks[0] : dev === 'cdrom' ? cdroms[0] : dev === 'network' ? nics[0] : undefined;
    if (isSaid || !device || device.bootIndex !== undefined) reading.unread(element);
    else {
      device.bootIndex = next;
      next += 1;
    }
  }
}
