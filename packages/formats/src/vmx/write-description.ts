/** Description → .vmx, new or over one that is there: its order, comments and unknown keys stay. */
import { MiB } from '@prima/base';
import type { Display, MachineDescription, Resources, SerialPort } from '../machine/description.ts';
import { defined, Losses, sameValue, type Translation } from '../machine/translation.ts';
import { writeVmxBootOrder } from './boot-order.ts';
import { readVmxDescription } from './read-description.ts';
import { writeVmxUuid } from './settings.ts';
import { parseVmx, Vmx, writeVmx } from './vmx.ts';
import { writeVmxDrives } from './write-drives.ts';
import { writeVmxNics } from './write-nics.ts';

export interface VmxChoices {
  /**
   * `plain-qemu`: for Prima's plain QEMU hosts, with `prima.` keys for what only QEMU has. `vmware`: without them.
   */
  flavour: 'vmware' | 'plain-qemu';
  /** The file that is written over; it is not changed itself. */
  over?: Vmx;
}

/** What a writer of one part needs. */
export interface VmxWriting {
  vmx: Vmx;
  losses: Losses;
  flavour: VmxChoices['flavour'];
  /** What `over` said. */
  before?: MachineDescription;
}

const defaultHardwareVersion = 13;

export function writeVmxDescription(description: MachineDescription, choices: VmxChoices): Translation<Vmx> {
  const { over, flavour } = choices;
  const vmx = over ? parseVmx(writeVmx(over)) : new Vmx();
  const before = over ? readVmxDescription(over, description.name).result : undefined;
  const writing: VmxWriting = defined({ vmx, losses: new Losses(), flavour, before });
  if (!over) {
    vmx.set('.encoding', 'UTF-8');
    vmx.set('config.version', '8');
  }
  writeIdentity(writing, description);
  writeHardware(writing, description);
  const slots = writeVmxDrives(writing, description);
  const cards = writeVmxNics(writing, description);
  if (changed(writing, description, ['displays'])) writeDisplays(writing, description.displays);
  if (changed(writing, description, ['serialPorts'])) writeSerialPorts(writing, description.serialPorts);
  if (changed(writing, description, ['resources'])) writeResources(vmx, description.resources ?? {});
  if (changed(writing, description, ['disks', 'cdroms', 'nics'])) {
    writeVmxBootOrder(vmx, description, { losses: writing.losses, cards, slots });
  }
  return { result: vmx, notCarried: writing.losses.list };
}

/** False where the file over which we write says the same already: it then keeps its own way to say it. */
function changed(
  { before }: VmxWriting,
  description: MachineDescription,
  members: readonly (keyof MachineDescription)[],
): boolean {
  return !before || members.some((member) => !sameValue(before[member], description[member]));
}

/** Sets the key, or removes it where there is no value. */
export function put(vmx: Vmx, key: string, value: string | number | undefined): void {
  if (value === undefined) vmx.delete(key);
  else vmx.set(key, String(value));
}

function writeIdentity(writing: VmxWriting, description: MachineDescription): void {
  const { vmx, losses } = writing;
  const { name, uuid, annotation, guestOs, hardwareVersion } = description;
  const set = (member: keyof MachineDescription, key: string, value: string | number | undefined) => {
    if (changed(writing, description, [member])) put(vmx, key, value);
  };
  if (hardwareVersion === undefined) {
    losses.add('hardwareVersion', `${defaultHardwareVersion} is written`, 'a .vmx has to say one');
  }
  set('hardwareVersion', 'virtualHW.version', hardwareVersion ?? defaultHardwareVersion);
  set('name', 'displayName', name);
  set('uuid', 'uuid.bios', uuid === undefined ? undefined : writeVmxUuid(uuid));
  set('annotation', 'annotation', annotation);
  set('guestOs', 'guestOS', guestOs?.vmware);
  const why = "a .vmx has VMware's name of the system only";
  losses.add('guestOs.cim', guestOs?.cim, why);
  losses.add('guestOs.libosinfo', guestOs?.libosinfo, why);
}

function writeHardware(writing: VmxWriting, description: MachineDescription): void {
  const { vmx, losses } = writing;
  const { memoryBytes, cpus, clock, firmware, video, tpm } = description;
  if (changed(writing, description, ['memoryBytes'])) {
    vmx.set('memsize', String(Math.ceil(memoryBytes / MiB)));
    if (memoryBytes % MiB !== 0) losses.add('memoryBytes', memoryBytes, 'a .vmx counts in MiB: rounded up');
  }
  if (changed(writing, description, ['cpus'])) {
    vmx.set('numvcpus', String(cpus.count));
    const isFlat = cpus.topology?.threads === 1;
    put(vmx, 'cpuid.coresPerSocket', isFlat ? cpus.topology?.cores : undefined);
    if (!isFlat) losses.add('cpus.topology', cpus.topology, 'a .vmx has no threads within cores');
  }
  if (changed(writing, description, ['firmware'])) {
    put(vmx, 'firmware', firmware.kind === 'uefi' ? 'efi' : undefined);
    const { secureBoot } = firmware;
    put(vmx, 'uefi.secureBoot.enabled', secureBoot === undefined ? undefined : truth(secureBoot));
    put(vmx, 'nvram', firmware.nvram);
  }
  writeQemuOnly(writing, description);
  losses.add('clock', clock, "VMware's clock follows guestOS");
  if (changed(writing, description, ['video'])) put(vmx, 'svga.vramSize', video?.memoryBytes);
  losses.add('video.model', video?.model, 'VMware has one kind of screen');
  if (video && video.memoryBytes === undefined) losses.add('video', video, 'VMware has one kind of screen');
  if (changed(writing, description, ['tpm'])) put(vmx, 'vtpm.present', tpm ? 'TRUE' : undefined);
  if (tpm?.version === '1.2') losses.add('tpm.version', tpm.version, 'VMware has 2.0 only');
  losses.add('tpm.model', tpm?.model, 'VMware has one kind of TPM');
}

const truth = (value: boolean): string => (value ? 'TRUE' : 'FALSE');

function writeQemuOnly(writing: VmxWriting, description: MachineDescription): void {
  const { machineType, cpus, firmware, kernel } = description;
  const members: [where: string, key: string, value: string | undefined][] = [
    ['machineType', 'machine', machineType],
    ['cpus.model', 'cpu', cpus.model],
    ['firmware.loader', 'loader', firmware.loader],
    ['kernel', 'kernel', kernel?.image],
    ['kernel', 'initrd', kernel?.initrd],
    ['kernel', 'append', kernel?.commandLine],
  ];
  const isOurs = writing.flavour === 'plain-qemu';
  for (const [where, key, value] of members) {
    if (isOurs) put(writing.vmx, `prima.${key}`, value);
    else if (writing.vmx.delete(`prima.${key}`) || value !== undefined) {
      writing.losses.add(where, value, 'VMware has nothing like it');
    }
  }
}

function writeDisplays({ vmx, losses }: VmxWriting, displays: readonly Display[]): void {
  const at = displays.findIndex(({ kind }) => kind === 'vnc');
  const vnc = displays[at];
  put(vmx, 'RemoteDisplay.vnc.enabled', vnc ? 'TRUE' : undefined);
  put(vmx, 'RemoteDisplay.vnc.port', vnc?.port);
  put(vmx, 'RemoteDisplay.vnc.ip', vnc?.listen);
  for (const [index, display] of displays.entries()) {
    if (index !== at) losses.add(`displays[${index}]`, display.kind, 'VMware has one display, VNC');
  }
}

function writeSerialPorts({ vmx, losses }: VmxWriting, ports: readonly SerialPort[]): void {
  for (let index = 0; index < 100; index += 1) vmx.deleteAll(`serial${index}.`);
  let index = 0;
  for (const [at, port] of ports.entries()) {
    const keys = serialKeys(port);
    if (!keys) {
      losses.add(`serialPorts[${at}]`, port.kind, 'VMware has no serial port of this kind');
      continue;
    }
    vmx.set(`serial${index}.present`, 'TRUE');
    for (const [key, value] of Object.entries(keys)) put(vmx, `serial${index}.${key}`, value);
    index += 1;
  }
}

function serialKeys({ kind, target, server }: SerialPort): Record<string, string | undefined> | undefined {
  const endPoint = server ? 'server' : 'client';
  switch (kind) {
    case 'file':
    case 'device':
      return { fileType: kind, fileName: target };
    case 'unix':
      return { fileType: 'pipe', fileName: target, 'pipe.endPoint': endPoint };
    case 'tcp':
      return { fileType: 'network', fileName: `tcp://${target ?? ''}`, 'network.endPoint': endPoint };
    default:
      return undefined;
  }
}

function writeResources(vmx: Vmx, { cpu, memory }: Resources): void {
  const mebibytes = (bytes: number | undefined) =>
    bytes === undefined ? undefined : Math.floor(bytes / MiB);
  put(vmx, 'sched.cpu.shares', cpu?.shares);
  put(vmx, 'sched.cpu.min', cpu?.reservationMhz);
  put(vmx, 'sched.cpu.max', cpu?.limitMhz);
  put(vmx, 'sched.mem.shares', memory?.shares);
  put(vmx, 'sched.mem.min', mebibytes(memory?.reservationBytes));
  put(vmx, 'sched.mem.max', mebibytes(memory?.limitBytes));
}
