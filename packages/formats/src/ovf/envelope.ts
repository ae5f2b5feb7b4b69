/**
 * An OVF envelope's parts (DSP0243 1.1 and 2.1): references, disks, networks, the virtual system and its items. Elements are
 * found by their local names: tools agree neither on prefixes nor on namespaces. What is read:
 *
 *   VMware, VirtualBox   <DiskSection>, <VirtualSystem>, <Item>
 *   OVF 2                also <StorageItem>, <EthernetPortItem>, with the same children
 *   oVirt, OVF 0.9       <Section xsi:type="ovf:DiskSection_Type">, <Content xsi:type="ovf:VirtualSystem_Type">
 */
import { FormatError, GiB } from '@prima/base';
import { type XmlDocument, type XmlElement, XmlReading } from '@prima/xml';
import { multiply, parseWhole } from '../machine/numbers.ts';
import { parseAllocationUnits } from './allocation-units.ts';

export interface OvfFile {
  id: string;
  /** Decoded: a file's name beside the envelope, or a URL. */
  href: string;
  sizeBytes?: number;
  /** `gzip`: the file has to be unpacked before it is what its format says. */
  compression?: string;
  /** The file lies in pieces of this many bytes, `href.000000000` and on. */
  chunkBytes?: number;
}

export interface OvfDisk {
  id: string;
  fileRef?: string;
  capacityBytes?: number;
  format?: string;
  /** oVirt's `COW` or `RAW`. */
  volumeFormat?: string;
  /** oVirt's `VirtIO`, `VirtIO_SCSI`, `IDE`, `SATA`. */
  interface?: string;
}

export interface OvfItem {
  element: XmlElement;
  instanceId: string;
  resourceType: number;
  subType: string;
  parent?: string;
}

export interface OvfEnvelope {
  files: Map<string, OvfFile>;
  disks: Map<string, OvfDisk>;
  system: XmlElement;
  hardware: XmlElement;
  items: OvfItem[];
}

/** The element's name, or what `xsi:type` says of `<Section>` and `<Content>`. */
export function kindOf(element: XmlElement): string {
  if (element.local !== 'Section' && element.local !== 'Content') return element.local;
  const type = element.attributes.find(({ local }) => local === 'type')?.value ?? '';
  return type.replace(/^.*:/, '').replace(/_Type$/, '');
}

/** The children of `parent` of this kind, counted as read. */
export function sections(reading: XmlReading, parent: XmlElement | undefined, kind: string): XmlElement[] {
  const names = new Set([kind, 'Section', 'Content']);
  const found = (parent?.children ?? []).filter(
    (child) => child.type === 'element' && names.has(child.local) && kindOf(child) === kind,
  ) as XmlElement[];
  for (const element of found) {
    reading.mark(element);
    if (element.local !== kind) reading.attribute(element, 'type');
    reading.settle(reading.child(element, 'Info'));
  }
  return found;
}

/** `system` names one of several machines by its `ovf:id`. Raises `format`. */
export function readEnvelope({ root }: XmlDocument, reading: XmlReading, system?: string): OvfEnvelope {
  if (root.local !== 'Envelope') {
    throw new FormatError(`OVF: the root is <${root.name}> where <Envelope> was expected`);
  }
  for (const name of ['version', 'lang', 'id']) reading.attribute(root, name);
  const machine = chooseSystem(root, reading, system);
  const [hardware, ...others] = sections(reading, machine, 'VirtualHardwareSection');
  for (const other of others) reading.unread(other);
  if (!hardware) throw new FormatError('OVF: the machine has no <VirtualHardwareSection>');
  return {
    files: readFiles(root, reading),
    disks: readDisks(root, reading),
    system: machine,
    hardware,
    items: readItems(hardware, reading),
  };
}

/** The files that an envelope names. Raises `format`. */
export function envelopeFiles({ root }: XmlDocument): OvfFile[] {
  return [...readFiles(root, new XmlReading()).values()];
}

function chooseSystem(root: XmlElement, reading: XmlReading, wanted?: string): XmlElement {
  const collections = sections(reading, root, 'VirtualSystemCollection');
  const parents = [root, ...collections];
  const systems = parents.flatMap((parent) => sections(reading, parent, 'VirtualSystem'));
  const idOf = (element: XmlElement) => reading.attribute(element, 'id') ?? '';
  const found = wanted === undefined ? systems : systems.filter((element) => idOf(element) === wanted);
  const [machine] = found;
  if (!machine || found.length > 1) {
    const names = systems.map((element) => JSON.stringify(idOf(element).slice(0, 80))).join(', ');
    throw new FormatError(
      `OVF: ${found.length} machines where one was wanted; the envelope has ${names || 'none'}, say which`,
    );
  }
  for (const other of systems) if (other !== machine) reading.unread(other);
  reading.attribute(machine, 'id');
  return machine;
}

function readFiles(root: XmlElement, reading: XmlReading): Map<string, OvfFile> {
  const files = new Map<string, OvfFile>();
  for (const file of reading.children(reading.child(root, 'References'), 'File')) {
    const [id = '', href = ''] = [reading.attribute(file, 'id'), reading.attribute(file, 'href')];
    const sizeBytes = parseWhole(reading.attribute(file, 'size'), `OVF: the size of file ${id.slice(0, 80)}`);
    const compression = reading.attribute(file, 'compression');
    const chunkBytes = parseWhole(
      reading.attribute(file, 'chunkSize'),
      `OVF: the chunks of file ${id.slice(0, 80)}`,
    );
    if (compression !== undefined && compression !== 'identity') reading.unreadAttribute(file, 'compression');
    if (chunkBytes !== undefined) reading.unreadAttribute(file, 'chunkSize');
    files.set(id, {
      id,
      href: decodeHref(href),
      ...(sizeBytes === undefined ? {} : { sizeBytes }),
      ...(compression === undefined || compression === 'identity' ? {} : { compression }),
      ...(chunkBytes === undefined ? {} : { chunkBytes }),
    });
  }
  return files;
}

function decodeHref(href: string): string {
  try {
    return decodeURIComponent(href);
  } catch {
    return href; // a name with a per cent sign, by a tool that does not escape it
  }
}

function readDisks(root: XmlElement, reading: XmlReading): Map<string, OvfDisk> {
  const disks = new Map<string, OvfDisk>();
  for (const section of sections(reading, root, 'DiskSection')) {
    for (const disk of reading.children(section, 'Disk')) {
      const id = reading.attribute(disk, 'diskId') ?? '';
      const what = `OVF: the capacity of disk ${id.slice(0, 80)}`;
      const said = parseWhole(reading.attribute(disk, 'capacity'), what);
      const units = parseAllocationUnits(reading.attribute(disk, 'capacityAllocationUnits') ?? 'byte', what);
      // oVirt says whole GiB in `size`.
      const size = said === undefined ? parseWhole(reading.attribute(disk, 'size'), what) : undefined;
      const capacityBytes =
        said === undefined ? size && multiply(size, GiB, what) : multiply(said, units, what);
      reading.attribute(disk, 'populatedSize');
      const optional = {
        fileRef: reading.attribute(disk, 'fileRef'),
        capacityBytes,
        format: reading.attribute(disk, 'format'),
        volumeFormat: reading.attribute(disk, 'volume-format'),
        interface: reading.attribute(disk, 'disk-interface'),
      };
      disks.set(id, {
        id,
        ...(Object.fromEntries(Object.entries(optional).filter(([, v]) => v !== undefined)) as object),
      });
    }
  }
  return disks;
}

const itemNames = ['Item', 'StorageItem', 'EthernetPortItem'];

function readItems(hardware: XmlElement, reading: XmlReading): OvfItem[] {
  const elements = itemNames.flatMap((name) => reading.children(hardware, name));
  return elements.map((element) => {
    const text = (name: string) => reading.childText(element, name);
    const instanceId = text('InstanceID') ?? text('InstanceId') ?? '';
    // What a person reads, and what is said in other words.
    for (const name of ['ElementName', 'Caption', 'Description'])
      reading.settle(reading.child(element, name));
    reading.attribute(element, 'required');
    const parent = text('Parent');
    return {
      element,
      instanceId,
      resourceType: parseWhole(text('ResourceType'), `OVF: the type of item ${instanceId.slice(0, 80)}`) ?? 0,
      subType: (text('ResourceSubType') ?? '').trim(),
      ...(parent === undefined || parent === '' ? {} : { parent }),
    };
  });
}
