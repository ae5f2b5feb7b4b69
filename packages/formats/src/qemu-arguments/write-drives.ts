/** The disks and CD-ROMs of a description → QEMU's arguments. */
import type { Bus, DriveSource, MachineDescription, ScsiModel, Slot } from '../machine/description.ts';
import { type Drive, drivesIn } from '../machine/drives.ts';
import type { Losses } from '../machine/translation.ts';
import { writeValues } from './option.ts';
import { qemuBuses, scsiDrivers } from './qemu-names.ts';

const cdromBuses: readonly Bus[] = ['ide', 'sata', 'scsi'];

export function writeQemuDrives(description: MachineDescription, losses: Losses): string[] {
  const buses = qemuBuses(description.machineType);
  const drives = drivesIn(description, { name: 'QEMU', buses, cdromBuses, fallback: 'sata' }, losses);
  const models = writtenModels(description, drives, losses);
  const controllers = new Set(drives.map(({ slot }) => `${slot.bus}${slot.controller}`));
  return [
    ...[...models].flatMap(([index, model]) => device({ driver: scsiDrivers[model], id: `scsi${index}` })),
    ...[...controllers].flatMap((id) => {
      if (id.startsWith('sata')) return device({ driver: 'ich9-ahci', id });
      return id.startsWith('usb') ? device({ driver: 'qemu-xhci', id }) : [];
    }),
    ...drives.flatMap((drive, at) => writeDrive(drive, { id: `drive${at}`, models, losses })),
  ];
}

type Values = Record<string, string | number | undefined>;

function device({ driver, ...values }: Values): string[] {
  const text = writeValues(values);
  return ['-device', text === '' ? String(driver) : `${driver},${text}`];
}

function writtenModels(
  { scsiControllers }: MachineDescription,
  drives: readonly Drive[],
  losses: Losses,
): Map<number, ScsiModel> {
  const models = new Map<number, ScsiModel>();
  for (const [at, { index, model }] of scsiControllers.entries()) {
    const isKnown = scsiDrivers[model] !== undefined;
    models.set(index, isKnown ? model : 'lsilogic');
    if (!isKnown) {
      losses.add(
        `scsiControllers[${at}].model`,
        model,
        'QEMU has no such controller; lsilogic takes its place',
      );
    }
  }
  for (const { slot } of drives) {
    if (slot.bus !== 'scsi' || models.has(slot.controller)) continue;
    models.set(slot.controller, 'lsilogic');
    losses.add(
      'scsiControllers',
      `lsilogic is written for scsi${slot.controller}`,
      'QEMU has to be told which',
    );
  }
  return models;
}

interface DriveContext {
  id: string;
  models: ReadonlyMap<number, ScsiModel>;
  losses: Losses;
}

function writeDrive({ slot, disk, cdrom, where }: Drive, { id, models, losses }: DriveContext): string[] {
  const drive = disk ?? cdrom;
  const isIde = slot.bus === 'ide' || slot.bus === 'sata';
  const isProtected = isIde && disk?.readOnly === true;
  const isTemporary = disk?.mode === 'nonpersistent' || isProtected;
  if (isProtected) {
    const why = 'IDE has no disks that cannot be written: what is written is kept apart and forgotten';
    losses.add(`${where}.readOnly`, true, why);
    losses.add(`${where}.mode`, disk.mode ?? 'nonpersistent is written', why);
  }
  const format = cdrom ? 'raw' : (disk?.format ?? 'raw');
  if (disk?.source && disk.format === undefined) {
    losses.add(`${where}.format`, 'raw is written', 'what a guest wrote must not be taken for a format');
  }
  const backend = drive?.source
    ? [
        '-drive',
        writeValues({
          if: 'none',
          id,
          ...fileValues(drive.source),
          format,
          media: cdrom && 'cdrom',
          readonly: cdrom || (disk?.readOnly && !isProtected) ? 'on' : undefined,
          snapshot: isTemporary ? 'on' : undefined,
        }),
      ]
    : [];
  const needsSerial = slot.bus === 'nvme' && disk?.serial === undefined;
  if (needsSerial) losses.add(`${where}.serial`, `${id} is written`, 'an NVMe disk of QEMU has to have one');
  if (disk && !disk.source) {
    losses.add(where, 'a disk without a file', 'QEMU has no disks without a file');
    return [];
  }
  if (!isTemporary) losses.add(`${where}.mode`, disk?.mode, 'QEMU knows persistent and temporary disks only');
  losses.add(`${where}.capacityBytes`, disk?.capacityBytes, "a disk's size is in the disk");
  if (disk?.readOnly === false)
    losses.add(`${where}.readOnly`, false, 'it is not said where a disk can be written');
  return [
    ...backend,
    ...device({
      ...placeOf(slot, cdrom ? 'cd' : 'hd', models),
      drive: drive?.source && id,
      serial: needsSerial ? id : disk?.serial,
      bootindex: drive?.bootIndex,
    }),
  ];
}

function fileValues({ kind, location }: DriveSource): Record<string, string> {
  if (kind === 'network') return { file: location };
  return { 'file.driver': kind === 'file' ? 'file' : 'host_device', 'file.filename': location };
}

function placeOf(
  { bus, controller, unit }: Slot,
  kind: 'hd' | 'cd',
  models: ReadonlyMap<number, ScsiModel>,
): Values {
  switch (bus) {
    case 'virtio':
      return { driver: 'virtio-blk-pci', id: `virtio-disk${unit}` };
    case 'nvme':
      return { driver: 'nvme', id: `nvme${controller}` };
    case 'usb':
      return { driver: 'usb-storage', bus: `usb${controller}.0`, port: unit + 1 };
    case 'ide':
      return { driver: `ide-${kind}`, bus: `ide.${controller}`, unit };
    case 'sata':
      return { driver: `ide-${kind}`, bus: `sata${controller}.${unit}` };
    default: {
      const isVirtio = models.get(controller) === 'virtio-scsi';
      const at = { channel: 0, 'scsi-id': isVirtio ? 0 : unit, lun: isVirtio ? unit : 0 };
      return { driver: `scsi-${kind}`, bus: `scsi${controller}.0`, ...at };
    }
  }
}
