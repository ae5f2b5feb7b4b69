/** Slots: what a dialect's buses cannot take is moved to one that can, and listed. */
import type { Bus, Cdrom, Disk, MachineDescription, Slot } from './description.ts';
import { buses, slotName } from './description.ts';
import type { Losses } from './translation.ts';

export interface BusLimits {
  /** How many controllers; none where the bus is absent. */
  controllers: number;
  /** How many units each has. */
  units: number;
  /** A unit that is the controller's own. */
  reserved?: number;
}

export type DialectBuses = Partial<Record<Bus, BusLimits>>;

export interface DialectPlaces {
  /** For messages. */
  name: string;
  buses: DialectBuses;
  /** Where CD-ROMs can be; `fallback` is one of them. */
  cdromBuses: readonly Bus[];
  fallback: Bus;
}

export interface Drive {
  slot: Slot;
  disk?: Disk;
  cdrom?: Cdrom;
  /** `disks[0]` */
  where: string;
}

/**
 * All drives of a description, each in a slot that the dialect has; one that it lacks is exchanged for the first free
 * one on `fallback`, the next of `dialect` where it is full, and listed.
 */
export function drivesIn(description: MachineDescription, dialect: DialectPlaces, losses: Losses): Drive[] {
  const drives: Drive[] = [
    ...description.disks.map((disk, i) => ({ slot: disk.slot, disk, where: `disks[${i}]` })),
    ...description.cdroms.map((cdrom, i) => ({ slot: cdrom.slot, cdrom, where: `cdroms[${i}]` })),
  ];
  const taken = new Set<string>();
  const wanting: Drive[] = [];
  for (const drive of drives) {
    const name = slotName(drive.slot);
    const isRight = !drive.cdrom || dialect.cdromBuses.includes(drive.slot.bus);
    if (isRight && fits(drive.slot, dialect.buses) && !taken.has(name)) taken.add(name);
    else wanting.push(drive);
  }
  for (const drive of wanting) {
    const slot = freeSlot(dialect, drive.cdrom ? dialect.cdromBuses : buses, taken);
    const why = `${dialect.name} has no such place${slot ? `; it is at ${slotName(slot)}` : ', and no free one'}`;
    losses.add(slot ? `${drive.where}.slot` : drive.where, slotName(drive.slot), why);
    if (slot) {
      drive.slot = slot;
      taken.add(slotName(slot));
    } else drives.splice(drives.indexOf(drive), 1);
  }
  return drives;
}

function fits({ bus, controller, unit }: Slot, dialect: DialectBuses): boolean {
  const limits = dialect[bus];
  return (
    limits !== undefined && controller < limits.controllers && unit < limits.units && unit !== limits.reserved
  );
}

function freeSlot(
  { buses: limits, fallback }: DialectPlaces,
  allowed: readonly Bus[],
  taken: ReadonlySet<string>,
): Slot | undefined {
  const order = [fallback, ...allowed.filter((bus) => bus !== fallback)];
  for (const bus of order) {
    const { controllers = 0, units = 0, reserved } = limits[bus] ?? {};
    for (let at = 0; at < controllers * units; at += 1) {
      const slot = { bus, controller: Math.floor(at / units), unit: at % units };
      if (slot.unit !== reserved && !taken.has(slotName(slot))) return slot;
    }
  }
  return undefined;
}

const busOrder: readonly Bus[] = ['virtio', 'scsi', 'sata', 'nvme', 'ide', 'usb'];

/** By bus, controller, unit. */
export function bySlot(a: { slot: Slot }, b: { slot: Slot }): number {
  return (
    busOrder.indexOf(a.slot.bus) - busOrder.indexOf(b.slot.bus) ||
    a.slot.controller - b.slot.controller ||
    a.slot.unit - b.slot.unit
  );
}
