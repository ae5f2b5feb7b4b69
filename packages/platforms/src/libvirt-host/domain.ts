/** What Prima needs to know of a libvirt domain, from its XML (https://libvirt.org/formatdomain.html). */
import { FormatError } from '@prima/base';
import { unitBytes } from '@prima/formats';
import {
  elementAt,
  elementsOf,
  parseXml,
  textAt,
  valueOf,
  type XmlDocument,
  type XmlElement,
} from '@prima/xml';

export type SourceType = 'file' | 'block' | 'network' | 'volume' | 'dir' | 'nvme' | 'vhostuser' | 'vhostvdpa';

export interface DomainDisk {
  /** `vda`: what people call it, and stable while the machine's configuration is. */
  target: string;
  bus: string;
  source: SourceType;
  /** What holds it, for people and to notice that it is another one: a path, `rbd:pool/name`, `pool/volume`. */
  location: string;
  format: string;
  /** Why it cannot be backed up. */
  excluded?: string;
  element: XmlElement;
}

export interface Domain {
  document: XmlDocument;
  name: string;
  uuid: string;
  /** `kvm`, `qemu` … */
  type: string;
  /** Of the run; undefined while it is off. */
  id?: number;
  memoryBytes: number;
  cpus: number;
  disks: DomainDisk[];
  /** Of the channel of the guest agent; undefined: it has none, or is off. */
  agent?: 'connected' | 'disconnected';
  hasAgentChannel: boolean;
  /** The file that its first serial console is logged to. */
  consoleLog?: string;
  /** Path of the file with the firmware's variables. */
  nvram?: string;
  /** It has an emulated TPM, whose state is the host's. */
  hasTpm: boolean;
}

/** The <disk> elements of a domain that are disks: no CD-ROMs, no floppies. */
export function diskElements({ root }: XmlDocument): XmlElement[] {
  return elementsOf(elementAt(root, 'devices')).filter(isDisk);
}

function isDisk(element: XmlElement): boolean {
  return element.local === 'disk' && ['disk', 'lun', undefined].includes(valueOf(element, 'device'));
}

/** `vda`; empty where a disk says none. */
export function targetOf(disk: XmlElement): string {
  return valueOf(elementAt(disk, 'target'), 'dev') ?? '';
}

export function diskAt(document: XmlDocument, target: string): XmlElement | undefined {
  return diskElements(document).find((disk) => targetOf(disk) === target);
}

/** Raises `format`. */
export function parseDomain(xml: string, what: string): Domain {
  const document = parseXml(xml, what);
  const { root } = document;
  const [name, uuid] = [textAt(root, 'name'), textAt(root, 'uuid')];
  if (root.local !== 'domain' || !name || !uuid) {
    throw new FormatError(`${what}: a <domain> with name and UUID was expected, <${root.name}> was found`);
  }
  const devices = elementAt(root, 'devices');
  const id = valueOf(root, 'id');
  const agent = agentChannel(devices);
  const state = valueOf(elementAt(agent, 'target'), 'state');
  const nvram = textAt(root, 'os', 'nvram') || valueOf(elementAt(root, 'os', 'nvram', 'source'), 'file');
  const log = consoleLogOf(devices);
  return {
    document,
    name,
    uuid: uuid.toLowerCase(),
    type: valueOf(root, 'type') ?? 'kvm',
    ...(id === undefined ? {} : { id: Number(id) }),
    memoryBytes: bytesOf(elementAt(root, 'memory')),
    cpus: Number(textAt(root, 'vcpu') ?? 1) || 1,
    disks: diskElements(document).map(diskOf),
    ...(state === 'connected' || state === 'disconnected' ? { agent: state } : {}),
    hasAgentChannel: agent !== undefined,
    ...(log === undefined ? {} : { consoleLog: log }),
    ...(nvram ? { nvram } : {}),
    hasTpm: elementsOf(devices).some(
      (element) => element.local === 'tpm' && valueOf(elementAt(element, 'backend'), 'type') === 'emulator',
    ),
  };
}

function consoleLogOf(devices: XmlElement | undefined): string | undefined {
  for (const device of elementsOf(devices)) {
    if (device.local !== 'serial' && device.local !== 'console') continue;
    const isFile = valueOf(device, 'type') === 'file';
    const path =
      valueOf(elementAt(device, 'log'), 'file') ??
      (isFile ? valueOf(elementAt(device, 'source'), 'path') : undefined);
    if (path !== undefined) return path;
  }
  return undefined;
}

function agentChannel(devices: XmlElement | undefined): XmlElement | undefined {
  return elementsOf(devices).find(
    (element) =>
      element.local === 'channel' &&
      valueOf(elementAt(element, 'target'), 'name') === 'org.qemu.guest_agent.0',
  );
}

function bytesOf(element: XmlElement | undefined): number {
  const unit = unitBytes(valueOf(element, 'unit') ?? 'KiB') ?? 1024;
  return (Number(textAt(element)) || 0) * unit;
}

function diskOf(element: XmlElement): DomainDisk {
  const target = elementAt(element, 'target');
  const source = (valueOf(element, 'type') ?? 'file') as SourceType;
  const disk: DomainDisk = {
    target: targetOf(element),
    bus: valueOf(target, 'bus') ?? '',
    source,
    location: diskLocation(element),
    format: valueOf(elementAt(element, 'driver'), 'type') ?? 'raw',
    element,
  };
  const excluded = whyExcluded(disk);
  return excluded === undefined ? disk : { ...disk, excluded };
}

function whyExcluded({ element, source, location }: DomainDisk): string | undefined {
  if (valueOf(element, 'device') === 'lun') {
    return 'it is a LUN whose SCSI commands go through to the array (device="lun"): back it up there';
  }
  if (source === 'nvme' || source === 'vhostuser' || source === 'vhostvdpa' || source === 'dir') {
    return `QEMU does not see what the guest writes to a disk of the type "${source}"`;
  }
  if (location === '') return 'it has no source';
  if (elementAt(element, 'transient'))
    return 'it is transient: what the guest writes to it is given up at the end';
  if (elementAt(element, 'readonly')) return 'it is read-only';
  return undefined;
}

/**
 * What a disk reads from, top first: itself and its backing files, as far as the XML names them. libvirt names them all while
 * the machine runs.
 */
export function diskChain(disk: XmlElement): string[] {
  const chain: string[] = [];
  let level: XmlElement | undefined = disk;
  while (level && elementAt(level, 'source')) {
    chain.push(diskLocation(level));
    level = elementAt(level, 'backingStore');
  }
  return chain;
}

/** What the source of a <disk> names, in the field's ways of writing it. */
export function diskLocation(disk: XmlElement): string {
  return locationOf(elementAt(disk, 'source'), (valueOf(disk, 'type') ?? 'file') as SourceType);
}

function locationOf(source: XmlElement | undefined, type: SourceType): string {
  const value = (name: string) => valueOf(source, name) ?? '';
  switch (type) {
    case 'file':
      return value('file');
    case 'block':
      return value('dev');
    case 'volume':
      return source ? `${value('pool')}/${value('volume')}` : '';
    case 'network':
      return source ? networkLocation(source) : '';
    default:
      return value('path') || value('dir') || value('dev') || value('namespace');
  }
}

function networkLocation(source: XmlElement): string {
  const [protocol = '', name = ''] = [valueOf(source, 'protocol'), valueOf(source, 'name')];
  if (protocol === 'rbd') return `rbd:${name}`;
  const host = elementAt(source, 'host');
  const socket = valueOf(host, 'socket');
  if (socket !== undefined) return `${protocol}+unix:///${name}?socket=${socket}`;
  const port = valueOf(host, 'port');
  return `${protocol}://${valueOf(host, 'name') ?? ''}${port === undefined ? '' : `:${port}`}/${name}`;
}
