/** What QEMU calls devices, and what descriptions do. */
import type { Cdrom, Disk, NicModel, ScsiModel } from '../machine/description.ts';
import type { DialectBuses } from '../machine/drives.ts';

export const scsiDrivers: Readonly<Partial<Record<ScsiModel, string>>> = {
  lsilogic: 'lsi53c895a',
  lsisas1068: 'mptsas1068',
  lsisas1078: 'megasas',
  pvscsi: 'pvscsi',
  'virtio-scsi': 'virtio-scsi-pci',
  am53c974: 'am53c974',
};

/** Other names of the same. */
export const driverSpellings: Readonly<Record<string, string>> = {
  lsi: 'lsi53c895a',
  'virtio-scsi': 'virtio-scsi-pci',
  'virtio-blk': 'virtio-blk-pci',
  'virtio-net': 'virtio-net-pci',
  ahci: 'ich9-ahci',
};

export const nicDrivers: Readonly<Partial<Record<NicModel, string>>> = {
  e1000: 'e1000',
  e1000e: 'e1000e',
  pcnet: 'pcnet',
  vmxnet3: 'vmxnet3',
  virtio: 'virtio-net-pci',
  rtl8139: 'rtl8139',
  ne2k_pci: 'ne2k_pci',
};

/** The driver, what its memory is called where it has a choice, and the choice in MiB where that is small. */
export const videoDrivers: Readonly<
  Record<string, { driver: string; memory?: string; sizes?: readonly number[] }>
> = {
  vga: { driver: 'VGA', memory: 'vgamem_mb' },
  cirrus: { driver: 'cirrus-vga', memory: 'vgamem_mb', sizes: [4, 8, 16] },
  virtio: { driver: 'virtio-vga' },
  qxl: { driver: 'qxl-vga', memory: 'vgamem_mb' },
  vmvga: { driver: 'vmware-svga', memory: 'vgamem_mb' },
  bochs: { driver: 'bochs-display' },
};

/** `-vga`'s names for them. */
export const vgaNames: Readonly<Record<string, string>> = {
  std: 'vga',
  cirrus: 'cirrus',
  virtio: 'virtio',
  qxl: 'qxl',
  vmware: 'vmvga',
  none: 'none',
};

/** q35 has no IDE, only SATA under its name. */
export function hasIde(machineType: string | undefined): boolean {
  return !/q35|microvm/.test(machineType ?? '');
}

export function qemuBuses(machineType: string | undefined): DialectBuses {
  const common: DialectBuses = {
    virtio: { controllers: 1, units: 24 },
    scsi: { controllers: 4, units: 7 },
    sata: { controllers: 4, units: 6 },
    nvme: { controllers: 8, units: 1 },
    usb: { controllers: 1, units: 4 },
  };
  return hasIde(machineType) ? { ...common, ide: { controllers: 2, units: 2 } } : common;
}

/** A file name says that it is UEFI: QEMU itself cannot tell. */
export function looksLikeUefi(path: string | undefined): boolean {
  return /ovmf|edk2|uefi|efi/i.test(path ?? '');
}

export type Bootable = Pick<Disk | Cdrom, 'bootIndex'>;
