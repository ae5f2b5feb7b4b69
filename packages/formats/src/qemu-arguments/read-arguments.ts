/** QEMU's arguments → description. Which option is which member: docs/format/machine-configuration.md. */
import { FormatError, GiB, MiB, TiB } from '@prima/base';
import type { Cpus, Firmware, MachineDescription } from '../machine/description.ts';
import { multiply, oneOf, parseUuid, parseWhole } from '../machine/numbers.ts';
import { defined, Losses, type Translation } from '../machine/translation.ts';
import { QemuArguments } from './arguments.ts';
import { looksLikeUefi } from './qemu-names.ts';
import { readQemuDevices } from './read-devices.ts';
import { QemuDrives } from './read-drives.ts';
import { readQemuNics } from './read-nics.ts';

/** How the host runs QEMU and talks to it, not what the machine is. */
const silent = (
  'accel enable-kvm daemonize pidfile monitor qmp qmp-pretty mon S s gdb no-user-config nodefaults sandbox msg D d runas ' +
  'display no-reboot no-shutdown'
).split(' ');

/** `fallbackName` is for a machine without a name. Raises `format` where an option is none. */
export function readQemuArguments(
  words: readonly string[],
  fallbackName: string,
): Translation<MachineDescription> {
  const options = new QemuArguments(words);
  const losses = new Losses();
  options.settle(silent);
  const machine = options.last('machine');
  machine?.settle('accel', 'type', 'usb', 'dump-guest-core');
  const machineType = machine?.get('type');
  const drives = new QemuDrives(options, machineType);
  const description = defined<MachineDescription>({
    name: readName(options) ?? fallbackName,
    uuid: parseUuid(options.text('uuid'), 'QEMU arguments: -uuid'),
    memoryBytes: readMemory(options),
    cpus: readCpus(options),
    machineType,
    firmware: readFirmware(options, drives),
    kernel: readKernel(options),
    clock: oneOf(['utc', 'localtime'] as const, options.last('rtc')?.get('base')),
    ...drives.read(),
    nics: readQemuNics(options, machineType),
    ...readQemuDevices(options, losses),
  });
  readBootOrder(options, description);
  for (const { where, what } of options.unreadParts()) {
    losses.add(where, what, 'a description has no place for it');
  }
  return { result: description, notCarried: losses.list };
}

function readName(options: QemuArguments): string | undefined {
  const option = options.last('name');
  option?.settle('process', 'debug-threads');
  return option?.get('guest') || undefined;
}

const sizes: Readonly<Record<string, number>> = { '': MiB, b: 1, k: 1024, m: MiB, g: GiB, t: TiB };

function readMemory(options: QemuArguments): number {
  const text = options.last('m')?.get('size') ?? '128';
  const [, digits, unit = ''] = /^(\d{1,15})([bkmgt]?)$/i.exec(text) ?? [];
  const factor = sizes[unit.toLowerCase()];
  const amount = parseWhole(digits, 'QEMU arguments: -m');
  if (amount === undefined || factor === undefined) {
    throw new FormatError(`QEMU arguments: -m ${text.slice(0, 80)} where a size was wanted, as in 512 or 2G`);
  }
  return multiply(amount, factor, 'QEMU arguments: -m');
}

function readCpus(options: QemuArguments): Cpus {
  const smp = options.last('smp');
  const part = (key: string) => smp?.below(key, 65_536);
  const [sockets, dies, cores, threads] = ['sockets', 'dies', 'cores', 'threads'].map(part);
  const product = (sockets ?? 1) * (dies ?? 1) * (cores ?? 1) * (threads ?? 1);
  const count = Math.max(1, part('cpus') ?? product);
  const most = part('maxcpus');
  if (most !== undefined && most !== count) smp?.unreadKey('maxcpus');
  const isSaid = [sockets, dies, cores, threads].some((value) => value !== undefined);
  // What is left out of them is cores, then sockets, as QEMU does since 6.2.
  const perSocket = count / (sockets ?? 1);
  const wanted = {
    sockets: sockets ?? 1,
    cores: (dies ?? 1) * (cores ?? perSocket / (dies ?? 1) / (threads ?? 1)),
    threads: threads ?? 1,
  };
  if (sockets === undefined && cores !== undefined) wanted.sockets = count / (wanted.cores * wanted.threads);
  const isWhole =
    wanted.sockets * wanted.cores * wanted.threads === count &&
    Object.values(wanted).every(Number.isSafeInteger);
  if (isSaid && !isWhole) smp?.unread();
  return defined({
    count,
    topology: isSaid && isWhole ? wanted : undefined,
    model: options.last('cpu')?.get('model'),
  });
}

/** Flash chips: the first holds the firmware, the second its variables. */
function readFirmware(options: QemuArguments, drives: QemuDrives): Firmware {
  const bios = options.text('bios');
  const pflash = options.all('pflash');
  for (const option of pflash) option.settle();
  const [loader, nvram] = [...drives.flash(), ...pflash.map(({ text }) => text)];
  if (loader !== undefined) return defined({ kind: 'uefi', loader, nvram });
  return defined({ kind: looksLikeUefi(bios) ? 'uefi' : 'bios', loader: bios });
}

function readKernel(options: QemuArguments): MachineDescription['kernel'] {
  const image = options.text('kernel');
  if (image === undefined) return undefined;
  return defined({ image, initrd: options.text('initrd'), commandLine: options.text('append') });
}

/** `-boot order=cdn`: the first disk, the first CD-ROM, the first card. */
function readBootOrder(options: QemuArguments, { disks, cdroms, nics }: MachineDescription): void {
  const boot = options.last('boot');
  boot?.settle('strict');
  const letters = boot?.get('order');
  if (letters === undefined) return;
  const kinds: Partial<Record<string, { bootIndex?: number }>> = { c: disks[0], d: cdroms[0], n: nics[0] };
  const devices = letters.split('').map((letter) => kinds[letter]);
  const isSaid = [...disks, ...cdroms, ...nics].some(({ bootIndex }) => bootIndex !== undefined);
  if (isSaid || devices.includes(undefined)) boot?.unreadKey('order');
  if (isSaid) return;
  let next = 1;
  for (const device of new Set(devices)) {
    if (!device) continue;
    device.bootIndex = next;
    next += 1;
  }
}
