/** Network cards, screens, serial ports and the TPM of a libvirt domain. */
import type {
  Display,
  MachineDescription,
  Nic,
  NicNetwork,
  SerialPort,
  Tpm,
  Video,
} from '../machine/description.ts';
import { multiply, oneOf, parseBelow, parseMac, parseWhole } from '../machine/numbers.ts';
import { defined, type Losses } from '../machine/translation.ts';
import type { XmlElement, XmlReading } from '@prima/xml';
import { nameOf, nicModelNames } from './domain-names.ts';
import { bootIndexOf } from './read-drives.ts';

type Devices = Pick<MachineDescription, 'nics' | 'video' | 'displays' | 'serialPorts' | 'tpm'>;

export function readDomainDevices(
  reading: XmlReading,
  devices: XmlElement | undefined,
  losses: Losses,
): Devices {
  return {
    nics: reading.children(devices, 'interface').map((element) => readNic(reading, element)),
    video: readVideo(reading, devices),
    displays: reading
      .children(devices, 'graphics')
      .flatMap((element) => readDisplay(reading, element, losses)),
    serialPorts: readSerialPorts(reading, devices),
    tpm: readTpm(reading, devices),
  };
}

function readNic(reading: XmlReading, element: XmlElement): Nic {
  const model = reading.child(element, 'model');
  const type = reading.attribute(model, 'type');
  const known = nameOf(nicModelNames, type);
  if (model && type !== undefined && known === undefined) reading.unread(model);
  const mac = reading.attribute(reading.child(element, 'mac'), 'address');
  return defined({
    model: known,
    mac: parseMac(mac, 'libvirt domain: mac address'),
    network: readNetwork(reading, element),
    bootIndex: bootIndexOf(reading, element),
  });
}

function readNetwork(reading: XmlReading, element: XmlElement): NicNetwork {
  const source = reading.child(element, 'source');
  const type = reading.attribute(element, 'type');
  const name = (attribute: string) => reading.attribute(source, attribute) || undefined;
  switch (type) {
    case 'network':
      return defined({ kind: 'network', name: name('network') });
    case 'bridge':
      return defined({ kind: 'bridge', name: name('bridge') });
    case 'user':
      return { kind: 'nat' };
    case 'ethernet': {
      const target = reading.child(element, 'target');
      return defined({ kind: 'tap', name: reading.attribute(target, 'dev') });
    }
    case 'null':
      return { kind: 'none' };
    default:
      if (source) reading.unread(source);
      return { kind: 'none' };
  }
}

function readVideo(reading: XmlReading, devices: XmlElement | undefined): Video | undefined {
  const element = reading.child(devices, 'video');
  const model = reading.child(element, 'model');
  if (!model) return undefined;
  const type = reading.attribute(model, 'type');
  const size = parseWhole(reading.attribute(model, 'vram'), 'libvirt domain: vram');
  const heads = reading.attribute(model, 'heads');
  if (heads !== undefined && heads !== '1') reading.unread(model);
  reading.attribute(model, 'primary');
  return defined({
    model: type,
    memoryBytes: size === undefined ? undefined : multiply(size, 1024, 'libvirt domain: vram'),
  });
}

function readDisplay(reading: XmlReading, element: XmlElement, losses: Losses): Display[] {
  const kind = oneOf(['vnc', 'spice'] as const, reading.attribute(element, 'type'));
  if (!kind) {
    reading.unread(element);
    return [];
  }
  const listener = reading.child(element, 'listen');
  const isAddress = reading.attribute(listener, 'type') === 'address';
  const listen = reading.attribute(element, 'listen') ?? reading.attribute(listener, 'address');
  if (listener && !isAddress) reading.unread(listener);
  const automatic = reading.attribute(element, 'autoport') === 'yes';
  const port = reading.attribute(element, 'port');
  const isChosen = automatic || port === undefined || port === '-1';
  if (reading.attribute(element, 'passwd') !== undefined) {
    losses.add(
      'domain/devices/graphics/@passwd',
      'a password',
      'passwords are not carried from file to file',
    );
  }
  return [
    defined({
      kind,
      port: isChosen ? undefined : parseBelow(port, 65_536, 'libvirt domain: graphics port'),
      listen: listen || undefined,
    }),
  ];
}

function readSerialPorts(reading: XmlReading, devices: XmlElement | undefined): SerialPort[] {
  // libvirt shows the first serial port a second time, as a console.
  for (const element of reading.children(devices, 'console')) {
    if (reading.attribute(reading.child(element, 'target'), 'type') === 'serial') reading.settle(element);
    else reading.unread(element);
  }
  return reading.children(devices, 'serial').flatMap((element) => readSerialPort(reading, element));
}

function readSerialPort(reading: XmlReading, element: XmlElement): SerialPort[] {
  const type = reading.attribute(element, 'type');
  const source = reading.child(element, 'source');
  const target = reading.child(element, 'target');
  const at = (name: string) => reading.attribute(source, name);
  reading.attribute(target, 'port');
  if (reading.attribute(target, 'type') === 'isa-serial') reading.settle(target);
  switch (type) {
    case 'file':
    case 'pipe':
      return [defined<SerialPort>({ kind: type, target: at('path') })];
    case 'dev':
      return [defined<SerialPort>({ kind: 'device', target: at('path') })];
    case 'unix':
      return [defined<SerialPort>({ kind: 'unix', target: at('path'), server: at('mode') === 'bind' })];
    case 'tcp': {
      const address = `${at('host') ?? ''}:${at('service') ?? ''}`;
      if (reading.attribute(reading.child(element, 'protocol'), 'type') !== 'raw') reading.unread(element);
      return [{ kind: 'tcp', target: address, server: at('mode') === 'bind' }];
    }
    case 'pty':
    case 'null':
      if (source) at('path'); // of a running machine: which pseudo terminal it got
      return [{ kind: type }];
    default:
      reading.unread(element);
      return [];
  }
}

function readTpm(reading: XmlReading, devices: XmlElement | undefined): Tpm | undefined {
  const element = reading.child(devices, 'tpm');
  if (!element) return undefined;
  const backend = reading.child(element, 'backend');
  const isEmulator = reading.attribute(backend, 'type') === 'emulator';
  if (backend && !isEmulator) reading.unread(backend);
  const model = oneOf(['tpm-tis', 'tpm-crb'] as const, reading.attribute(element, 'model'));
  return defined<Tpm>({
    version: reading.attribute(backend, 'version') === '1.2' ? '1.2' : '2.0',
    model: model === 'tpm-tis' ? 'tis' : model && 'crb',
  });
}
