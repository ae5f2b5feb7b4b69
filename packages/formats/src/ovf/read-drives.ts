/** The disks and CD-ROMs of an OVF envelope. */
import type {
  Bus,
  Cdrom,
  Disk,
  DriveSource,
  MachineDescription,
  ScsiController,
  Slot,
} from '../machine/description.ts';
import { slotName } from '../machine/description.ts';
import { parseBelow } from '../machine/numbers.ts';
import { defined, type Losses } from '../machine/translation.ts';
import type { XmlReading } from '@prima/xml';
import type { OvfEnvelope, OvfItem } from './envelope.ts';
import { formatOf, resourceType, scsiSubTypes, subTypeOf } from './ovf-names.ts';

type Drives = Pick<MachineDescription, 'scsiControllers' | 'disks' | 'cdroms'>;

export function readOvfDrives(reading: XmlReading, envelope: OvfEnvelope, losses: Losses): Drives {
  const { places, scsiControllers } = readControllers(reading, envelope.items, losses);
  const drives: Drives = { scsiControllers, disks: [], cdroms: [] };
  const taken = new Set<string>();
  for (const item of envelope.items) {
    const isDisk = item.resourceType === resourceType.disk;
    const isCdrom = item.resourceType === resourceType.cdrom || item.resourceType === resourceType.dvd;
    if (!isDisk && !isCdrom) continue;
    const resource = reading.childText(item.element, 'HostResource');
    const found = lookUp(envelope, resource);
    if (resource !== undefined && resource !== '' && !found)
      reading.unread(reading.child(item.element, 'HostResource'));
    const controller = places.get(item.parent ?? '') ?? defaultPlace(found?.interface);
    const slot = freeSlot(controller, addressOf(reading, item), taken);
    taken.add(slotName(slot));
    const { source, format, capacityBytes } = found ?? {};
    if (isCdrom) drives.cdroms.push(defined<Cdrom>({ slot, source }));
    else drives.disks.push(defined<Disk>({ slot, source, format, capacityBytes }));
  }
  return drives;
}

type Place = Pick<Slot, 'bus' | 'controller'>;

function readControllers(reading: XmlReading, items: readonly OvfItem[], losses: Losses) {
  const places = new Map<string, Place>();
  const scsiControllers: ScsiController[] = [];
  const taken = new Set<string>();
  for (const item of items) {
    const bus = busOf(item);
    if (!bus) continue;
    const said = parseBelow(
      reading.childText(item.element, 'Address'),
      1000,
      'OVF: the address of a controller',
    );
    let controller = said ?? 0;
    while (taken.has(`${bus}${controller}`)) controller += 1;
    taken.add(`${bus}${controller}`);
    places.set(item.instanceId, { bus, controller });
    const model = bus === 'scsi' ? subTypeOf(scsiSubTypes, item.subType) : undefined;
    if (model) scsiControllers.push({ index: controller, model });
    else if (bus === 'scsi' && item.subType !== '') {
      losses.add('Item/ResourceSubType', item.subType, 'it is no SCSI controller that is known');
    }
  }
  return { places, scsiControllers: scsiControllers.sort((a, b) => a.index - b.index) };
}

function busOf({ resourceType: type, subType }: OvfItem): Bus | undefined {
  if (type === resourceType.ide) return 'ide';
  if (type === resourceType.scsi) return 'scsi';
  if (type !== resourceType.otherStorage) return undefined;
  if (/nvme/i.test(subType)) return 'nvme';
  if (/virtio.?scsi/i.test(subType)) return 'scsi';
  return /virtio/i.test(subType) ? 'virtio' : 'sata';
}

/** oVirt's disks have no controllers, and say their kind instead. */
function defaultPlace(kind = ''): Place {
  const bus = /virtio.?scsi/i.test(kind)
    ? 'scsi'
    : /virtio/i.test(kind)
      ? 'virtio'
      : /ide/i.test(kind)
        ? 'ide'
        : 'sata';
  return { bus, controller: 0 };
}

function addressOf(reading: XmlReading, { element }: OvfItem): number | undefined {
  return parseBelow(reading.childText(element, 'AddressOnParent'), 65_536, 'OVF: AddressOnParent');
}

function freeSlot({ bus, controller }: Place, said: number | undefined, taken: ReadonlySet<string>): Slot {
  const units = bus === 'ide' ? 2 : 65_536;
  for (let at = said ?? 0; ; at += 1) {
    const slot = { bus, controller: controller + Math.floor(at / units), unit: at % units };
    if (!taken.has(slotName(slot))) return slot;
  }
}

interface Found {
  source?: DriveSource;
  format?: string;
  capacityBytes?: number;
  interface?: string;
}

/** `ovf:/disk/vmdisk1`, `ovf:/file/file2`, oVirt's `image/volume`. */
function lookUp({ disks, files }: OvfEnvelope, resource: string | undefined): Found | undefined {
  if (resource === undefined || resource === '') return undefined;
  const [, kind, id = ''] = /^(?:ovf:)?\/{0,2}(disk|file)\/(.+)$/.exec(resource) ?? [];
  const sourceOf = (fileRef: string | undefined): DriveSource | undefined => {
    const file = files.get(fileRef ?? '');
    return (
      file && { kind: /^[a-z][a-z0-9+.-]*:\/\//i.test(file.href) ? 'network' : 'file', location: file.href }
    );
  };
  if (kind === 'file') {
    const source = sourceOf(id);
    return source && { source };
  }
  const disk = disks.get(id) ?? disks.get(resource) ?? disks.get(resource.replace(/^.*\//, ''));
  if (!disk) return undefined;
  const volume = { COW: 'qcow2', RAW: 'raw' }[disk.volumeFormat?.toUpperCase() ?? ''];
  return defined({
    source: sourceOf(disk.fileRef),
    format: volume ?? formatOf(disk.format),
    capacityBytes: disk.capacityBytes,
    interface: disk.interface,
  });
}
