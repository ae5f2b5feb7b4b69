/** What OVF and VMware's tools call things, and what descriptions do. */
import type { NicModel, ScsiModel } from '../machine/description.ts';

/** CIM_ResourceAllocationSettingData.ResourceType. */
export const resourceType = {
  processor: 3,
  memory: 4,
  ide: 5,
  scsi: 6,
  ethernet: 10,
  cdrom: 15,
  dvd: 16,
  disk: 17,
  otherStorage: 20,
  other: 1,
} as const;

/** Read in any case; the first is written. */
export const scsiSubTypes: Readonly<Record<ScsiModel, readonly string[]>> = {
  lsilogic: ['lsilogic'],
  lsisas1068: ['lsilogicsas'],
  lsisas1078: ['lsisas1078'],
  buslogic: ['buslogic'],
  pvscsi: ['VirtualSCSI', 'pvscsi'],
  'virtio-scsi': ['VirtioSCSI', 'virtio-scsi', 'VirtIO_SCSI'],
  am53c974: ['am53c974'],
};

export const nicSubTypes: Readonly<Record<NicModel, readonly string[]>> = {
  e1000: ['E1000', '2'],
  e1000e: ['E1000e'],
  pcnet: ['PCNet32', 'Flexible', 'vlance'],
  vmxnet: ['VmxNet'],
  vmxnet2: ['VmxNet2'],
  vmxnet3: ['VmxNet3'],
  virtio: ['virtio', 'VirtIO', '3', 'virtio-net'],
  rtl8139: ['rtl8139', '1'],
  ne2k_pci: ['ne2k_pci'],
};

export function subTypeOf<T extends string>(
  names: Readonly<Record<T, readonly string[]>>,
  written: string,
): T | undefined {
  const wanted = written.toLowerCase();
  return (Object.keys(names) as T[]).find((name) =>
    names[name].some((known) => known.toLowerCase() === wanted),
  );
}

/** Formats by the addresses that stand for them; the first is written. */
const formatUris: readonly [format: string, pattern: RegExp, uri: string][] = [
  ['vmdk', /vmdk\.html/i, 'http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized'],
  ['qcow2', /qcow/i, 'http://www.gnome.org/~markmc/qcow-image-format.html'],
  ['vpc', /LinkId=137171/i, 'http://go.microsoft.com/fwlink/?LinkId=137171'],
];

const ourUri = 'urn:prima:disk-format:';

export function formatOf(uri: string | undefined): string | undefined {
  if (uri?.startsWith(ourUri)) return uri.slice(ourUri.length) || undefined;
  return formatUris.find(([, pattern]) => pattern.test(uri ?? ''))?.[0];
}

/** `isOurs`: nobody else knows it. */
export function formatUri(format: string): { uri: string; isOurs: boolean } {
  const known = formatUris.find(([name]) => name === format);
  return known
    ? { uri: known[2], isOurs: false }
    : { uri: `${ourUri}${encodeURIComponent(format)}`, isOurs: true };
}

/** .vmx's `debian12-64` is `debian12_64Guest` here; these do not follow the rule. */
const guestIds: readonly [vmx: string, ovf: string][] = [
  ['other-64', 'otherGuest64'],
  ['other', 'otherGuest'],
  ['otherlinux', 'otherLinuxGuest'],
  ['otherlinux-64', 'otherLinux64Guest'],
];

export function toGuestId(vmware: string): string {
  const known = guestIds.find(([vmx]) => vmx === vmware)?.[1];
  if (known !== undefined) return known;
  const name = vmware.replace(/-64$/, '');
  if (name === vmware) return `${name}Guest`;
  return /(?:\d|srv)$/.test(name) ? `${name}_64Guest` : `${name}64Guest`;
}

export function fromGuestId(osType: string): string {
  const known = guestIds.find(([, ovf]) => ovf === osType)?.[0];
  return known ?? osType.replace(/_?64Guest$/, '-64').replace(/Guest$/, '');
}

export const ovfNamespaces = {
  '': 'http://schemas.dmtf.org/ovf/envelope/1',
  ovf: 'http://schemas.dmtf.org/ovf/envelope/1',
  rasd: 'http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData',
  vssd: 'http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData',
  vmw: 'http://www.vmware.com/schema/ovf',
  xsi: 'http://www.w3.org/2001/XMLSchema-instance',
} as const;
