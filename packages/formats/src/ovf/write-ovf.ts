/**
 * Description → OVF 1.1 envelope, as VMware's tools write it. Sections that a description has no place for (products,
 * licences, properties …) are taken over from `keep`, as they are there.
 */
import { basename } from 'node:path';
import { MiB } from '@prima/base';
import { elementMaker, newDocument, type XmlDocument, type XmlElement } from '@prima/xml';
import type { MachineDescription } from '../machine/description.ts';
import { Losses, type Translation, withXmlText } from '../machine/translation.ts';
import { kindOf } from './envelope.ts';
import { ovfNamespaces, resourceType, toGuestId, fromGuestId } from './ovf-names.ts';
import { type ItemMaker, makeItems } from './items.ts';
import { drivesFor, writeDriveItems } from './write-drives.ts';
import { writeNicItems } from './write-nics.ts';

export interface OvfChoices {
  /** The sizes of the files that disks and CD-ROMs name, where they are known, by their location. */
  fileSizes?: ReadonlyMap<string, number>;
  /** An envelope whose other sections are taken over. */
  keep?: XmlDocument;
}

export interface OvfWritten {
  document: XmlDocument;
  /** The files that belong beside the envelope, in its order; `location` is the description's. */
  files: { name: string; location: string }[];
}

const element = elementMaker(ovfNamespaces);

const info = (text: string): XmlElement => element('Info', {}, [text]);

export function writeOvf(description: MachineDescription, choices: OvfChoices = {}): Translation<OvfWritten> {
  const losses = new Losses();
  const wanted = withXmlText(description, losses);
  const items = makeItems();
  const drives = drivesFor(wanted, losses);
  const files = new FileNames();
  const { disks } = writeBoardAndDrives({ items, wanted, drives, files, losses });
  writeNicItems(items, wanted, losses);
  if (wanted.tpm) {
    items.add(resourceType.other, { subType: 'vmware.vtpm', name: 'TPM', isOptional: true });
    if (wanted.tpm.version !== '2.0') losses.add('tpm.version', wanted.tpm.version, 'VMware has 2.0 only');
    losses.add('tpm.model', wanted.tpm.model, 'VMware has one kind of TPM');
  }
  const networks = [...new Set(wanted.nics.flatMap(({ network }) => network.name ?? []))];
  const system = element('VirtualSystem', { 'ovf:id': wanted.name }, [
    info('A virtual machine'),
    element('Name', {}, [wanted.name]),
    writeOperatingSystem(wanted, losses),
    ...(wanted.annotation === undefined
      ? []
      : [
          element('AnnotationSection', {}, [
            info('A human-readable annotation'),
            element('Annotation', {}, [wanted.annotation]),
          ]),
        ]),
    writeHardware(wanted, items.elements, losses),
  ]);
  const root = element(
    'Envelope',
    Object.fromEntries(
      Object.entries(ovfNamespaces).map(([prefix, uri]) => [prefix ? `xmlns:${prefix}` : 'xmlns', uri]),
    ),
    [
      element('References', {}, files.elements(choices.fileSizes)),
      element('DiskSection', {}, [info('Virtual disk information'), ...disks]),
      element('NetworkSection', {}, [
        info('The list of logical networks'),
        ...networks.map((name) =>
          element('Network', { 'ovf:name': name }, [element('Description', {}, [`The ${name} network`])]),
        ),
      ]),
      system,
    ],
  );
  if (choices.keep) takeOver(choices.keep.root, { root, system });
  listMissing(wanted, losses);
  const document = newDocument(root, '"', 'version="1.0" encoding="UTF-8"');
  return { result: { document, files: files.list }, notCarried: losses.list };
}

interface Parts {
  items: ItemMaker;
  wanted: MachineDescription;
  drives: ReturnType<typeof drivesFor>;
  files: FileNames;
  losses: Losses;
}

function writeBoardAndDrives({ items, wanted, drives, files, losses }: Parts): { disks: XmlElement[] } {
  const { cpus, memoryBytes, resources } = wanted;
  const { topology, count } = cpus;
  const isFlat = topology?.threads === 1;
  if (!isFlat) losses.add('cpus.topology', topology, 'VMware has no threads within cores');
  const { cpu, memory } = resources ?? {};
  const perCpu = { low: 500, normal: 1000, high: 2000 };
  const perMib = { low: 5, normal: 10, high: 20 };
  const shares = (
    value: NonNullable<typeof cpu>['shares'],
    table: typeof perCpu,
    amount: number,
    where: string,
  ) => {
    if (typeof value !== 'string') return value;
    losses.add(where, value, 'OVF has numbers of shares only');
    return table[value] * amount;
  };
  items.add(resourceType.processor, {
    name: `${count} virtual CPU(s)`,
    more: {
      'rasd:AllocationUnits': 'hertz * 10^6',
      'rasd:Limit': cpu?.limitMhz,
      'rasd:Reservation': cpu?.reservationMhz,
      'rasd:VirtualQuantity': count,
      'rasd:Weight': shares(cpu?.shares, perCpu, count, 'resources.cpu.shares'),
      'vmw:CoresPerSocket': isFlat ? topology.cores : undefined,
    },
  });
  const mib = Math.ceil(memoryBytes / MiB);
  if (memoryBytes % MiB !== 0) losses.add('memoryBytes', memoryBytes, 'whole MiB are written: rounded up');
  const whole = (bytes: number | undefined) => (bytes === undefined ? undefined : Math.floor(bytes / MiB));
  items.add(resourceType.memory, {
    name: `${mib} MB of memory`,
    more: {
      'rasd:AllocationUnits': 'byte * 2^20',
      'rasd:Limit': whole(memory?.limitBytes),
      'rasd:Reservation': whole(memory?.reservationBytes),
      'rasd:VirtualQuantity': mib,
      'rasd:Weight': shares(memory?.shares, perMib, mib, 'resources.memory.shares'),
    },
  });
  return writeDriveItems({ items, drives, files, losses, description: wanted });
}

/** The names of files beside the envelope: none has a folder, none is there twice. */
export class FileNames {
  readonly list: { name: string; location: string; id: string }[] = [];

  /** Returns the file's id and name. */
  add(location: string): { id: string; name: string } {
    const base = basename(location).replaceAll('\\', '_').replaceAll('\0', '_');
    const wanted = /^\.*$/.test(base) ? 'disk' : base.slice(-80);
    const taken = new Set(this.list.map(({ name }) => name));
    let name = wanted;
    for (let copy = 2; taken.has(name); copy += 1) name = `${copy}-${wanted}`;
    const id = `file${this.list.length + 1}`;
    this.list.push({ id, name, location });
    return { id, name };
  }

  elements(sizes: ReadonlyMap<string, number> | undefined): XmlElement[] {
    return this.list.map(({ id, name, location }) =>
      element('File', { 'ovf:href': hrefOf(name), 'ovf:id': id, 'ovf:size': sizes?.get(location) }),
    );
  }
}

function hrefOf(name: string): string {
  return encodeURIComponent(name);
}

function writeOperatingSystem({ guestOs }: MachineDescription, losses: Losses): XmlElement {
  const { vmware, cim, libosinfo } = guestOs ?? {};
  const osType = vmware === undefined ? undefined : toGuestId(vmware);
  if (osType !== undefined && fromGuestId(osType) !== vmware) {
    losses.add('guestOs.vmware', vmware, `it is ${osType} in an envelope, and read back otherwise`);
  }
  if (cim === undefined) losses.add('guestOs.cim', '1 (other) is written', 'an envelope has to say one');
  losses.add('guestOs.libosinfo', libosinfo, "an envelope has VMware's and the CIM's names of systems");
  return element('OperatingSystemSection', { 'ovf:id': cim ?? 1, 'vmw:osType': osType }, [
    info('The kind of installed guest operating system'),
  ]);
}

function writeHardware(
  description: MachineDescription,
  items: readonly XmlElement[],
  losses: Losses,
): XmlElement {
  const { name, hardwareVersion, firmware, uuid, video } = description;
  const vssd = (member: string, text: string | undefined) =>
    text === undefined ? [] : [element(`vssd:${member}`, {}, [text])];
  const config = (kind: 'Config' | 'ExtraConfig', key: string, value: string | number | undefined) =>
    value === undefined
      ? []
      : [element(`vmw:${kind}`, { 'ovf:required': 'false', 'vmw:key': key, 'vmw:value': value })];
  const { secureBoot, kind } = firmware;
  const videoKib = video?.memoryBytes === undefined ? undefined : video.memoryBytes / 1024;
  losses.add('video.model', video?.model, 'an envelope does not say which');
  if (video && videoKib === undefined) losses.add('video', 'a screen', 'an envelope does not say which');
  return element('VirtualHardwareSection', {}, [
    info('Virtual hardware requirements'),
    element('System', {}, [
      ...vssd('ElementName', 'Virtual Hardware Family'),
      ...vssd('InstanceID', '0'),
      ...vssd('VirtualSystemIdentifier', name),
      ...vssd(
        'VirtualSystemType',
        hardwareVersion === undefined ? undefined : `vmx-${String(hardwareVersion).padStart(2, '0')}`,
      ),
    ]),
    ...items,
    ...config('Config', 'firmware', kind === 'uefi' ? 'efi' : undefined),
    ...config(
      'Config',
      'bootOptions.efiSecureBootEnabled',
      secureBoot === undefined ? undefined : String(secureBoot),
    ),
    ...config('Config', 'videoRamSizeInKB', videoKib),
    ...config('ExtraConfig', 'uuid.bios', uuid),
  ]);
}

function listMissing(description: MachineDescription, losses: Losses): void {
  const { machineType, cpus, firmware, kernel, clock, displays, serialPorts } = description;
  const why = 'an envelope has no place for it';
  losses.add('machineType', machineType, why);
  losses.add('cpus.model', cpus.model, why);
  losses.add('firmware.loader', firmware.loader, why);
  losses.add('firmware.nvram', firmware.nvram, why);
  losses.add('kernel', kernel, why);
  losses.add('clock', clock, why);
  for (const [at, { kind }] of displays.entries()) losses.add(`displays[${at}]`, kind, why);
  for (const [at, { kind }] of serialPorts.entries()) losses.add(`serialPorts[${at}]`, kind, why);
}

/** Made anew from the description. */
const ours = new Set([
  'References',
  'DiskSection',
  'NetworkSection',
  'VirtualSystem',
  'VirtualSystemCollection',
  'OperatingSystemSection',
  'AnnotationSection',
  'VirtualHardwareSection',
  'Name',
  'Info',
]);

/** Sections of the envelope and of its machine, with the prefixes that they were written with. */
function takeOver(old: XmlElement, { root, system }: { root: XmlElement; system: XmlElement }): void {
  const prefixes = new Map(
    old.attributes.flatMap(({ name, value }) => (name.startsWith('xmlns') ? [[name, value] as const] : [])),
  );
  const taken = (parent: XmlElement): XmlElement[] => {
    const others = parent.children.filter((child) => child.type === 'element' && !ours.has(kindOf(child)));
    return structuredClone(others as XmlElement[]).map((section) => {
      for (const [name, value] of prefixes) {
        const isSame = root.attributes.some(
          (attribute) => attribute.name === name && attribute.value === value,
        );
        const isThere = section.attributes.some((attribute) => attribute.name === name);
        if (!isSame && !isThere)
          section.attributes.push({ name, local: name.replace('xmlns:', ''), uri: '', value });
      }
      return section;
    });
  };
  const machine = old.children.find((child) => child.type === 'element' && kindOf(child) === 'VirtualSystem');
  root.children.splice(root.children.indexOf(system), 0, ...taken(old));
  if (machine?.type === 'element') system.children.splice(2, 0, ...taken(machine));
}
