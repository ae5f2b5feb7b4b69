/** What the envelope of a point's package says: the machine's hardware with the disks that the point has. */
import { GiB } from '@prima/base';
import {
  type Disk,
  type MachineDescription,
  newDescription,
  type NotCarried,
  slotName,
} from '@prima/formats';
import type { Point, PointDisk, Repository } from '@prima/repository';
import { configurationOfPoint } from '../machine/configuration.ts';

export interface PackagedDisk {
  disk: PointDisk;
  /** The file's name in the package. */
  file: string;
}

export interface PackageDescription {
  /** Of the package's files: `web` of `web.ovf`. */
  base: string;
  description: MachineDescription;
  disks: PackagedDisk[];
  notCarried: NotCarried[];
}

export async function packageDescription(repository: Repository, point: Point): Promise<PackageDescription> {
  const base = point.machine.name.replaceAll(/[^A-Za-z0-9._ -]/g, '_').replace(/^\.+/, '') || 'machine';
  const disks = point.disks.map((disk, at) => ({ disk, file: diskFileName(base, at) }));
  const isBare = point.files.length === 0;
  const found = isBare ? undefined : await configurationOfPoint(repository, point);
  const hardware = found?.read.result ?? bareHardware(point.machine.name);
  const notCarried = [...(found?.read.notCarried ?? bareNotes)];
  const add = (where: string, what: string, why: string) => notCarried.push({ where, what, why });

  const taken = new Map(disks.map(({ disk, file }) => [found?.read.disksBySlot.get(disk.slot ?? ''), file]));
  for (const disk of hardware.disks) {
    if (!taken.has(disk))
      add(slotName(disk.slot), disk.source?.location ?? 'a disk', 'it is not in the point');
  }
  const packaged = disks.map(({ disk, file }): Disk => {
    const known = found?.read.disksBySlot.get(disk.slot ?? '');
    const place = known ?? { slot: freePlace(hardware.disks) };
    const whole = {
      ...place,
      source: { kind: 'file' as const, location: file },
      format: 'vmdk',
      capacityBytes: disk.size,
    };
    if (!known) hardware.disks.push(whole);
    return whole;
  });
  const cdroms = hardware.cdroms.map(({ source, ...cdrom }) => {
    if (source) add(slotName(cdrom.slot), source.location, 'what lies in a CD-ROM drive is not in the point');
    return cdrom;
  });
  if (point.memory)
    add('memory', `${point.memory.size} bytes`, 'a package has no place for the memory of a run');
  for (const { name } of point.files.filter(({ name: file }) => !/\.vmx$/i.test(file)))
    add('files', name, 'a package has no place for it');
  return { base, description: { ...hardware, disks: packaged, cdroms }, disks, notCarried };
}

/** The envelope cuts names after 80 characters. */
export function diskFileName(base: string, at: number): string {
  return `${base.slice(0, 60)}-disk${at + 1}.vmdk`;
}

const bareNotes: readonly NotCarried[] = [
  {
    where: 'machine',
    what: 'one processor, 1 GiB of memory, BIOS, the disk on SATA',
    why: 'the point is of a bare disk, and an envelope has to say what machine it is for',
  },
];

function bareHardware(name: string): MachineDescription {
  return { ...newDescription(name), memoryBytes: GiB };
}

/** On the first SATA controller, which every host has. */
function freePlace(disks: readonly Disk[]): Disk['slot'] {
  const names = new Set(disks.map(({ slot }) => slotName(slot)));
  for (let unit = 0; ; unit += 1) {
    const slot = { bus: 'sata' as const, controller: Math.floor(unit / 30), unit: unit % 30 };
    if (!names.has(slotName(slot))) return slot;
  }
}
