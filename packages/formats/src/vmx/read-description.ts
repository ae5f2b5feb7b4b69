/** .vmx → description. Which key is which member: docs/format/machine-configuration.md. */
import { MiB } from '@prima/base';
import type {
  Disk,
  Display,
  MachineDescription,
  SerialPort,
  Shares,
  Tpm,
  Video,
} from '../machine/description.ts';
import { multiply, oneOf } from '../machine/numbers.ts';
import { defined, Losses, type Translation } from '../machine/translation.ts';
import { readVmxBootOrder } from './boot-order.ts';
import { readVmxDrives } from './read-drives.ts';
import { readVmxNics } from './read-nics.ts';
import { parseVmxUuid } from './settings.ts';
import { VmxReading } from './vmx-reading.ts';
import type { Vmx } from './vmx.ts';

/** Says nothing about the machine: it is about the file, or about files that are made anew. */
const silent = ['.encoding', 'config.version', 'sched.cpu.units', 'sched.swap.derivedName'];

export interface VmxDescription extends Translation<MachineDescription> {
  /** The description's disks by what the file calls their slot: `scsi0:1`, also where it is one of virtio-blk. */
  disksBySlot: ReadonlyMap<string, Disk>;
}

/** Raises `format` where a value is none. `fallbackName` is for files without displayName. */
export function readVmxDescription(vmx: Vmx, fallbackName: string): VmxDescription {
  const reading = new VmxReading(vmx);
  const losses = new Losses();
  reading.settle(...silent);
  const { drives, disksBySlot } = readVmxDrives(reading, losses);
  const nics = readVmxNics(reading, losses);
  const description = defined<MachineDescription>({
    name: reading.get('displayName') ?? fallbackName,
    uuid: parseVmxUuid(reading.get('uuid.bios')),
    annotation: reading.get('annotation'),
    guestOs: readGuestOs(reading),
    memoryBytes: multiply(reading.whole('memsize') ?? 256, MiB, '.vmx: memsize'),
    cpus: readCpus(reading),
    machineType: reading.get('prima.machine'),
    hardwareVersion: reading.whole('virtualHW.version'),
    firmware: readFirmware(reading),
    kernel: readKernel(reading),
    ...drives,
    nics,
    video: readVideo(reading),
    displays: readDisplays(reading, losses),
    serialPorts: readSerialPorts(reading),
    tpm: readTpm(reading),
    resources: readResources(reading),
  });
  readVmxBootOrder(reading, description, disksBySlot);
  for (const [group, keys] of reading.unreadGroups()) {
    const sample = keys.length === 1 ? vmx.get(keys[0] ?? '') : `${keys.length} keys of ${group}`;
    losses.add(keys.join(' '), sample ?? '', 'a description has no place for it');
  }
  return { result: description, notCarried: losses.list, disksBySlot };
}

function readGuestOs(reading: VmxReading): MachineDescription['guestOs'] {
  const vmware = reading.get('guestOS');
  return vmware === undefined ? undefined : { vmware };
}

function readCpus(reading: VmxReading): MachineDescription['cpus'] {
  const count = reading.below('numvcpus', 65_536) ?? 1;
  const cores = reading.below('cpuid.coresPerSocket', 65_536);
  const isWhole = cores !== undefined && cores > 0 && count > 0 && count % cores === 0;
  if (!isWhole) reading.unread('cpuid.coresPerSocket');
  return defined({
    count: Math.max(1, count),
    topology: isWhole ? { sockets: count / cores, cores, threads: 1 } : undefined,
    model: reading.get('prima.cpu'),
  });
}

function readFirmware(reading: VmxReading): MachineDescription['firmware'] {
  const name = reading.get('firmware')?.toLowerCase();
  if (name !== undefined && name !== 'efi' && name !== 'bios') reading.unread('firmware');
  const secureBoot = reading.get('uefi.secureBoot.enabled');
  return defined({
    kind: name === 'efi' ? 'uefi' : 'bios',
    secureBoot: secureBoot === undefined ? undefined : reading.isTrue('uefi.secureBoot.enabled'),
    loader: reading.get('prima.loader'),
    nvram: reading.get('nvram'),
  });
}

function readKernel(reading: VmxReading): MachineDescription['kernel'] {
  const image = reading.get('prima.kernel');
  if (image === undefined) return undefined;
  const [initrd, commandLine] = [reading.get('prima.initrd'), reading.get('prima.append')];
  return defined({ image, initrd, commandLine });
}

function readVideo(reading: VmxReading): Video | undefined {
  const memoryBytes = reading.whole('svga.vramSize');
  return memoryBytes === undefined ? undefined : { memoryBytes };
}

function readDisplays(reading: VmxReading, losses: Losses): Display[] {
  const vnc = 'RemoteDisplay.vnc';
  reading.settle(`${vnc}.enabled`, `${vnc}.key`, `${vnc}.password`);
  if (reading.vmx.has(`${vnc}.key`) || reading.vmx.has(`${vnc}.password`)) {
    losses.add(`${vnc}.password`, 'a password', 'passwords are not carried from file to file');
  }
  if (!reading.isTrue(`${vnc}.enabled`)) return [];
  const [port, listen] = [reading.below(`${vnc}.port`, 65_536), reading.get(`${vnc}.ip`)];
  return [defined({ kind: 'vnc' as const, port, listen })];
}

function readSerialPorts(reading: VmxReading): SerialPort[] {
  return reading.indices('serial').flatMap((index) => {
    const key = (name: string) => `serial${index}.${name}`;
    if (!reading.isTrue(key('present'))) {
      reading.unread(key('present'));
      return [];
    }
    const port = serialPort(reading, key);
    if (!port) for (const name of ['present', 'fileType', 'fileName']) reading.unread(key(name));
    return port ? [port] : [];
  });
}

function serialPort(reading: VmxReading, key: (name: string) => string): SerialPort | undefined {
  const target = reading.get(key('fileName'));
  const isServer = (name: string) => reading.get(key(name))?.toLowerCase() === 'server';
  switch (reading.get(key('fileType'))?.toLowerCase()) {
    case 'file':
      return defined<SerialPort>({ kind: 'file', target });
    case 'device':
      return defined<SerialPort>({ kind: 'device', target });
    case 'pipe':
      return defined<SerialPort>({ kind: 'unix', target, server: isServer('pipe.endPoint') });
    case 'network': {
      const address = /^(?:tcp|telnet):\/\/([^/]*)$/i.exec(target ?? '')?.[1];
      return address === undefined
        ? undefined
        : { kind: 'tcp', target: address, server: isServer('network.endPoint') };
    }
    default:
      return undefined;
  }
}

function readTpm(reading: VmxReading): Tpm | undefined {
  return reading.isTrue('vtpm.present') ? { version: '2.0' } : undefined;
}

function readResources(reading: VmxReading): MachineDescription['resources'] {
  const megabytes = (...keys: string[]): number | undefined => {
    const found = keys.map((key) => limited(reading, key)).find((value) => value !== undefined);
    return found === undefined ? undefined : multiply(found, MiB, `.vmx: ${keys[0] ?? ''}`);
  };
  const cpu = defined({
    shares: readShares(reading, 'sched.cpu.shares'),
    reservationMhz: limited(reading, 'sched.cpu.min'),
    limitMhz: limited(reading, 'sched.cpu.max'),
  });
  const memory = defined({
    shares: readShares(reading, 'sched.mem.shares'),
    reservationBytes: megabytes('sched.mem.min', 'sched.mem.minSize'),
    limitBytes: megabytes('sched.mem.max'),
  });
  const some = (object: object) => (Object.keys(object).length > 0 ? object : undefined);
  return some(defined({ cpu: some(cpu), memory: some(memory) }));
}

/** ESX writes `unlimited`, or -1. */
function limited(reading: VmxReading, key: string): number | undefined {
  return /^\s*(?:unlimited|-1)\s*$/i.test(reading.get(key) ?? '') ? undefined : reading.whole(key);
}

function readShares(reading: VmxReading, key: string): Shares | undefined {
  return oneOf(['low', 'normal', 'high'] as const, reading.get(key)) ?? reading.whole(key);
}
