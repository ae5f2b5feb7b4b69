/** The XML of a machine that is being restored: the point's, with another identity and other disks where that is needed. */
import { randomBytes, randomUUID } from 'node:crypto';
import { PrimaError } from '@prima/base';
import { readConfiguration, writeConfiguration } from '@prima/formats';
import {
  elementAt,
  elementMaker,
  elementsOf,
  insertChild,
  parseXml,
  removeChild,
  setAttribute,
  setText,
  valueOf,
  writeXml,
  type XmlDocument,
  type XmlElement,
} from '@prima/xml';
import type { ConfigFile, RestoreRequest } from '../platform.ts';
import { deconflict } from './deconflict.ts';
import { diskElements, targetOf } from './domain.ts';
import type { NewDisk } from './restore-disks.ts';
import { domainFileName } from './machine-files.ts';

const make = elementMaker({});

export interface RestoredDomain {
  document: XmlDocument;
  /** What the XML calls a disk of the request: its target. Raises `format` for one that the configuration lacks. */
  targetOf: (slot: string) => string;
  /** From another kind of host. */
  isTranslated: boolean;
  notes: string[];
}

/** Of the point of a libvirt machine, or translated from another kind of host's. */
export function configurationOf({ files, foreign, name }: RestoreRequest): RestoredDomain {
  const own = [...files, ...(foreign ? [foreign] : [])].find((file) => file.name === domainFileName);
  if (own) {
    const document = parseXml(own.bytes, `the configuration of ${name} in the point`);
    return { document, targetOf: (slot) => slot, isTranslated: false, notes: [] };
  }
  const other = foreign ?? files.find((file) => file.name.toLowerCase().endsWith('.vmx'));
  if (!other) {
    throw new PrimaError(
      'unsupported',
      `the point of ${name} holds no configuration that a machine could be made of`,
    );
  }
  return translated(other);
}

/** A machine as its host has it. */
export function asDefined(xml: string): RestoredDomain {
  const document = parseXml(xml, 'the machine that is replaced');
  return { document, targetOf: (slot) => slot, isTranslated: false, notes: [] };
}

function translated({ name, bytes }: ConfigFile): RestoredDomain {
  const read = readConfiguration(bytes, name);
  const notes = read.notCarried.map(({ where, what }) => `left out: ${where} (${what})`);
  const { result, notCarried } = writeConfiguration(read.result, 'libvirt', { folder: '/' });
  for (const { where, what, why } of notCarried) notes.push(`${where}: ${what}: ${why}`);
  const document = parseXml(result, `the configuration of ${name}, translated`);
  // both list the disks in the same order
  const targets = diskElements(document).map(targetOf);
  const slots = [...read.disksBySlot].map(([slot, disk]) => [slot, read.result.disks.indexOf(disk)] as const);
  return {
    document,
    notes,
    isTranslated: true,
    targetOf: (slot) => {
      const at = slots.find(([known]) => known === slot)?.[1];
      const target = at === undefined ? undefined : targets[at];
      if (target === undefined) throw new PrimaError('format', `${name} has no disk at ${slot}`);
      return target;
    },
  };
}

export interface Identity {
  name: string;
  /** The original's, unless it is on this host, or the machine is a copy. */
  uuid: string;
  /** The original is on this host: addresses must not be there twice. */
  renewsMacs: boolean;
}

/** What it gets, and why where that is not what it had. */
export function identityOf(
  { root }: XmlDocument,
  request: RestoreRequest,
  original: { name: string } | undefined,
): { identity: Identity; notes: string[] } {
  const uuid = elementTextOf(root, 'uuid');
  const isCopy = elementTextOf(root, 'name') !== request.name;
  if (!isCopy && !original && uuid !== '') {
    return { identity: { name: request.name, uuid, renewsMacs: false }, notes: [] };
  }
  const why = original
    ? `${original.name} has the original's`
    : isCopy
      ? 'it has another name than the original'
      : 'its configuration says none';
  return {
    identity: { name: request.name, uuid: randomUUID(), renewsMacs: original !== undefined },
    notes: [`the machine gets a new UUID: ${why}`],
  };
}

function elementTextOf(root: XmlElement, name: string): string {
  const text = elementAt(root, name)?.children.map((node) => (node.type === 'text' ? node.text : ''));
  return (text ?? []).join('').trim();
}

export interface ShapeOptions {
  identity: Identity;
  /** By target. */
  disks: ReadonlyMap<string, NewDisk>;
  notes: string[];
  /** Disks that are not in `disks` stay what they are. */
  keepsOthers?: boolean;
}

/** The machine as it will be defined. */
export function shapeDomain(
  { document }: RestoredDomain,
  { identity, disks, notes, keepsOthers = false }: ShapeOptions,
): string {
  const { root } = document;
  const isOther =
    elementTextOf(root, 'uuid') !== identity.uuid || elementTextOf(root, 'name') !== identity.name;
  setChildText(root, 'name', identity.name);
  setChildText(root, 'uuid', identity.uuid);
  setAttribute(root, 'id', undefined);
  const devices = elementAt(root, 'devices');
  for (const disk of diskElements(document)) {
    const target = targetOf(disk);
    const made = disks.get(target);
    if (made) placeDisk(disk, made);
    else if (devices && !keepsOthers) {
      removeChild(devices, disk);
      notes.push(`${target} is not in the point and is left out of the machine`);
    }
  }
  if (identity.renewsMacs) renewMacs(elementsOf(devices), notes);
  if (isOther) notes.push(...deconflict(devices, identity.name));
  const nvram = elementAt(root, 'os', 'nvram');
  if (nvram && isOther) {
    nvram.children = []; // a path or a <source>: libvirt gives it a file by the new name
    setAttribute(nvram, 'type', undefined);
  }
  return writeXml(document);
}

/** The XML that lies with saved memory, with the machine's disks where they are now. */
export function placeDisks(xml: string, disks: ReadonlyMap<string, NewDisk>): string {
  const document = parseXml(xml, "the saved memory's configuration");
  for (const disk of diskElements(document)) {
    const made = disks.get(targetOf(disk));
    if (made) placeDisk(disk, made);
  }
  return writeXml(document);
}

function setChildText(parent: XmlElement, name: string, text: string): void {
  const found = elementAt(parent, name);
  if (found) setText(found, text);
  else insertChild(parent, make(name, {}, [text]));
}

/** Everything but the source and its format stays: bus, address, serial, tuning. */
function placeDisk(disk: XmlElement, { element }: NewDisk): void {
  setAttribute(disk, 'type', valueOf(element, 'type'));
  for (const name of ['source', 'backingStore', 'auth', 'encryption', 'mirror']) {
    const old = elementAt(disk, name);
    if (old) removeChild(disk, old);
  }
  const [driver, source] = [elementAt(disk, 'driver'), elementAt(element, 'source')];
  const format = valueOf(elementAt(element, 'driver'), 'type');
  if (driver) setAttribute(driver, 'type', format);
  else insertChild(disk, make('driver', { name: 'qemu', type: format }));
  if (source) insertChild(disk, structuredClone(source), elementAt(disk, 'driver'));
}

function renewMacs(devices: readonly XmlElement[], notes: string[]): void {
  for (const device of devices) {
    const mac = device.local === 'interface' ? elementAt(device, 'mac') : undefined;
    if (!mac) continue;
    const before = valueOf(mac, 'address') ?? '';
    const tail = [...randomBytes(3)].map((byte) => byte.toString(16).padStart(2, '0'));
    setAttribute(mac, 'address', ['52', '54', '00', ...tail].join(':'));
    notes.push(`the network card ${before} gets a new MAC address: the original is on this host`);
  }
}
