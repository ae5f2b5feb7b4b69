/** Operations on what machines may use of their host. */
import type { PrimaApi, ResourceSettingsDto } from '@prima/api';
import { UserError } from '@prima/base';
import {
  diskResourceNames,
  type Platform,
  resourceNames,
  type ResourcePlatform,
  type ResourceSettings,
} from '@prima/platforms';
import type { Context } from '../context.ts';
import { findMachine } from './machines.ts';

export type ResourceOperations = Pick<PrimaApi, 'machineResources' | 'machineResourcesSet'>;

export function resourceOperations(context: Context): ResourceOperations {
  return {
    machineResources: ({ machine: name }, options) =>
      context.run(options, async ({ signal }) => {
        const { platform, machine } = await findMachine(context, name, signal);
        return { machine: machine.name, ...(await resourcesOf(platform).read(machine)) };
      }),
    machineResourcesSet: ({ machine: name, settings }, options) =>
      context.run(options, async ({ signal, logger }) => {
        const checked = checkedSettings(settings);
        await context.recover(logger);
        const { platform, machine } = await findMachine(context, name, signal);
        return { machine: machine.name, done: await resourcesOf(platform).set(machine, checked) };
      }),
  };
}

function resourcesOf({ kind, resources }: Platform): ResourcePlatform {
  if (resources) return resources;
  throw new UserError(
    'unsupported',
    `a ${kind} host does not limit what its machines use: set that in their configuration, or around QEMU`,
  );
}

function checkedSettings({ machine, disks }: ResourceSettingsDto): ResourceSettings {
  const check = (values: Record<string, number>, names: readonly string[]) => {
    for (const [name, value] of Object.entries(values)) {
      if (!names.includes(name))
        throw new UserError('usage', `"${name}" is not a setting; write ${names.join(', ')}`);
      const least = name === 'cpu-quota' ? -1 : 0;
      if (!Number.isSafeInteger(value) || value < least)
        throw new UserError(
          'usage',
          `${name}: ${value} is not possible; a whole number from ${least} was expected`,
        );
    }
  };
  check(machine, resourceNames);
  for (const { limits } of disks) check(limits, diskResourceNames);
  if (Object.keys(machine).length + disks.length === 0)
    throw new UserError('usage', 'nothing is named to be set (prima machine resources set --help)');
  return { machine, disks };
}
