/**
 * The order in which a .vmx's devices are tried, as far as its two keys can say it:
 *
 *   bios.bootOrder = "hdd,cdrom,ethernet0"     kinds, and network cards by number
 *   bios.hddOrder = "scsi0:0,ide0:1"           which disks `hdd` means
 */
import type { Disk, MachineDescription } from '../machine/description.ts';
import type { Losses } from '../machine/translation.ts';
import type { VmxReading } from './vmx-reading.ts';
import type { Vmx } from './vmx.ts';

const keys = { order: 'bios.bootOrder', disks: 'bios.hddOrder' } as const;

type Bootable = { bootIndex?: number };

/** Sets the boot indices of `description`; its disks by what the file calls their slot. */
export function readVmxBootOrder(
  reading: VmxReading,
  description: MachineDescription,
  disksBySlot: ReadonlyMap<string, Disk>,
): void {
  const order = listOf(reading.get(keys.order));
  const named = listOf(reading.get(keys.disks)).flatMap((slot) => disksBySlot.get(slot) ?? []);
  if (!order.includes('hdd')) reading.unread(keys.disks);
  const found: Bootable[] = [];
  const cards = reading.indices('ethernet').filter((n) => reading.isTrue(`ethernet${n}.present`));
  for (const written of order) {
    const card = /^ethernet(\d{1,3})$/.exec(written)?.[1];
    const name = card === undefined ? written : `ethernet${cards.indexOf(Number(card))}`;
    const devices = devicesOf(name, named, description);
    if (devices.length === 0) reading.unread(keys.order);
    found.push(...devices.filter((device) => !found.includes(device)));
  }
  for (const [index, device] of found.entries()) device.bootIndex = index + 1;
}

function devicesOf(name: string, named: readonly Disk[], description: MachineDescription): Bootable[] {
  if (name === 'cdrom') return description.cdroms.slice(0, 1);
  const nic = /^ethernet(\d{1,3})$/.exec(name)?.[1];
  if (nic !== undefined) return description.nics.slice(Number(nic), Number(nic) + 1);
  if (name !== 'hdd') return [];
  return named.length > 0 ? [...named] : description.disks.slice(0, 1);
}

const listOf = (text: string | undefined): string[] =>
  (text ?? '')
    .toLowerCase()
    .split(/[\s,]+/)
    .filter((item) => item !== '');

/** Writes the two keys; whatever they cannot say is listed and not written. `cards` are the numbers of the nics, `slots` those of drives. */
export function writeVmxBootOrder(
  vmx: Vmx,
  description: MachineDescription,
  { losses, cards, slots }: { losses: Losses; cards: readonly number[]; slots: ReadonlyMap<string, string> },
): void {
  const { disks, cdroms, nics } = description;
  const devices = [
    ...disks.map((disk, i) => ({ name: 'hdd', where: `disks[${i}]`, device: disk as Bootable })),
    ...cdroms.map((device, i) => ({
      name: cdroms.length === 1 ? 'cdrom' : '',
      where: `cdroms[${i}]`,
      device,
    })),
    ...nics.map((device, i) => ({ name: `ethernet${cards[i] ?? i}`, where: `nics[${i}]`, device })),
  ]
    .filter(
      ({ name, where, device }) => device.bootIndex !== undefined && (name !== 'hdd' || slots.has(where)),
    )
    .sort((a, b) => (a.device.bootIndex ?? 0) - (b.device.bootIndex ?? 0));
  const order = devices.map(({ name }) => name).filter((name, i, all) => name !== all[i - 1]);
  const isSayable =
    new Set(order).size === order.length &&
    !order.includes('') &&
    devices.every(({ device }, i) => device.bootIndex === i + 1);
  if (!isSayable) {
    const why = 'a .vmx can say this only for kinds of devices one after the other, from 1';
    for (const { where, device } of devices) losses.add(`${where}.bootIndex`, device.bootIndex, why);
  }
  const hdd = devices.flatMap(({ name, where }) => (name === 'hdd' ? (slots.get(where) ?? []) : []));
  setOrDelete(vmx, keys.order, isSayable ? order.join(',') : '');
  setOrDelete(vmx, keys.disks, isSayable ? hdd.join(',') : '');
}

function setOrDelete(vmx: Vmx, key: string, value: string): void {
  if (value === '') vmx.delete(key);
  else vmx.set(key, value);
}
