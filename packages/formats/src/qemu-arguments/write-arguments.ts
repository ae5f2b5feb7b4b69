/** Description → QEMU's arguments, with nothing left for QEMU to choose by itself but what the description leaves open. */
import { MiB } from '@prima/base';
import type { Firmware, MachineDescription } from '../machine/description.ts';
import { Losses, type Translation } from '../machine/translation.ts';
import { escapeComma, writeValues } from './option.ts';
import { looksLikeUefi } from './qemu-names.ts';
import { writeQemuDevices } from './write-devices.ts';
import { writeQemuDrives } from './write-drives.ts';

export interface QemuChoices {
  /** Absent: QEMU's own default, which is software emulation. */
  accelerator?: 'kvm' | 'tcg';
}

/** The arguments without the program's name; `qemu-system-x86_64` takes them. */
export function writeQemuArguments(
  description: MachineDescription,
  { accelerator }: QemuChoices = {},
): Translation<string[]> {
  const losses = new Losses();
  const { name, uuid, machineType, cpus, clock, kernel } = description;
  const model = cpus.model === 'host-model' ? 'host' : cpus.model;
  if (model !== cpus.model) losses.add('cpus.model', cpus.model, "it is libvirt's; host is written");
  const words = [
    ...option('name', name === '' ? undefined : `guest=${escapeComma(name)}`),
    ...option('uuid', uuid),
    ...option('machine', machineType && escapeComma(machineType)),
    ...option('accel', accelerator),
    '-nodefaults',
    '-m',
    writeMemory(description.memoryBytes, losses),
    ...option('smp', writeCpus(cpus)),
    ...option('cpu', model && escapeComma(model)),
    ...option('rtc', clock && `base=${clock}`),
    ...writeFirmware(description.firmware, losses),
    ...option('kernel', kernel?.image),
    ...option('initrd', kernel?.initrd),
    ...option('append', kernel?.commandLine),
    ...writeQemuDrives(description, losses),
    ...writeQemuDevices(description, losses),
  ];
  if (name === '') losses.add('name', name, 'it is empty');
  const none = 'QEMU has no place for it';
  losses.add('annotation', description.annotation, none);
  losses.add('guestOs', description.guestOs, none);
  losses.add('hardwareVersion', description.hardwareVersion, "it is VMware's");
  losses.add('resources', description.resources, 'QEMU is a process like others: the host divides itself');
  return { result: words, notCarried: losses.list };
}

/** `-name value`; nothing where there is no value. */
export function option(name: string, value: string | undefined): string[] {
  return value === undefined ? [] : [`-${name}`, value];
}

function writeMemory(bytes: number, losses: Losses): string {
  if (bytes % MiB !== 0) losses.add('memoryBytes', bytes, 'whole MiB are written: rounded up');
  return `${Math.ceil(bytes / MiB)}M`;
}

function writeCpus({ count, topology }: MachineDescription['cpus']): string {
  return topology ? `${count},${writeValues({ ...topology })}` : String(count);
}

function writeFirmware({ kind, loader, nvram, secureBoot }: Firmware, losses: Losses): string[] {
  const flash = (unit: number, file: string, readonly?: 'on') =>
    option('drive', writeValues({ if: 'pflash', unit, format: 'raw', readonly, file }));
  losses.add('firmware.secureBoot', secureBoot, 'it lies in the files of the firmware');
  if (kind === 'bios' || loader === undefined) {
    losses.add('firmware.nvram', nvram, 'there is no firmware that it belongs to');
    const isOther = (kind === 'uefi') !== looksLikeUefi(loader);
    if (kind === 'uefi') losses.add('firmware.kind', kind, 'QEMU has to be given its file; a BIOS starts');
    else if (isOther) losses.add('firmware.kind', kind, 'its file is named as UEFI is');
    return option('bios', loader);
  }
  return [...flash(0, loader, 'on'), ...(nvram === undefined ? [] : flash(1, nvram))];
}
