/** Description → libvirt's domain XML, new or over one that is there: its order, comments and unknown elements stay. */
import { KiB } from '@prima/base';
import {
  elementMaker,
  insertChild,
  newDocument,
  setAttribute,
  setText,
  writeXml,
  parseXml,
  type XmlDocument,
  type XmlElement,
} from '@prima/xml';
import type { Cpus, Firmware, MachineDescription } from '../machine/description.ts';
import { withAbsolutePaths } from '../machine/paths.ts';
import { Losses, sameValue, type Translation, withXmlText } from '../machine/translation.ts';
import { libosinfoUri, nameOf, scsiModelNames } from './domain-names.ts';
import { ensureChild, findChild, removeChildren } from './domain-tree.ts';
import { readDomain } from './read-domain.ts';
import { writeDomainDevices } from './write-devices.ts';
import { writeDomainDrives } from './write-drives.ts';

export interface DomainChoices {
  /** `kvm` by default; `qemu` is software emulation. */
  type?: 'kvm' | 'qemu';
  /** The folder that relative paths are in. */
  folder?: string;
  /** The document that is written over; it is not changed itself. */
  over?: XmlDocument;
}

export interface DomainWriting {
  root: XmlElement;
  devices: XmlElement;
  losses: Losses;
  before: MachineDescription | undefined;
}

const element = elementMaker({});
const osinfoElement = elementMaker({ libosinfo: libosinfoUri });

export function writeDomain(
  description: MachineDescription,
  { type = 'kvm', folder, over }: DomainChoices = {},
): Translation<XmlDocument> {
  const losses = new Losses();
  const wanted = withAbsolutePaths(withXmlText(description, losses), folder, losses);
  const document = over
    ? parseXml(writeXml(over), 'libvirt domain')
    : newDocument(element('domain', { type }, [element('name')]), "'");
  const { root } = document;
  const before = over ? readDomain(over).result : undefined;
  writeIdentity(root, wanted, { losses, before });
  const is = (...members: (keyof MachineDescription)[]) =>
    !before || members.some((m) => !sameValue(before[m], wanted[m]));
  if (is('memoryBytes')) writeMemory(root, wanted.memoryBytes, losses);
  if (is('cpus')) writeCpus(root, wanted.cpus);
  if (is('machineType', 'firmware', 'kernel')) writeOs(root, wanted, losses);
  if (is('clock')) setAttribute(ensureChild(root, 'clock'), 'offset', wanted.clock ?? 'utc');
  if (wanted.clock === undefined) losses.add('clock', 'utc is written', 'a domain has to say one');
  const devices = ensureChild(root, 'devices');
  const usesDeviceOrder = is('disks', 'cdroms', 'nics') && removeLegacyBoot(root);
  const writing = { root, devices, losses, before: usesDeviceOrder ? withoutBoot(before) : before };
  if (is('scsiControllers')) writeScsiControllers(devices, wanted);
  writeDomainDrives(writing, wanted);
  writeDomainDevices(writing, wanted);
  losses.add('hardwareVersion', wanted.hardwareVersion, "it is VMware's");
  losses.add('resources', wanted.resources, 'libvirt divides a host by other measures than VMware');
  return {
    result: over ? document : { ...document, root: newDocument(root, "'").root },
    notCarried: losses.list,
  };
}

function writeIdentity(
  root: XmlElement,
  { name, uuid, annotation, guestOs }: MachineDescription,
  { losses, before }: Pick<DomainWriting, 'losses' | 'before'>,
): void {
  const usable = name.replaceAll(/[/\n]/g, '_');
  if (usable !== name) losses.add('name', name, `libvirt's names have no slashes; it is ${usable}`);
  const texts = { name: usable, uuid, description: annotation };
  const known = { name: before?.name, uuid: before?.uuid, description: before?.annotation };
  for (const [tag, text] of Object.entries(texts) as [keyof typeof texts, string | undefined][]) {
    if (before && known[tag] === text) continue;
    if (text === undefined) removeChildren(root, tag);
    else setText(ensureChild(root, tag), text);
  }
  const why = "a domain has libosinfo's name of the system only";
  losses.add('guestOs.vmware', guestOs?.vmware, why);
  losses.add('guestOs.cim', guestOs?.cim, why);
  if (before?.guestOs?.libosinfo !== guestOs?.libosinfo) writeLibosinfo(root, guestOs?.libosinfo);
}

function writeLibosinfo(root: XmlElement, id: string | undefined): void {
  const metadata = findChild(root, 'metadata');
  if (metadata) removeChildren(metadata, 'libosinfo');
  if (id === undefined) return;
  const info = osinfoElement('libosinfo:libosinfo', { 'xmlns:libosinfo': libosinfoUri }, [
    osinfoElement('libosinfo:os', { id }),
  ]);
  insertChild(metadata ?? ensureChild(root, 'metadata'), info);
}

function writeMemory(root: XmlElement, bytes: number, losses: Losses): void {
  const amount = String(Math.ceil(bytes / KiB));
  if (bytes % KiB !== 0) losses.add('memoryBytes', bytes, 'a domain counts in KiB: rounded up');
  for (const name of ['memory', 'currentMemory']) {
    if (name === 'currentMemory' && !findChild(root, name)) continue;
    const memory = ensureChild(root, name);
    setAttribute(memory, 'unit', 'KiB');
    setText(memory, amount);
  }
}

function writeCpus(root: XmlElement, { count, topology, model }: Cpus): void {
  const vcpu = ensureChild(root, 'vcpu');
  setText(vcpu, String(count));
  setAttribute(vcpu, 'current', undefined);
  if (!topology && model === undefined) {
    removeChildren(root, 'cpu');
    return;
  }
  const cpu = ensureChild(root, 'cpu');
  const modes: Partial<Record<string, string>> = {
    host: 'host-passthrough',
    'host-model': 'host-model',
    max: 'maximum',
  };
  const mode = model === undefined ? undefined : (modes[model] ?? 'custom');
  setAttribute(cpu, 'mode', mode);
  if (mode === 'custom' && model !== undefined) {
    setAttribute(cpu, 'match', 'exact');
    const named = ensureChild(cpu, 'model');
    setAttribute(named, 'fallback', 'allow');
    setText(named, model);
  } else {
    setAttribute(cpu, 'match', undefined);
    removeChildren(cpu, 'model');
  }
  removeChildren(cpu, 'topology');
  if (topology) insertChild(cpu, element('topology', { ...topology }));
}

function writeOs(
  root: XmlElement,
  { machineType, firmware, kernel }: MachineDescription,
  losses: Losses,
): void {
  const os = ensureChild(root, 'os');
  const type = ensureChild(os, 'type');
  if (!type.attributes.some(({ local }) => local === 'arch')) setAttribute(type, 'arch', 'x86_64');
  setAttribute(type, 'machine', machineType);
  setText(type, 'hvm');
  for (const name of ['firmware', 'loader', 'nvram', 'kernel', 'initrd', 'cmdline']) removeChildren(os, name);
  writeFirmware(os, firmware, losses);
  const files = { kernel: kernel?.image, initrd: kernel?.initrd, cmdline: kernel?.commandLine };
  for (const [name, text] of Object.entries(files)) {
    if (text !== undefined) insertChild(os, element(name, {}, [text]));
  }
}

function writeFirmware(os: XmlElement, { kind, secureBoot, loader, nvram }: Firmware, losses: Losses): void {
  const isUefi = kind === 'uefi';
  setAttribute(os, 'firmware', isUefi && loader === undefined ? 'efi' : undefined);
  const yesNo = secureBoot === undefined ? undefined : secureBoot ? 'yes' : 'no';
  if (loader !== undefined) {
    const attributes = isUefi ? { readonly: 'yes', secure: yesNo, type: 'pflash' } : { type: 'rom' };
    insertChild(os, element('loader', attributes, [loader]));
  } else if (isUefi && yesNo !== undefined) {
    insertChild(os, element('firmware', {}, [element('feature', { enabled: yesNo, name: 'secure-boot' })]));
  }
  if (isUefi && nvram !== undefined) insertChild(os, element('nvram', {}, [nvram]));
  if (isUefi) return;
  losses.add('firmware.secureBoot', secureBoot, 'a BIOS has none');
  losses.add('firmware.nvram', nvram, "libvirt's BIOS keeps nothing");
}

/** libvirt has an order of kinds of devices, or of devices, never both. */
function removeLegacyBoot(root: XmlElement): boolean {
  const os = findChild(root, 'os');
  if (!os || !findChild(os, 'boot')) return false;
  removeChildren(os, 'boot');
  return true;
}

function withoutBoot(before: MachineDescription | undefined): MachineDescription | undefined {
  const strip = <T extends { bootIndex?: number }>(devices: readonly T[]): T[] =>
    devices.map((device) => ({ ...device, bootIndex: undefined }));
  if (!before) return undefined;
  const { disks, cdroms, nics } = before;
  return { ...before, disks: strip(disks), cdroms: strip(cdroms), nics: strip(nics) };
}

function writeScsiControllers(devices: XmlElement, { scsiControllers }: MachineDescription): void {
  const there = new Map<number, XmlElement>();
  for (const child of devices.children) {
    if (child.type !== 'element' || child.local !== 'controller') continue;
    const value = (name: string) => child.attributes.find(({ local }) => local === name)?.value;
    if (value('type') !== 'scsi') continue;
    const index = Number(value('index') ?? 0);
    there.set(index, child);
    const isListed = scsiControllers.some((controller) => controller.index === index);
    if (!isListed && nameOf(scsiModelNames, value('model'))) setAttribute(child, 'model', undefined);
  }
  for (const { index, model } of scsiControllers) {
    const name = scsiModelNames[model];
    const known = there.get(index);
    if (known) setAttribute(known, 'model', name);
    else insertChild(devices, element('controller', { type: 'scsi', index, model: name }));
  }
}
