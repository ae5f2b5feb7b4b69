/** What libvirt calls things, https://libvirt.org/formatdomain.html, and what descriptions do. */
import type { Bus, NicModel, ScsiModel } from '../machine/description.ts';
import type { DialectBuses } from '../machine/drives.ts';

export const scsiModelNames: Readonly<Record<ScsiModel, string>> = {
  lsilogic: 'lsilogic',
  lsisas1068: 'lsisas1068',
  lsisas1078: 'lsisas1078',
  buslogic: 'buslogic',
  pvscsi: 'vmpvscsi',
  'virtio-scsi': 'virtio-scsi',
  am53c974: 'am53c974',
};

export const nicModelNames: Readonly<Record<NicModel, string>> = {
  e1000: 'e1000',
  e1000e: 'e1000e',
  pcnet: 'pcnet',
  vmxnet: 'vmxnet',
  vmxnet2: 'vmxnet2',
  vmxnet3: 'vmxnet3',
  virtio: 'virtio',
  rtl8139: 'rtl8139',
  ne2k_pci: 'ne2k_pci',
};

/** The member whose value is `written`. */
export function nameOf<T extends string>(
  names: Readonly<Partial<Record<T, string>>>,
  written: string | undefined,
): T | undefined {
  const wanted = written?.trim().toLowerCase();
  return (Object.keys(names) as T[]).find((name) => names[name]?.toLowerCase() === wanted);
}

/** `hda`, `sdaa`: the prefixes of target names. */
export const targetPrefixes: Readonly<Partial<Record<Bus, string>>> = {
  ide: 'hd',
  scsi: 'sd',
  sata: 'sd',
  usb: 'sd',
  virtio: 'vd',
};

export const libvirtBuses: DialectBuses = {
  virtio: { controllers: 1, units: 702 },
  scsi: { controllers: 4, units: 256 },
  sata: { controllers: 4, units: 6 },
  ide: { controllers: 2, units: 2 },
  usb: { controllers: 1, units: 8 },
};

/** 0 → `a`, 26 → `aa`. */
export function diskLetters(index: number): string {
  let letters = '';
  for (let left = index; left >= 0; left = Math.floor(left / 26) - 1) {
    letters = String.fromCharCode(97 + (left % 26)) + letters;
  }
  return letters;
}

/** `vdab` → 27; undefined where it is no such name. */
export function diskIndex(target: string): number | undefined {
  const letters = /^[a-z]d([a-z]{1,3})$/.exec(target)?.[1];
  if (letters === undefined) return undefined;
  return letters.split('').reduce((sum, letter) => sum * 26 + letter.charCodeAt(0) - 96, 0) - 1;
}

const byteUnits: Readonly<Record<string, number>> = {
  b: 1,
  bytes: 1,
  byte: 1,
  kb: 1000,
  k: 1024,
  kib: 1024,
  mb: 1000 ** 2,
  m: 1024 ** 2,
  mib: 1024 ** 2,
  gb: 1000 ** 3,
  g: 1024 ** 3,
  gib: 1024 ** 3,
  tb: 1000 ** 4,
  t: 1024 ** 4,
  tib: 1024 ** 4,
};

/** Bytes in a unit of libvirt's; undefined for one that it does not have. */
export function unitBytes(unit: string): number | undefined {
  return byteUnits[unit.toLowerCase()];
}

export const libosinfoUri = 'http://libosinfo.org/xmlns/libvirt/domain/1.0';
