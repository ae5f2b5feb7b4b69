/** Operations on machines' configurations, wherever they are. */
import type { MachineConfigurationApi } from '@prima/api';
import { UserError } from '@prima/base';
import {
  configurationOfFile,
  configurationOfMachine,
  configurationOfPoint,
  type FoundConfiguration,
  parseSource,
  showConfiguration,
} from '@prima/engine';
import type { Context } from '../context.ts';
import { namedPoint } from './points.ts';

const dialects = ['json', 'vmx', 'ovf', 'libvirt', 'qemu'];

export function configurationOperations(context: Context): MachineConfigurationApi {
  return {
    machineConfiguration: ({ source, as = 'json', system }, options) =>
      context.run(options, async ({ signal }) => {
        if (!dialects.includes(as)) {
          throw new UserError('usage', `"${as}" is no dialect; write ${dialects.join(', ')}`);
        }
        const found = await find(context, source, { system, signal });
        const { notRead, notWritten, ...shown } = showConfiguration(found, as);
        return {
          from: found.from,
          dialect: found.read.dialect,
          as,
          ...shown,
          notCarried: [
            ...notRead.map((loss) => ({ when: 'reading' as const, ...loss })),
            ...notWritten.map((loss) => ({ when: 'writing' as const, ...loss })),
          ],
        };
      }),
  };
}

/** A file or a machine where there is one of that name, otherwise a point. */
async function find(
  context: Context,
  text: string,
  { system, signal }: { system?: string; signal: AbortSignal },
): Promise<FoundConfiguration> {
  const name = await parseSource(text, await context.hosts.list()).catch((error: unknown) => {
    const isNothing = error instanceof UserError && error.code === 'not-found';
    if (!isNothing || /^\.{0,2}\//.test(text)) throw error;
    if (context.hasRepository) return undefined;
    throw new UserError('not-found', `${error.message}; for a restore point name its repository (--repo)`);
  });
  if (name === undefined) {
    const repository = await context.repository();
    return configurationOfPoint(repository, await namedPoint(repository, text));
  }
  if (name.kind === 'nbd') throw new UserError('usage', `${text} is a disk: it has no configuration`);
  if (name.kind === 'machine') {
    const platform = await context.platform(name.host);
    return configurationOfMachine(platform, await platform.find(name.machine, signal));
  }
  return configurationOfFile(name.kind === 'folder' ? name.vmx : name.path, system);
}
