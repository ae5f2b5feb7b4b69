/** Operations on the hosts' registry. */
import type { PrimaApi } from '@prima/api';
import type { Context } from '../context.ts';

export type HostOperations = Pick<PrimaApi, 'hostList' | 'hostAdd' | 'hostTest' | 'hostRemove'>;

export function hostOperations(context: Context): HostOperations {
  return {
    hostList: (options) => context.run(options, () => context.hosts.list()),
    hostAdd: (request, options) => context.run(options, () => context.hosts.add(request)),
    hostTest: ({ name }, options) =>
      context.run(options, async () => {
        const host = await context.hosts.get(name);
        const checks = await (await context.platformOf(host)).test();
        return { host, ok: checks.every((check) => check.ok), checks };
      }),
    hostRemove: ({ name }, options) => context.run(options, () => context.hosts.remove(name)),
  };
}
