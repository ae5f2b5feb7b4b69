/** The disks and CD-ROMs of a .vmx. */
import { FormatError } from '@prima/base';
import {
  type Cdrom,
  type Disk,
  type DriveSource,
  diskModes,
  type MachineDescription,
  type ScsiController,
  type ScsiModel,
  type Slot,
  scsiModels,
} from '../machine/description.ts';
import { bySlot } from '../machine/drives.ts';
import { oneOf } from '../machine/numbers.ts';
import { defined, type Losses } from '../machine/translation.ts';
import type { VmxReading } from './vmx-reading.ts';

type Drives = Pick<MachineDescription, 'scsiControllers' | 'disks' | 'cdroms'>;

export interface VmxDrives {
  drives: Drives;
  /** By what the file calls their slot: `scsi0:1`. */
  disksBySlot: ReadonlyMap<string, Disk>;
}

const slotPattern = /^(scsi|ide|sata|nvme)(\d{1,3}):(\d{1,3})\./i;

export function readVmxDrives(reading: VmxReading, losses: Losses): VmxDrives {
  const controllers = readControllers(reading);
  const disksBySlot = new Map<string, Disk>();
  const drives: Drives = { scsiControllers: controllers.listed, disks: [], cdroms: [] };
  const names = new Set([...reading.vmx.keys()].flatMap((key) => slotPattern.exec(key)?.[0] ?? []));
  for (const name of new Set([...names].map((written) => written.toLowerCase().slice(0, -1)))) {
    const [, bus, controller, unit] = slotPattern.exec(`${name}.`) ?? [];
    const written = { bus: bus as Slot['bus'], controller: Number(controller), unit: Number(unit) };
    readDrive({ reading, losses, drives, disksBySlot, name, slot: controllers.slotOf(written) });
  }
  drives.disks.sort(bySlot);
  drives.cdroms.sort(bySlot);
  return { drives, disksBySlot };
}

/** Plain QEMU hosts have `virtio-blk` where VMware has SCSI controllers: for a description that is a bus of its own. */
function readControllers(reading: VmxReading) {
  const listed: ScsiController[] = [];
  const virtio: number[] = [];
  for (const index of reading.indices('scsi')) {
    const key = `scsi${index}.virtualDev`;
    const written = reading.get(key);
    const model = oneOf<ScsiModel>(scsiModels, written);
    if (written?.trim().toLowerCase() === 'virtio-blk') virtio.push(index);
    else if (model) listed.push({ index, model });
    else if (written !== undefined) reading.unread(key);
  }
  const slotOf = (slot: Slot): Slot => {
    reading.settle(`${slot.bus}${slot.controller}.present`);
    const at = slot.bus === 'scsi' ? virtio.indexOf(slot.controller) : -1;
    return at < 0 ? slot : { bus: 'virtio', controller: at, unit: slot.unit };
  };
  return { listed, slotOf };
}

interface DriveReading {
  reading: VmxReading;
  losses: Losses;
  drives: Drives;
  disksBySlot: Map<string, Disk>;
  /** As it is in the file: `scsi0:1`. */
  name: string;
  slot: Slot;
}

function readDrive({ reading, losses, drives, disksBySlot, name, slot }: DriveReading): void {
  const key = (member: string) => `${name}.${member}`;
  // ESX 2 has `name` where later ones have `fileName`.
  const fileName = reading.get(key('fileName')) ?? reading.get(key('name'));
  const deviceType = reading.get(key('deviceType')) ?? '';
  const isPresent = !/^(?:f(?:alse)?|n(?:o)?|off|0)$/i.test(reading.get(key('present'))?.trim() ?? 'true');
  if (!isPresent) {
    losses.add(key('present'), fileName ?? name, 'the file says that it is not there');
    return;
  }
  if (/cdrom/i.test(deviceType)) {
    drives.cdroms.push(defined<Cdrom>({ slot, source: cdromSource(deviceType, fileName) }));
    reading.settle(key('startConnected'));
    return;
  }
  if (fileName === undefined) {
    losses.add(key('present'), name, 'it has no file');
    return;
  }
  const mode = reading.get(key('mode'))?.trim().toLowerCase();
  const known = oneOf(diskModes, mode);
  if (mode !== undefined && mode !== 'persistent' && known === undefined) reading.unread(key('mode'));
  if (reading.get(key('redo')) !== undefined) reading.unread(key('redo'));
  if (/rdm|physical/i.test(deviceType)) reading.unread(key('deviceType'));
  const isRaw = /^rawDisk$/i.test(deviceType);
  const disk = defined<Disk>({
    slot,
    source: { kind: isRaw ? 'block' : 'file', location: fileName },
    format: reading.get(`prima.${name}.format`) ?? (/\.vmdk$/i.test(fileName) ? 'vmdk' : undefined),
    mode: known,
  });
  drives.disks.push(disk);
  disksBySlot.set(name, disk);
  if (drives.disks.length > 1000) throw new FormatError('.vmx: more than 1000 disks');
}

function cdromSource(deviceType: string, fileName: string | undefined): DriveSource | undefined {
  if (fileName === undefined || /^(?:auto detect|emptyBackingString)$/i.test(fileName)) return undefined;
  return { kind: /image/i.test(deviceType) ? 'file' : 'block', location: fileName };
}
