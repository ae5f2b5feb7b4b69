/** What backups of running machines and of stand-ins share: the job's XML, its exports as devices, the checkpoint. */
import type { PrimaError } from '@prima/base';
import type { BlockDevice } from '@prima/block';
import { explainedDevice } from '../explained-device.ts';
import type { DiskReading } from '../platform.ts';
import { backupXml, checkpointXml, exportedBitmap } from './backup-xml.ts';
import type { DiskServer } from './disk-server.ts';
import type { Domain } from './domain.ts';
import type { Plan } from './plan.ts';
import type { Reached } from './reach.ts';
import type { LibvirtCheckpoint } from './tracking.ts';

/** For `domainBackupBegin`. Without a disk that keeps bitmaps there is no checkpoint. */
export function jobOf(
  plan: Plan,
  domain: Domain,
  { server, checkpoint = '' }: { server: DiskServer; checkpoint?: string | undefined },
): { backupXml: string; checkpointXml?: string } {
  const all = domain.disks.map(({ target }) => target);
  const read = plan.disks.map(({ disk }) => disk.slot);
  const tracked = plan.disks.filter((planned) => planned.tracked).map(({ disk }) => disk.slot);
  const without = (targets: readonly string[]) => all.filter((target) => !targets.includes(target));
  const disks = plan.disks.map(({ disk, since, scratch }) => ({ target: disk.slot, since, scratch }));
  return {
    backupXml: backupXml(server, disks, without(read)),
    ...(tracked.length > 0 ? { checkpointXml: checkpointXml(checkpoint, tracked, without(tracked)) } : {}),
  };
}

export interface OpenDisksOptions {
  /** Those that were opened are added at once, so that a failure leaves none open. */
  devices: BlockDevice[];
  /** What is behind a failed read of a disk, where it is known. */
  explain: (disk: string) => Promise<PrimaError | undefined>;
  signal?: AbortSignal;
}

export async function openDisks(
  plan: Plan,
  reached: Reached,
  { devices, explain, signal }: OpenDisksOptions,
): Promise<DiskReading[]> {
  const readings: DiskReading[] = [];
  for (const { disk, since, whyFull } of plan.disks) {
    const bitmap = exportedBitmap(disk.slot);
    const contexts = since === undefined ? [] : [`qemu:dirty-bitmap:${bitmap}`];
    const device = await reached.open({ exportName: disk.slot, contexts, ...(signal ? { signal } : {}) });
    devices.push(device);
    const view = explainedDevice(device, () => explain(disk.name));
    const sized = { ...disk, size: device.size };
    if (since === undefined) readings.push({ disk: sized, device: view, ...(whyFull ? { whyFull } : {}) });
    else {
      const changed = await device.dirtyRanges(bitmap, undefined, signal);
      readings.push({ disk: sized, device: view, changed });
    }
  }
  return readings;
}

export function checkpointOf(plan: Plan, name: string): LibvirtCheckpoint {
  return {
    platform: 'libvirt',
    version: 1,
    name,
    disks: plan.disks.map(({ disk, chain, tracked }) => ({
      slot: disk.slot,
      size: disk.size,
      path: disk.path,
      chain,
      format: disk.format,
      tracked,
    })),
  };
}
