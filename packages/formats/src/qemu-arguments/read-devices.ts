/** Screens, displays, serial ports and the TPM of QEMU's arguments. */
import { MiB } from '@prima/base';
import type { Display, MachineDescription, SerialPort, Tpm, Video } from '../machine/description.ts';
import { multiply } from '../machine/numbers.ts';
import { defined, type Losses } from '../machine/translation.ts';
import type { QemuArguments } from './arguments.ts';
import type { QemuOption } from './option.ts';
import { vgaNames, videoDrivers } from './qemu-names.ts';

type Devices = Pick<MachineDescription, 'video' | 'displays' | 'serialPorts' | 'tpm'>;

export function readQemuDevices(options: QemuArguments, losses: Losses): Devices {
  return {
    video: readVideo(options),
    displays: [
      ...options.all('vnc').flatMap((option) => readVnc(option)),
      ...options.all('spice').flatMap((option) => readSpice(option, losses)),
    ],
    serialPorts: readSerialPorts(options),
    tpm: readTpm(options),
  };
}

function readVideo(options: QemuArguments): Video | undefined {
  for (const [model, { driver, memory }] of Object.entries(videoDrivers)) {
    const device = options.all('device').find((option) => option.is('driver', driver));
    if (!device) continue;
    device.settle('driver', 'id', 'addr', 'bus');
    const size = memory === undefined ? undefined : device.whole(memory);
    const what = `${device.where}, memory`;
    return defined({ model, memoryBytes: size === undefined ? undefined : multiply(size, MiB, what) });
  }
  const option = options.last('vga');
  const model = vgaNames[option?.text ?? ''];
  if (model !== undefined) option?.settle();
  return model === undefined ? undefined : { model };
}

/** `-vnc 127.0.0.1:1`: display 1 is port 5901. */
function readVnc(option: QemuOption): Display[] {
  const display = option.get('display');
  const [, listen, number] = /^([^:]*|\[[^\]]*\]):(\d{1,4})$/.exec(display ?? '') ?? [];
  if (display === 'none') return [];
  if (number === undefined) {
    option.unread();
    return [];
  }
  const isChosen = option.get('to') !== undefined;
  return [
    defined<Display>({
      kind: 'vnc',
      port: isChosen ? undefined : 5900 + Number(number),
      listen: listen || undefined,
    }),
  ];
}

function readSpice(option: QemuOption, losses: Losses): Display[] {
  option.settle('disable-ticketing');
  if (option.get('password') !== undefined) {
    losses.add('-spice, password', 'a password', 'passwords are not carried from file to file');
  }
  const [port, listen] = [option.below('port', 65_536), option.get('addr')];
  return [defined<Display>({ kind: 'spice', port, listen })];
}

function readSerialPorts(options: QemuArguments): SerialPort[] {
  const backends = new Map(options.all('chardev').map((option) => [idOf(option), option]));
  const ports = options.all('serial').flatMap((option) => {
    option.settle();
    const named = /^chardev:(.*)$/.exec(option.text ?? '')?.[1];
    const backend = named === undefined ? undefined : backends.get(named);
    const port = backend ? fromChardev(backend) : fromText(option.text ?? '');
    if (!port && option.text !== 'none') option.unread();
    return port ? [port] : [];
  });
  for (const device of options.all('device')) {
    if (!device.is('driver', 'isa-serial')) continue;
    device.settle('driver', 'id', 'index', 'iobase', 'irq');
    const backend = backends.get(device.get('chardev') ?? '');
    const port = backend && fromChardev(backend);
    if (port) ports.push(port);
    else device.unread();
  }
  return ports;
}

/** Looks without counting it as read: other devices have backends, too. */
function idOf(option: QemuOption): string {
  return /(?:^|,)id=([^,]*)/.exec(option.text ?? '')?.[1] ?? '';
}

function fromChardev(option: QemuOption): SerialPort | undefined {
  option.settle('id');
  const path = option.get('path');
  switch (option.get('backend')) {
    case 'file':
      return defined<SerialPort>({ kind: 'file', target: path });
    case 'pipe':
      return defined<SerialPort>({ kind: 'pipe', target: path });
    case 'serial':
    case 'tty':
      return defined<SerialPort>({ kind: 'device', target: path });
    case 'pty':
      return { kind: 'pty' };
    case 'null':
      return { kind: 'null' };
    case 'socket': {
      option.settle('wait');
      const server = option.isOn('server');
      if (path !== undefined) return { kind: 'unix', target: path, server };
      return { kind: 'tcp', target: `${option.get('host') ?? ''}:${option.get('port') ?? ''}`, server };
    }
    default:
      option.unread();
      return undefined;
  }
}

/** The older way to say it: `file:/tmp/x`, `unix:/run/x,server=on`. */
function fromText(text: string): SerialPort | undefined {
  const [, kind = text, target = ''] = /^(file|pipe|unix|tcp):([^]*)$/.exec(text) ?? [];
  const [address = ''] = target.split(',');
  const server = /,server(?:=on)?(?:,|$)/.test(target);
  switch (kind) {
    case 'file':
    case 'pipe':
      return { kind, target };
    case 'unix':
    case 'tcp':
      return { kind, target: address, server };
    case 'pty':
    case 'null':
      return { kind };
    default:
      return text.startsWith('/dev/') ? { kind: 'device', target: text } : undefined;
  }
}

function readTpm(options: QemuArguments): Tpm | undefined {
  const device = options
    .all('device')
    .find((option) => option.is('driver', 'tpm-tis') || option.is('driver', 'tpm-crb'));
  if (!device) return undefined;
  device.settle('id', 'tpmdev');
  for (const backend of options.all('tpmdev'))
    if (backend.is('type', 'emulator')) backend.settle('type', 'id', 'chardev');
  return { version: '2.0', model: device.get('driver') === 'tpm-crb' ? 'crb' : 'tis' };
}
