/** What the contract says of what machines may use of their host. */
import type { CallOptions } from './call.ts';

/** By name, see docs/operating/libvirt.md: microseconds, bytes, shares; what is absent has no limit or is not told. */
export interface ResourceSettingsDto {
  machine: Record<string, number>;
  disks: { disk: string; limits: Record<string, number> }[];
}

export interface MachineResourcesDto {
  machine: string;
  /** What holds from its next start on. */
  config: ResourceSettingsDto;
  /** What holds now, where it runs. */
  live?: ResourceSettingsDto;
  notes: string[];
}

export interface ResourcesSetResult {
  machine: string;
  done: { settings: string[]; config: boolean; live: boolean; why?: string }[];
}

export interface ResourcesApi {
  machineResources(request: { machine: string }, options?: CallOptions): Promise<MachineResourcesDto>;
  /** Sets what is given, and leaves the rest. */
  machineResourcesSet(
    request: { machine: string; settings: ResourceSettingsDto },
    options?: CallOptions,
  ): Promise<ResourcesSetResult>;
}
