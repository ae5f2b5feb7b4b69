/** The settings of a .vmx file that Prima knows, typed. */
import { FormatError } from '@prima/base';
import type { Vmx } from './vmx.ts';

export type VmxBus = 'scsi' | 'ide' | 'sata' | 'nvme';

export interface VmxDisk {
  /** `scsi0:1` */
  slot: string;
  bus: VmxBus;
  controller: number;
  unit: number;
  /** As written: relative to the .vmx file's folder, or absolute. */
  fileName: string;
  /** False only where the file says so: a disk is rather seen once too often than forgotten. */
  present: boolean;
  /** `persistent`, `independent-persistent`, `nonpersistent`, `undoable` …; VMware's default is `persistent`. */
  mode: string;
  /** As written: `disk`, `scsi-hardDisk`, `rdm`, `cdrom-image` …; empty where absent. */
  deviceType: string;
  /** False for CD-ROMs. */
  isDisk: boolean;
}

export interface VmxEthernet {
  index: number;
  present: boolean;
  /** `e1000`, `vmxnet3` …; undefined: VMware chooses by guestOS. */
  virtualDev?: string;
  /** The fixed MAC address, or the generated one. */
  address?: string;
  connectionType?: string;
  networkName?: string;
}

export interface VmxSettings {
  displayName?: string;
  /** Lower case with dashes: `564d1a2b-…`. */
  uuid?: string;
  /** MiB. */
  memsize?: number;
  numvcpus?: number;
  guestOS?: string;
  /** `bios` (the default) or `efi`. */
  firmware: string;
  nvram?: string;
  disks: VmxDisk[];
  ethernets: VmxEthernet[];
}

/** Raises `format` when a number or the UUID is none. */
export function vmxSettings(vmx: Vmx): VmxSettings {
  return {
    displayName: vmx.get('displayName'),
    uuid: parseVmxUuid(vmx.get('uuid.bios')),
    memsize: wholeNumber(vmx, 'memsize'),
    numvcpus: wholeNumber(vmx, 'numvcpus'),
    guestOS: vmx.get('guestOS'),
    firmware: vmx.get('firmware')?.toLowerCase() ?? 'bios',
    nvram: vmx.get('nvram'),
    disks: vmxDisks(vmx),
    ethernets: vmxEthernets(vmx),
  };
}

/** What has a `fileName` on a disk bus, by bus, controller and unit. */
export function vmxDisks(vmx: Vmx): VmxDisk[] {
  const disks: VmxDisk[] = [];
  for (const key of vmx.keys()) {
    const match = /^(scsi|ide|sata|nvme)(\d{1,3}):(\d{1,3})\.fileName$/i.exec(key);
    if (!match) continue;
    const [, bus = '', controller = '', unit = ''] = match;
    const slot = `${bus.toLowerCase()}${controller}:${unit}`;
    const deviceType = vmx.get(`${slot}.deviceType`) ?? '';
    disks.push({
      slot,
      bus: bus.toLowerCase() as VmxBus,
      controller: Number(controller),
      unit: Number(unit),
      fileName: vmx.get(key) ?? '',
      present: !isVmxFalse(vmx.get(`${slot}.present`)),
      mode: vmx.get(`${slot}.mode`) ?? 'persistent',
      deviceType,
      isDisk: !/cdrom/i.test(deviceType),
    });
  }
  const order = (disk: VmxDisk) => [
    disk.bus,
    String(disk.controller).padStart(3),
    String(disk.unit).padStart(3),
  ];
  return disks.sort((a, b) => (order(a).join() < order(b).join() ? -1 : 1));
}

/** The network cards that are named, by index. */
export function vmxEthernets(vmx: Vmx): VmxEthernet[] {
  const indices = new Set<number>();
  for (const key of vmx.keys()) {
    const match = /^ethernet(\d{1,2})\./i.exec(key);
    if (match) indices.add(Number(match[1]));
  }
  return [...indices]
    .sort((a, b) => a - b)
    .map((index) => {
      const get = (name: string) => vmx.get(`ethernet${index}.${name}`);
      return {
        index,
        present: isVmxTrue(get('present')),
        virtualDev: get('virtualDev'),
        address: get('address') ?? get('generatedAddress'),
        connectionType: get('connectionType'),
        networkName: get('networkName'),
      };
    });
}

/** VMware reads TRUE, yes, on, 1 and their beginnings alike. */
export function isVmxTrue(value: string | undefined): boolean {
  return /^(?:t(?:rue)?|y(?:es)?|on|1)$/i.test(value?.trim() ?? '');
}

function isVmxFalse(value: string | undefined): boolean {
  return /^(?:f(?:alse)?|n(?:o)?|off|0)$/i.test(value?.trim() ?? '');
}

/** `56 4d 1a … -…` (sixteen bytes, a dash in the middle) to the usual form. Raises `format`. */
export function parseVmxUuid(text: string | undefined): string | undefined {
  if (text === undefined || text.trim() === '') return undefined;
  const digits = text.replaceAll(/[\s-]/g, '').toLowerCase();
  if (!/^[0-9a-f]{32}$/.test(digits))
    throw new FormatError(`.vmx: uuid.bios is "${text.slice(0, 80)}", no UUID`);
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** `564d1a2b-…` to VMware's form. */
export function writeVmxUuid(uuid: string): string {
  const bytes = parseVmxUuid(uuid)?.replaceAll('-', '').match(/../g) ?? [];
  return `${bytes.slice(0, 8).join(' ')}-${bytes.slice(8).join(' ')}`;
}

function wholeNumber(vmx: Vmx, key: string): number | undefined {
  const text = vmx.get(key)?.trim();
  if (text === undefined || text === '') return undefined;
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value))
    throw new FormatError(`.vmx: ${key} is "${text.slice(0, 80)}", no number`);
  return value;
}
