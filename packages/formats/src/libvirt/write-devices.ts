/** Network cards, screens, serial ports and the TPM of a description → elements of a libvirt domain. */
import { KiB } from '@prima/base';
import { elementMaker, removeChild, setAttribute, type XmlElement } from '@prima/xml';
import type { Display, MachineDescription, Nic, NicNetwork, SerialPort } from '../machine/description.ts';
import { type Losses, sameValue } from '../machine/translation.ts';
import { nicModelNames } from './domain-names.ts';
import {
  ensureChild,
  findChild,
  findChildren,
  insertDevice,
  removeChildren,
  replaceChild,
} from './domain-tree.ts';
import type { DomainWriting } from './write-domain.ts';

const element = elementMaker({});

export function writeDomainDevices(writing: DomainWriting, description: MachineDescription): void {
  const { devices, losses, before } = writing;
  const { nics, displays, serialPorts, tpm } = description;
  const cards = findChildren(devices, 'interface');
  for (const card of cards.slice(nics.length)) removeChild(devices, card);
  for (const [index, nic] of nics.entries()) {
    if (before && sameValue(before.nics[index], nic)) continue;
    const card = cards[index] ?? element('interface', { type: 'user' });
    if (!cards[index]) insertDevice(devices, card);
    writeNic(card, { nic, where: `nics[${index}]` }, losses);
  }
  if (!sameValue(before?.video, description.video)) writeVideo(devices, description, losses);
  if (!sameValue(before?.displays, displays)) {
    replaceDevices(devices, 'graphics', displays.map(graphics));
  }
  if (!sameValue(before?.serialPorts, serialPorts)) {
    removeConsoles(devices);
    replaceDevices(devices, 'serial', serialPorts.map(serialPort));
  }
  if (!sameValue(before?.tpm, tpm)) {
    const { version, model } = tpm ?? {};
    const backend = element('backend', { type: 'emulator', version });
    replaceDevices(
      devices,
      'tpm',
      tpm ? [element('tpm', { model: model && `tpm-${model}` }, [backend])] : [],
    );
  }
}

function replaceDevices(devices: XmlElement, local: string, wanted: readonly XmlElement[]): void {
  removeChildren(devices, local);
  for (const device of wanted) insertDevice(devices, device);
}

/** libvirt shows the first serial port a second time, as a console. */
function removeConsoles(devices: XmlElement): void {
  for (const console of findChildren(devices, 'console')) {
    const target = findChild(console, 'target');
    const isSerial = target?.attributes.some(({ local, value }) => local === 'type' && value === 'serial');
    if (isSerial) removeChild(devices, console);
  }
}

function writeNic(card: XmlElement, { nic, where }: { nic: Nic; where: string }, losses: Losses): void {
  const { model, mac, bootIndex, network } = nic;
  if (mac === undefined) removeChildren(card, 'mac');
  else setAttribute(ensureChild(card, 'mac'), 'address', mac);
  if (model === undefined) removeChildren(card, 'model');
  else setAttribute(ensureChild(card, 'model'), 'type', nicModelNames[model]);
  if (bootIndex === undefined) removeChildren(card, 'boot');
  else setAttribute(ensureChild(card, 'boot'), 'order', bootIndex);
  const { type, source, target, lost } = connection(network);
  setAttribute(card, 'type', type);
  if (source) replaceChild(card, source);
  else removeChildren(card, 'source');
  if (target) replaceChild(card, target);
  if (lost !== undefined) losses.add(`${where}.network`, network, lost);
}

interface Connection {
  type: string;
  source?: XmlElement;
  target?: XmlElement;
  lost?: string;
}

/** A card whose network libvirt lacks is connected to none, rather than to another. */
function connection({ kind, name }: NicNetwork): Connection {
  switch (kind) {
    case 'network':
      return { type: 'network', source: element('source', { network: name ?? 'default' }) };
    case 'bridge':
      return name === undefined
        ? { type: 'null', lost: 'libvirt has to be told which bridge; the card is not connected' }
        : { type: 'bridge', source: element('source', { bridge: name }) };
    case 'nat':
      return {
        type: 'user',
        ...(name === undefined ? {} : { lost: 'behind the host’s address there are no names' }),
      };
    case 'tap':
      return {
        type: 'ethernet',
        ...(name === undefined ? {} : { target: element('target', { dev: name }) }),
      };
    case 'host-only':
      return { type: 'null', lost: 'libvirt has networks by name only; the card is not connected' };
    default:
      return { type: 'null', ...(name === undefined ? {} : { lost: 'it has no name' }) };
  }
}

function writeVideo(devices: XmlElement, { video }: MachineDescription, losses: Losses): void {
  if (!video) {
    removeChildren(devices, 'video');
    return;
  }
  const { model = 'vga', memoryBytes } = video;
  if (video.model === undefined)
    losses.add('video.model', `${model} is written`, 'libvirt has to be told which');
  const vram = model === 'none' || memoryBytes === undefined ? undefined : Math.ceil(memoryBytes / KiB);
  if (model === 'none') losses.add('video.memoryBytes', memoryBytes, 'there is no screen');
  const made = element('model', { type: model, vram });
  const there = findChild(devices, 'video');
  if (there) replaceChild(there, made);
  else insertDevice(devices, element('video', {}, [made]));
}

function graphics({ kind, port, listen }: Display): XmlElement {
  const chosen = port === undefined ? { port: -1, autoport: 'yes' } : { port, autoport: 'no' };
  const listener = listen === undefined ? [] : [element('listen', { type: 'address', address: listen })];
  return element('graphics', { type: kind, ...chosen }, listener);
}

function serialPort({ kind, target = '', server }: SerialPort, index: number): XmlElement {
  const port = element('target', { port: index });
  const serial = (type: string, ...children: XmlElement[]) =>
    element('serial', { type }, [...children, port]);
  const mode = server ? 'bind' : 'connect';
  switch (kind) {
    case 'pty':
    case 'null':
      return serial(kind);
    case 'unix':
      return serial(kind, element('source', { mode, path: target }));
    case 'tcp': {
      const [, host = target, service = '0'] = /^(.*):([^:]*)$/.exec(target) ?? [];
      return serial(kind, element('source', { mode, host, service }), element('protocol', { type: 'raw' }));
    }
    default:
      return serial(kind === 'device' ? 'dev' : kind, element('source', { path: target }));
  }
}
