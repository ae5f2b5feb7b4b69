/**
 * What a machine's .vmx says, as far as a plain QEMU host uses it. VMware's keys mean what they mean there; keys
 * that begin with `prima.` are ours:
 *
 *   prima.machine              QEMU's versioned machine type; fixed when the machine is made
 *   prima.cpu                  QEMU's processor model, `max` where absent
 *   prima.kernel .initrd .append   started without a boot loader
 *   prima.SLOT.format          the disk's format: what the guest wrote to it is never taken for one
 */
import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { MiB } from '@prima/base';
import { type Vmx, type VmxDisk, type VmxEthernet, vmxSettings } from '@prima/formats';

/** How disks are attached. */
export type ControllerKind =
  | 'virtio-blk'
  | 'virtio-scsi'
  | 'lsilogic'
  | 'lsisas1068'
  | 'pvscsi'
  | 'sata'
  | 'ide';

export interface DiskConfig {
  /** `scsi0:0` */
  slot: string;
  bus: 'scsi' | 'sata' | 'ide' | 'nvme';
  controller: number;
  unit: number;
  /** Undefined: QEMU has nothing like it, `why` says what it is. */
  kind?: ControllerKind;
  /** Absolute. */
  path: string;
  /** As recorded; undefined when it must be detected. */
  format?: string;
  /** As written: `persistent`, `independent-nonpersistent` … */
  mode: string;
  /** Why the disk cannot be run or backed up. */
  why?: string;
}

export interface NicConfig {
  index: number;
  mac?: string;
}

export interface MachineConfig {
  folder: string;
  name: string;
  /** Lower case, with dashes; made from the folder's path where the .vmx has none. */
  id: string;
  memoryBytes: number;
  cpus: number;
  machineType?: string;
  cpuModel: string;
  kernel?: string;
  initrd?: string;
  append?: string;
  nvram?: string;
  disks: DiskConfig[];
  nics: NicConfig[];
  notes: string[];
}

export function machineConfig(vmx: Vmx, folder: string, fallbackName: string): MachineConfig {
  const settings = vmxSettings(vmx);
  const notes: string[] = [];
  const path = (value: string | undefined) =>
    value === undefined || value === '' ? undefined : resolve(folder, value);
  if (settings.uuid === undefined)
    notes.push('the .vmx has no uuid.bios: the machine is known by its folder');
  return {
    folder,
    name: settings.displayName ?? fallbackName,
    id: settings.uuid ?? uuidOf(folder),
    memoryBytes: (settings.memsize ?? 256) * MiB,
    cpus: settings.numvcpus ?? 1,
    machineType: vmx.get('prima.machine'),
    cpuModel: vmx.get('prima.cpu') ?? 'max',
    kernel: path(vmx.get('prima.kernel')),
    initrd: path(vmx.get('prima.initrd')),
    append: vmx.get('prima.append'),
    nvram: path(settings.nvram),
    disks: settings.disks
      .filter(({ present, isDisk, fileName }) => present && isDisk && fileName !== '')
      .map((disk) => diskConfig(disk, vmx, folder))
      .sort((a, b) => busOrder(a.bus) - busOrder(b.bus) || a.controller - b.controller || a.unit - b.unit),
    nics: settings.ethernets.filter(isUserNetwork).map(({ index, address }) => ({ index, mac: address })),
    notes,
  };
}

function diskConfig(disk: VmxDisk, vmx: Vmx, folder: string): DiskConfig {
  const { slot, bus, controller, unit, deviceType } = disk;
  const virtualDev = vmx.get(`${bus}${controller}.virtualDev`);
  // what a disk of type rdm is, its descriptor says
  const passedThrough = /raw|physical/i.test(deviceType);
  const kind = passedThrough ? undefined : controllerKind(bus, virtualDev);
  const why = passedThrough
    ? `it is of type ${deviceType}, which plain QEMU does not have`
    : `its controller (${virtualDev ?? bus}) is none that QEMU has`;
  return {
    slot,
    bus,
    controller,
    unit,
    path: resolve(folder, disk.fileName),
    format: vmx.get(`prima.${slot}.format`),
    mode: disk.mode,
    ...(kind === undefined ? { why } : { kind }),
  };
}

/** Anything but `nat` needs a network of the host's: plain QEMU hosts have none. */
function isUserNetwork({ present, connectionType }: VmxEthernet): boolean {
  return present && connectionType?.toLowerCase() === 'nat';
}

const busOrder = (bus: DiskConfig['bus']): number => ['scsi', 'sata', 'ide', 'nvme'].indexOf(bus);

function controllerKind(bus: DiskConfig['bus'], virtualDev = ''): ControllerKind | undefined {
  if (bus === 'sata' || bus === 'ide') return bus;
  if (bus === 'nvme') return undefined;
  const name = virtualDev.toLowerCase();
  if (name === '') return 'virtio-scsi';
  const kinds = ['virtio-blk', 'virtio-scsi', 'lsilogic', 'lsisas1068', 'pvscsi'] as const;
  return kinds.find((kind) => kind === name);
}

function uuidOf(folder: string): string {
  return withDashes(createHash('sha256').update(`prima folder ${folder}`).digest('hex').slice(0, 32));
}

const withDashes = (hex: string): string =>
  [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
