/** Operations on raw device mappings. */
import { resolve } from 'node:path';
import type { RdmApi } from '@prima/api';
import { UserError } from '@prima/base';
import { createMapping, queryMapping, remapDevice } from '@prima/engine';
import { type MappingMode, mappingModes } from '@prima/qemu';
import type { Context } from '../context.ts';

export function rdmOperations(context: Context): RdmApi {
  return {
    rdmCreate: ({ target, device, mode }, options) =>
      context.run(options, async ({ signal, logger }) => {
        const wanted = modeOf(mode);
        const journal = await context.recover(logger);
        const made = await createMapping(resolve(target), { device, mode: wanted, journal, signal });
        return queryMapping(made.path, signal);
      }),
    rdmQuery: ({ path }, options) => context.run(options, ({ signal }) => queryMapping(path, signal)),
    rdmRemap: ({ path, device, force }, options) =>
      context.run(options, ({ signal }) => remapDevice(path, device, { force, signal })),
  };
}

function modeOf(text = 'virtual'): MappingMode {
  const mode = mappingModes.find((known) => known === text);
  if (mode) return mode;
  throw new UserError('usage', `"${text}" is no mode of a mapping; write ${mappingModes.join(' or ')}`);
}
