/** What the contract says of machines' configurations: shown in the dialects of other hosts. */
import type { CallOptions } from './call.ts';

export type ConfigurationDialect = 'vmx' | 'ovf' | 'libvirt' | 'qemu';

export interface MachineConfigurationRequest {
  /** HOST/MACHINE, a file or a machine's folder, or a point. */
  source: string;
  /** Default `json`: the neutral description. */
  as?: ConfigurationDialect | 'json';
  /** Of an OVF envelope with several machines: which, by its `ovf:id`. */
  system?: string;
}

export interface NotCarriedDto {
  /** `reading`: it has no place in a description; `writing`: the dialect that was asked for has none. */
  when: 'reading' | 'writing';
  what: string;
  where: string;
  why: string;
}

export interface MachineConfigurationDto {
  /** What was looked at, and in which dialect it is. */
  from: string;
  dialect: ConfigurationDialect;
  as: ConfigurationDialect | 'json';
  text: string;
  description: object;
  notCarried: NotCarriedDto[];
}

export interface MachineConfigurationApi {
  machineConfiguration(
    request: MachineConfigurationRequest,
    options?: CallOptions,
  ): Promise<MachineConfigurationDto>;
}
