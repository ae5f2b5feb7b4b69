/** What of its host a machine may use: read and set, where the kind of host can. */
import type { Machine } from './platform.ts';

/**
 * By name; what is absent has no limit, or the host does not tell it. `cpu-period`, `cpu-quota`: microseconds, a quota of -1 is none;
 * `memory…`: bytes; `cpu-shares`, `blkio-weight`: shares of what others have, too.
 */
export const resourceNames = [
  'vcpus',
  'vcpus-max',
  'cpu-shares',
  'cpu-period',
  'cpu-quota',
  'memory',
  'memory-max',
  'memory-hard-limit',
  'memory-soft-limit',
  'blkio-weight',
] as const;

export type ResourceName = (typeof resourceNames)[number];

/** Of one disk, a second: bytes or requests; `…-burst` is what it may have for a short time. 0 is no limit. */
export const diskResourceNames = [
  'total-bytes',
  'read-bytes',
  'write-bytes',
  'total-iops',
  'read-iops',
  'write-iops',
  'total-bytes-burst',
  'read-bytes-burst',
  'write-bytes-burst',
  'total-iops-burst',
  'read-iops-burst',
  'write-iops-burst',
] as const;

export type DiskResourceName = (typeof diskResourceNames)[number];

export interface ResourceSettings {
  machine: Partial<Record<ResourceName, number>>;
  disks: { disk: string; limits: Partial<Record<DiskResourceName, number>> }[];
}

export interface MachineResources {
  /** What holds from its next start on. */
  config: ResourceSettings;
  /** What holds now, where it runs. */
  live?: ResourceSettings;
  /** What could not be told, and why. */
  notes: string[];
}

/** One setting, or several that are set together. */
export interface ResourceDone {
  /** `cpu-shares`, `vda read-bytes` */
  settings: string[];
  config: boolean;
  live: boolean;
  /** Where it is not what was wanted: why. */
  why?: string;
}

export interface ResourcePlatform {
  read(machine: Machine): Promise<MachineResources>;
  /**
   * Sets what is given and leaves the rest: in the configuration, and at once where it runs and the host can. Raises `not-found`
   * for a disk that it does not have, `usage` for what the host takes for nonsense.
   */
  set(machine: Machine, settings: ResourceSettings): Promise<ResourceDone[]>;
}
