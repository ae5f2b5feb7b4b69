/**
 * A machine's configuration in no dialect: what .vmx files, OVF envelopes, libvirt's domains and QEMU's command lines
 * are translated from and to. docs/format/machine-configuration.md says which dialect carries what.
 * An optional member that is absent means: not said, the host's default.
 */
export interface MachineDescription {
  name: string;
  /** Lower case with dashes. */
  uuid?: string;
  annotation?: string;
  guestOs?: GuestOs;
  memoryBytes: number;
  cpus: Cpus;
  /** QEMU's machine type: `pc-q35-7.2`. */
  machineType?: string;
  /** VMware's virtualHW.version. */
  hardwareVersion?: number;
  firmware: Firmware;
  /** Started without a boot loader. */
  kernel?: Kernel;
  /** What the hardware clock shows. */
  clock?: 'utc' | 'localtime';
  /** By index; those whose model is not said are not listed. */
  scsiControllers: ScsiController[];
  disks: Disk[];
  cdroms: Cdrom[];
  nics: Nic[];
  video?: Video;
  displays: Display[];
  serialPorts: SerialPort[];
  tpm?: Tpm;
  resources?: Resources;
}

/** What runs in the machine, in the words of those who have words for it; there is no common list. */
export interface GuestOs {
  /** .vmx's guestOS: `debian12-64`. */
  vmware?: string;
  /** The number of CIM_OperatingSystem.OSType in OVF: 96 is Debian, 64-bit. */
  cim?: number;
  /** libosinfo's identifier in libvirt's metadata: `http://debian.org/debian/12`. */
  libosinfo?: string;
}

export interface Cpus {
  count: number;
  /** Their product is `count`. */
  topology?: CpuTopology;
  /** QEMU's name, or `host` (the host's own, all of it), `host-model` (nearly, but movable), `max`. */
  model?: string;
}

export interface CpuTopology {
  sockets: number;
  /** In each socket. */
  cores: number;
  /** In each core. */
  threads: number;
}

export interface Firmware {
  kind: 'bios' | 'uefi';
  secureBoot?: boolean;
  /** The file of the firmware itself. */
  loader?: string;
  /** The file of its variables. */
  nvram?: string;
}

export interface Kernel {
  image: string;
  initrd?: string;
  commandLine?: string;
}

export const buses = ['ide', 'scsi', 'sata', 'nvme', 'virtio', 'usb'] as const;
export type Bus = (typeof buses)[number];

/** Where a drive is attached; `ide` has two units to a controller (a channel), `virtio` is virtio-blk. */
export interface Slot {
  bus: Bus;
  controller: number;
  unit: number;
}

export const scsiModels = [
  'lsilogic',
  'lsisas1068',
  'lsisas1078',
  'buslogic',
  'pvscsi',
  'virtio-scsi',
  'am53c974',
] as const;
export type ScsiModel = (typeof scsiModels)[number];

export interface ScsiController {
  index: number;
  model: ScsiModel;
}

export interface DriveSource {
  kind: 'file' | 'block' | 'network';
  /** A path as written, or a URL: `nbd://host/export`, `rbd:pool/image`. */
  location: string;
}

export interface Disk {
  slot: Slot;
  /** Absent: a disk without a file, as in an envelope. */
  source?: DriveSource;
  /** `raw`, `qcow2`, `vmdk`, `vdi`, `vhdx` …, QEMU's names. */
  format?: string;
  capacityBytes?: number;
  /** Absent: persistent, and part of snapshots. */
  mode?: DiskMode;
  readOnly?: boolean;
  serial?: string;
  /** From 1; the smallest is tried first. */
  bootIndex?: number;
}

export const diskModes = [
  'independent-persistent',
  'independent-nonpersistent',
  'nonpersistent',
  'undoable',
  'append',
] as const;
export type DiskMode = (typeof diskModes)[number];

export interface Cdrom {
  slot: Slot;
  /** Absent: the tray is empty. */
  source?: DriveSource;
  bootIndex?: number;
}

export const nicModels = [
  'e1000',
  'e1000e',
  'pcnet',
  'vmxnet',
  'vmxnet2',
  'vmxnet3',
  'virtio',
  'rtl8139',
  'ne2k_pci',
] as const;
export type NicModel = (typeof nicModels)[number];

export interface Nic {
  model?: NicModel;
  /** Lower case with colons. */
  mac?: string;
  network: NicNetwork;
  bootIndex?: number;
}

/**
 * `network`: one that the host knows by name (an ESX port group, a libvirt network); `bridge`: a bridge, named or the
 * usual one; `nat`: behind the host's address; `tap`: a named interface of the host.
 */
export interface NicNetwork {
  kind: 'network' | 'bridge' | 'nat' | 'host-only' | 'tap' | 'none';
  name?: string;
}

export interface Video {
  /** QEMU's and libvirt's names: `vga`, `cirrus`, `virtio`, `qxl`, `vmvga`, `bochs`, `none`. */
  model?: string;
  memoryBytes?: number;
}

export interface Display {
  kind: 'vnc' | 'spice';
  /** Absent: the host chooses. */
  port?: number;
  listen?: string;
}

export interface SerialPort {
  kind: 'file' | 'pty' | 'pipe' | 'unix' | 'tcp' | 'device' | 'null';
  /** Of file, pipe, unix, device; `host:port` of tcp. */
  target?: string;
  /** Of unix and tcp: it listens instead of connecting. */
  server?: boolean;
}

export interface Tpm {
  version: '1.2' | '2.0';
  model?: 'tis' | 'crb';
}

/** A host's promises in VMware's terms. */
export interface Resources {
  cpu?: CpuShare;
  memory?: MemoryShare;
}

export interface CpuShare {
  shares?: Shares;
  reservationMhz?: number;
  limitMhz?: number;
}

export interface MemoryShare {
  shares?: Shares;
  /** A multiple of 1 MiB, as is the limit. */
  reservationBytes?: number;
  limitBytes?: number;
}

export type Shares = 'low' | 'normal' | 'high' | number;

/** `scsi0:1` */
export function slotName({ bus, controller, unit }: Slot): string {
  return `${bus}${controller}:${unit}`;
}

/** The least that is a description. */
export function newDescription(name: string): MachineDescription {
  return {
    name,
    memoryBytes: 0,
    cpus: { count: 1 },
    firmware: { kind: 'bios' },
    scsiControllers: [],
    disks: [],
    cdroms: [],
    nics: [],
    displays: [],
    serialPorts: [],
  };
}
