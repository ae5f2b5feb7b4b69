/**
 * A machine of another kind of host → the .vmx of a plain QEMU host: what QEMU lacks is exchanged for the nearest that guests
 * know, and what this kind of host does not have is said.
 */
import { PrimaError } from '@prima/base';
import {
  type Disk,
  type MachineDescription,
  type Nic,
  parseVmx,
  readConfiguration,
  readVmxDescription,
  type ScsiController,
  type ScsiModel,
  type Slot,
  slotName,
  type Vmx,
  writeVmxDescription,
} from '@prima/formats';
import type { ConfigFile } from '../platform.ts';

export interface TranslatedMachine {
  vmx: Vmx;
  /** What the .vmx calls a slot of the original. Raises `format` for one that the original does not have. */
  slotOf: (slot: string) => string;
  notes: string[];
}

/** @param machineType for a configuration that does not say one. Raises `format`. */
export function translateMachine({ name, bytes }: ConfigFile, machineType: string): TranslatedMachine {
  const read = readConfiguration(bytes, name);
  const notes = read.notCarried.map(({ where, what }) => `left out: ${where} (${what})`);
  const description = adapted(read.result, notes);
  description.machineType ??= machineType;
  const over = read.dialect === 'vmx' ? { over: parseVmx(bytes) } : {};
  const { result: vmx, notCarried } = writeVmxDescription(description, { flavour: 'plain-qemu', ...over });
  for (const { where, what, why } of notCarried) {
    if (!/\.capacityBytes$|^hardwareVersion$/.test(where)) notes.push(`${where}: ${what}: ${why}`);
  }
  const written = readVmxDescription(vmx, name);
  const slots = new Map<string, string>();
  for (const [original, disk] of read.disksBySlot) {
    const at = read.result.disks.indexOf(disk);
    const own = description.disks[at]?.slot;
    const found = [...written.disksBySlot].find(([, { slot }]) => own && slotName(slot) === slotName(own));
    if (found) slots.set(original, found[0]);
  }
  const slotOf = (slot: string): string => {
    const found = slots.get(slot);
    if (found === undefined) throw new PrimaError('format', `${name} has no disk at ${slot}`);
    return found;
  };
  return { vmx, slotOf, notes };
}

function adapted(original: MachineDescription, notes: string[]): MachineDescription {
  const { disks, cdroms, nics, firmware, tpm } = original;
  const places = new Places(disks);
  for (const cdrom of cdroms) {
    if (cdrom.source)
      notes.push(`${slotName(cdrom.slot)}: CD-ROM drives are left out (${cdrom.source.location})`);
  }
  if (firmware.kind === 'uefi') {
    notes.push(
      'it starts with UEFI, which plain QEMU hosts do not have: started with a BIOS it may find no system',
    );
  }
  if (tpm) notes.push('plain QEMU hosts have no TPM');
  return {
    ...original,
    scsiControllers: scsiControllers(original, notes),
    disks: disks.map((disk, at) => placed(disk, { at, places, notes })),
    cdroms: [],
    nics: nics.flatMap((nic, index) => connected(nic, index, notes)),
    tpm: undefined,
  };
}

interface Placing {
  at: number;
  places: Places;
  notes: string[];
}

/** A disk with a file name of its own, so that every one is in the .vmx; the host gives the real ones. */
function placed({ slot, ...disk }: Disk, { at, places, notes }: Placing): Disk {
  const own = places.of(slot);
  if (own !== slot)
    notes.push(`the disk at ${slotName(slot)} goes to ${slotName(own)}: QEMU runs none there`);
  return { ...disk, slot: own, source: { kind: 'file', location: `disk${at}` }, format: 'raw' };
}

/** What QEMU's machines of this kind of host have. ICH9's AHCI has six ports. */
const limits: Partial<Record<Slot['bus'], { controllers: number; units: number; reserved?: number }>> = {
  scsi: { controllers: 4, units: 16, reserved: 7 },
  sata: { controllers: 4, units: 6 },
  ide: { controllers: 2, units: 2 },
  virtio: { controllers: 4, units: 64 },
};

class Places {
  readonly #taken: Set<string>;

  constructor(disks: readonly Disk[]) {
    this.#taken = new Set(disks.filter(({ slot }) => fits(slot)).map(({ slot }) => slotName(slot)));
  }

  /** The slot itself where it can stay, otherwise the first free one on SATA. */
  of(slot: Slot): Slot {
    if (fits(slot)) return slot;
    for (let port = 0; port < 24; port += 1) {
      const free: Slot = { bus: 'sata', controller: Math.floor(port / 6), unit: port % 6 };
      if (this.#taken.has(slotName(free))) continue;
      this.#taken.add(slotName(free));
      return free;
    }
    throw new PrimaError('unsupported', `a plain QEMU host has no place for the disk at ${slotName(slot)}`);
  }
}

function fits({ bus, controller, unit }: Slot): boolean {
  const limit = limits[bus];
  return (
    limit !== undefined && controller < limit.controllers && unit < limit.units && unit !== limit.reserved
  );
}

const runnable: ReadonlySet<ScsiModel> = new Set(['lsilogic', 'lsisas1068', 'pvscsi', 'virtio-scsi']);

/** Every controller that a disk is on is named: one that is not would be virtio, which guests of others do not know. */
function scsiControllers(
  { scsiControllers: known, disks }: MachineDescription,
  notes: string[],
): ScsiController[] {
  const wanted = new Set(known.map(({ index }) => index));
  for (const { slot } of disks) if (slot.bus === 'scsi') wanted.add(slot.controller);
  return [...wanted]
    .sort((a, b) => a - b)
    .map((index) => {
      const model = known.find((controller) => controller.index === index)?.model;
      if (model && runnable.has(model)) return { index, model };
      notes.push(`scsi${index} (${model ?? 'of a kind that is not said'}) becomes lsilogic`);
      return { index, model: 'lsilogic' as const };
    });
}

/** Plain QEMU hosts have no networks of their own: a card is behind the host's address, or not there. */
function connected(nic: Nic, index: number, notes: string[]): Nic[] {
  const { kind, name } = nic.network;
  if (kind === 'nat') return [nic];
  const where = kind === 'none' ? 'none' : `"${name ?? kind}", which this host does not have`;
  notes.push(`network card ${index} is not plugged in: its network is ${where}`);
  return [{ ...nic, network: { kind: 'none' } }];
}
