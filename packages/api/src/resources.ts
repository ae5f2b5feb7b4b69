/** What the contract says of what machines may use of their host. */
import { z } from 'zod';
import type { CallOptions } from './call.ts';
import { MachineRequest } from './machines.ts';
import { name, word } from './values.ts';

const settings = z
  .record(word, z.number())
  .refine((all) => Object.keys(all).length <= 64, 'it must be 64 settings at most');

/** By name, see docs/operating/libvirt.md: microseconds, bytes, shares; what is absent has no limit or is not told. */
export const ResourceSettingsDto = z.strictObject({
  machine: settings,
  disks: z.array(z.strictObject({ disk: name, limits: settings })).max(256),
});
export type ResourceSettingsDto = z.infer<typeof ResourceSettingsDto>;

const settingsNow = z.object({
  machine: z.record(z.string(), z.number()),
  disks: z.array(z.object({ disk: z.string(), limits: z.record(z.string(), z.number()) })),
});

export const MachineResourcesDto = z.object({
  machine: z.string(),
  /** What holds from its next start on. */
  config: settingsNow,
  /** What holds now, where it runs. */
  live: settingsNow.optional(),
  notes: z.array(z.string()),
});
export type MachineResourcesDto = z.infer<typeof MachineResourcesDto>;

export const ResourcesSetRequest = MachineRequest.extend({ settings: ResourceSettingsDto });
export type ResourcesSetRequest = z.infer<typeof ResourcesSetRequest>;

export const ResourcesSetResult = z.object({
  machine: z.string(),
  done: z.array(
    z.object({
      settings: z.array(z.string()),
      config: z.boolean(),
      live: z.boolean(),
      why: z.string().optional(),
    }),
  ),
});
export type ResourcesSetResult = z.infer<typeof ResourcesSetResult>;

export interface ResourcesApi {
  machineResources(request: MachineRequest, options?: CallOptions): Promise<MachineResourcesDto>;
  /** Sets what is given, and leaves the rest. */
  machineResourcesSet(request: ResourcesSetRequest, options?: CallOptions): Promise<ResourcesSetResult>;
}
