/** OVF envelope → description. Which element is which member: docs/format/machine-configuration.md. */
import { KiB, MiB } from '@prima/base';
import { type XmlDocument, type XmlElement, XmlReading } from '@prima/xml';
import type { CpuShare, MachineDescription, MemoryShare } from '../machine/description.ts';
import { multiply, parseBelow, parseUuid, parseWhole } from '../machine/numbers.ts';
import { defined, Losses, type Translation } from '../machine/translation.ts';
import { parseAllocationUnits } from './allocation-units.ts';
import { type OvfEnvelope, type OvfItem, readEnvelope, sections } from './envelope.ts';
import { fromGuestId, resourceType } from './ovf-names.ts';
import { readOvfDrives } from './read-drives.ts';
import { readOvfNics } from './read-nics.ts';

export interface OvfReadChoices {
  /** The `ovf:id` of the machine, where the envelope has several. */
  system?: string;
  /** For a machine without a name. */
  fallbackName?: string;
}

/** Raises `format` where the root is no envelope, the machine is not one, or a value is none. */
export function readOvf(
  document: XmlDocument,
  choices: OvfReadChoices = {},
): Translation<MachineDescription> {
  const reading = new XmlReading();
  const losses = new Losses();
  const envelope = readEnvelope(document, reading, choices.system);
  const { system, hardware } = envelope;
  const config = readConfig(reading, hardware);
  const id = system.attributes.find(({ local }) => local === 'id')?.value;
  const settings = reading.child(hardware, 'System');
  for (const name of [
    'ElementName',
    'Caption',
    'InstanceID',
    'InstanceId',
    'VirtualSystemIdentifier',
    'Description',
  ]) {
    reading.settle(reading.child(settings, name));
  }
  const type = reading.childText(settings, 'VirtualSystemType');
  const hardwareVersion = /^vmx-0*(\d{1,3})\b/.exec(type ?? '')?.[1];
  if (type !== undefined && hardwareVersion === undefined)
    reading.unread(reading.child(settings, 'VirtualSystemType'));
  const [annotation] = sections(reading, system, 'AnnotationSection');
  const video = config.take('videoRamSizeInKB');
  const videoKib = parseWhole(video, 'OVF: videoRamSizeInKB');
  const secureBoot = config.take('bootOptions.efiSecureBootEnabled');
  const description = defined<MachineDescription>({
    name: reading.childText(system, 'Name') || id || choices.fallbackName || 'machine',
    uuid: parseUuid(config.take('uuid.bios'), 'OVF: uuid.bios'),
    annotation: reading.childText(annotation, 'Annotation') || undefined,
    guestOs: readGuestOs(reading, system),
    ...readProcessorAndMemory(reading, envelope),
    hardwareVersion: hardwareVersion === undefined ? undefined : Number(hardwareVersion),
    firmware: defined({
      kind: config.take('firmware')?.toLowerCase() === 'efi' ? 'uefi' : 'bios',
      secureBoot: secureBoot === undefined ? undefined : secureBoot.toLowerCase() === 'true',
    }),
    ...readOvfDrives(reading, envelope, losses),
    nics: readOvfNics(reading, envelope),
    video:
      videoKib === undefined ? undefined : { memoryBytes: multiply(videoKib, KiB, 'OVF: videoRamSizeInKB') },
    displays: [],
    serialPorts: [],
    tpm: readTpm(envelope.items),
  });
  listUnread({ reading, losses, envelope, root: document.root });
  return { result: description, notCarried: losses.list };
}

/** VMware's `<vmw:Config key= value=>` and `<vmw:ExtraConfig>`, by key. */
function readConfig(reading: XmlReading, hardware: XmlElement) {
  const found = new Map<string, XmlElement>();
  for (const child of hardware.children) {
    if (child.type !== 'element' || (child.local !== 'Config' && child.local !== 'ExtraConfig')) continue;
    const key = child.attributes.find(({ local }) => local === 'key')?.value;
    if (key !== undefined) found.set(key, child);
  }
  return {
    take: (key: string): string | undefined => {
      const element = found.get(key);
      reading.settle(element);
      return element?.attributes.find(({ local }) => local === 'value')?.value;
    },
  };
}

function readGuestOs(reading: XmlReading, system: XmlElement): MachineDescription['guestOs'] {
  const [section] = sections(reading, system, 'OperatingSystemSection');
  if (!section) return undefined;
  const id = reading.attribute(section, 'id');
  reading.settle(reading.child(section, 'Description'));
  const cim = /^\d{1,5}$/.test(id ?? '') ? Number(id) : undefined;
  if (cim === undefined) reading.unreadAttribute(section, 'id');
  const osType = reading.attribute(section, 'osType');
  return defined({ vmware: osType === undefined ? undefined : fromGuestId(osType), cim });
}

type Board = Pick<MachineDescription, 'memoryBytes' | 'cpus' | 'resources'>;

function readProcessorAndMemory(reading: XmlReading, { items }: OvfEnvelope): Board {
  const cpu = items.find((item) => item.resourceType === resourceType.processor)?.element;
  const memory = items.find((item) => item.resourceType === resourceType.memory)?.element;
  const number = (element: XmlElement | undefined, name: string) =>
    parseWhole(reading.childText(element, name), `OVF: ${name}`);
  const count = parseBelow(reading.childText(cpu, 'VirtualQuantity'), 65_536, 'OVF: VirtualQuantity') ?? 1;
  const cores = parseBelow(reading.childText(cpu, 'CoresPerSocket'), 65_536, 'OVF: CoresPerSocket');
  reading.settle(reading.child(cpu, 'AllocationUnits'));
  const isWhole = cores !== undefined && cores > 0 && count % cores === 0;
  if (!isWhole) reading.unread(reading.child(cpu, 'CoresPerSocket'));
  const units = parseAllocationUnits(
    reading.childText(memory, 'AllocationUnits') ?? 'byte * 2^20',
    'OVF: memory',
  );
  const bytes = (name: string) => {
    const amount = number(memory, name);
    return amount === undefined ? undefined : multiply(amount, units, `OVF: ${name} of memory`);
  };
  const cpuShare: CpuShare = defined({
    shares: number(cpu, 'Weight'),
    reservationMhz: number(cpu, 'Reservation'),
    limitMhz: number(cpu, 'Limit'),
  });
  const memoryShare: MemoryShare = defined({
    shares: number(memory, 'Weight'),
    reservationBytes: bytes('Reservation'),
    limitBytes: bytes('Limit'),
  });
  const some = <T extends object>(object: T) => (Object.keys(object).length > 0 ? object : undefined);
  return defined({
    memoryBytes: bytes('VirtualQuantity') ?? 256 * MiB,
    cpus: defined({
      count: Math.max(1, count),
      topology: isWhole ? { sockets: count / cores, cores, threads: 1 } : undefined,
    }),
    resources: some(defined({ cpu: some(cpuShare), memory: some(memoryShare) })),
  });
}

function readTpm(items: readonly OvfItem[]): MachineDescription['tpm'] {
  return items.some(({ subType }) => /vtpm/i.test(subType)) ? { version: '2.0' } : undefined;
}

const noPlace = 'a description has no place for it';

interface Unread {
  reading: XmlReading;
  losses: Losses;
  envelope: OvfEnvelope;
  root: XmlElement;
}

/** Types of items that were read; the others stay unread with what they hold. */
const known: ReadonlySet<number> = new Set([3, 4, 5, 6, 10, 15, 16, 17, 20]);

function listUnread({ reading, losses, envelope, root }: Unread): void {
  for (const { element, resourceType: type, subType } of envelope.items) {
    if (!known.has(type) && !/vtpm/i.test(subType)) reading.unread(element);
  }
  for (const child of envelope.hardware.children) {
    if (child.type !== 'element' || (child.local !== 'Config' && child.local !== 'ExtraConfig')) continue;
    const value = (name: string) => child.attributes.find(({ local }) => local === name)?.value;
    if (!reading.isRead(child))
      losses.add(`${child.name} ${value('key') ?? ''}`, value('value') ?? '', noPlace);
    reading.settle(child);
  }
  for (const section of sections(reading, root, 'NetworkSection')) {
    for (const network of reading.children(section, 'Network')) reading.settle(network);
  }
  for (const { path, count, sample } of reading.unreadPaths(root)) {
    // How a tool connects devices when the machine starts, and where it wants them in its own lists.
    if (/\/@?(?:\w+:)?(?:AutomaticAllocation|AddressOnParent|Address|required)$/.test(path)) continue;
    losses.add(path, count > 1 ? `${sample} (${count} of them)` : sample, noPlace);
  }
}
