/** Network cards, screens, displays and serial ports of a description → QEMU's arguments. */
import { MiB } from '@prima/base';
import type { Display, MachineDescription, Nic, SerialPort } from '../machine/description.ts';
import type { Losses } from '../machine/translation.ts';
import { writeValues } from './option.ts';
import { nicDrivers, videoDrivers } from './qemu-names.ts';
import { option } from './write-arguments.ts';

export function writeQemuDevices(description: MachineDescription, losses: Losses): string[] {
  const { nics, displays, serialPorts, tpm } = description;
  losses.add('tpm', tpm, 'a TPM needs a process beside QEMU');
  return [
    ...nics.flatMap((nic, at) => writeNic(nic, at, losses)),
    ...writeVideo(description, losses),
    ...displays.flatMap((display, at) => writeDisplay(display, `displays[${at}]`, losses)),
    ...serialPorts.flatMap((port, at) => writeSerialPort(port, at, losses)),
  ];
}

/** A card whose network QEMU cannot reach is connected to none, rather than to another. */
function writeNic({ model, mac, network, bootIndex }: Nic, at: number, losses: Losses): string[] {
  const id = `net${at}`;
  const known = model && nicDrivers[model];
  const driver = known ?? (model === undefined ? 'virtio-net-pci' : 'vmxnet3');
  if (known === undefined) {
    losses.add(
      `nics[${at}].model`,
      model ?? `${driver} is written`,
      `QEMU has ${driver} instead, or has to be told which`,
    );
  }
  const backend = netdev(network, id);
  const { kind, name } = network;
  const isCarried =
    kind === 'bridge' || kind === 'tap' || ((kind === 'nat' || kind === 'none') && name === undefined);
  if (!isCarried) {
    losses.add(
      `nics[${at}].network`,
      network,
      backend ? 'names mean nothing there' : 'QEMU has no such network; the card is not connected',
    );
  }
  const values = { netdev: backend && id, mac, bootindex: bootIndex };
  const rest = writeValues(values);
  return [...option('netdev', backend), '-device', rest === '' ? driver : `${driver},${rest}`];
}

function netdev({ kind, name }: Nic['network'], id: string): string | undefined {
  switch (kind) {
    case 'nat':
      return writeValues({ type: 'user', id }).replace('type=', '');
    case 'bridge':
      return writeValues({ type: 'bridge', id, br: name }).replace('type=', '');
    case 'tap':
      return writeValues({ type: 'tap', id, ifname: name, script: 'no', downscript: 'no' }).replace(
        'type=',
        '',
      );
    default:
      return undefined;
  }
}

function writeVideo({ video }: MachineDescription, losses: Losses): string[] {
  if (!video) return [];
  const { model, memoryBytes } = video;
  if (model === 'none') {
    losses.add('video.memoryBytes', memoryBytes, 'there is no screen');
    return ['-vga', 'none'];
  }
  const known = videoDrivers[model ?? ''];
  if (!known)
    losses.add('video.model', model ?? 'vga is written', 'QEMU has no such screen, or has to be told which');
  const { driver, memory, sizes } = known ?? { driver: 'VGA', memory: 'vgamem_mb', sizes: undefined };
  const size = memoryBytes === undefined ? undefined : memoryBytes / MiB;
  const isSayable =
    memory !== undefined &&
    size !== undefined &&
    Number.isSafeInteger(size) &&
    (sizes?.includes(size) ?? true);
  if (!isSayable) losses.add('video.memoryBytes', memoryBytes, `QEMU's ${driver} has no such choice`);
  return ['-device', isSayable ? `${driver},${memory}=${size}` : driver];
}

/** QEMU's own default would be every address of the host, and without a password. */
const safeAddress = '127.0.0.1';

function writeDisplay({ kind, port, listen }: Display, where: string, losses: Losses): string[] {
  if ((kind === 'vnc' && port !== undefined && port < 5900) || (kind === 'spice' && port === undefined)) {
    const why = kind === 'vnc' ? "QEMU's VNC ports begin with 5900" : "QEMU's SPICE has to be told its port";
    losses.add(where, kind, why);
    return [];
  }
  const address = listen ?? safeAddress;
  if (listen === undefined) {
    losses.add(`${where}.listen`, `${address} is written`, "QEMU's default is every address of the host");
  }
  if (kind === 'spice') return ['-spice', writeValues({ port, addr: address, 'disable-ticketing': 'on' })];
  return ['-vnc', port === undefined ? `${address}:0,to=99` : `${address}:${port - 5900}`];
}

function writeSerialPort(port: SerialPort, at: number, losses: Losses): string[] {
  if (at > 3) {
    losses.add(`serialPorts[${at}]`, port.kind, 'there are four serial ports at most');
    return [];
  }
  const id = `serial${at}`;
  return ['-chardev', backend(port, id), '-device', `isa-serial,chardev=${id}`];
}

function backend({ kind, target, server }: SerialPort, id: string): string {
  const listening = server ? { server: 'on', wait: 'off' } : {};
  const values = (name: string, more: Record<string, string | undefined>) =>
    `${name},${writeValues({ id, ...more })}`;
  switch (kind) {
    case 'unix':
      return values('socket', { path: target, ...listening });
    case 'tcp': {
      const [, host = target, port = '0'] = /^(.*):([^:]*)$/.exec(target ?? '') ?? [];
      return values('socket', { host, port, ...listening });
    }
    case 'device':
      return values('serial', { path: target });
    case 'file':
    case 'pipe':
      return values(kind, { path: target });
    default:
      return values(kind, {});
  }
}
