/** What the contract says of machines' configurations: shown in the dialects of other hosts. */
import { z } from 'zod';
import type { CallOptions } from './call.ts';
import { name, place } from './values.ts';

export const ConfigurationDialect = z.enum(['vmx', 'ovf', 'libvirt', 'qemu']);
export type ConfigurationDialect = z.infer<typeof ConfigurationDialect>;

const shownAs = z.enum([...ConfigurationDialect.options, 'json']);

export const MachineConfigurationRequest = z.strictObject({
  /** HOST/MACHINE, a file or a machine's folder, or a point. */
  source: place.meta({ description: "HOST/MACHINE, a file or a machine's folder, or a point" }),
  /** Default `json`: the neutral description. */
  as: shownAs.optional(),
  /** Of an OVF envelope with several machines: which, by its `ovf:id`. */
  system: name.optional(),
});
export type MachineConfigurationRequest = z.infer<typeof MachineConfigurationRequest>;

export const NotCarriedDto = z.object({
  /** `reading`: it has no place in a description; `writing`: the dialect that was asked for has none. */
  when: z.enum(['reading', 'writing']),
  what: z.string(),
  where: z.string(),
  why: z.string(),
});
export type NotCarriedDto = z.infer<typeof NotCarriedDto>;

export const MachineConfigurationDto = z.object({
  /** What was looked at, and in which dialect it is. */
  from: z.string(),
  dialect: ConfigurationDialect,
  as: shownAs,
  text: z.string(),
  description: z.record(z.string(), z.unknown()) as unknown as z.ZodType<object>,
  notCarried: z.array(NotCarriedDto),
});
export type MachineConfigurationDto = z.infer<typeof MachineConfigurationDto>;

export interface MachineConfigurationApi {
  machineConfiguration(
    request: MachineConfigurationRequest,
    options?: CallOptions,
  ): Promise<MachineConfigurationDto>;
}
