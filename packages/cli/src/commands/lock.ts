/** `prima lock`: keeps points from being forgotten. */
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { parseDuration } from '../options.ts';
import { shortId } from '../render/point.ts';
import { formatMoment } from '../terminal/time.ts';
import { printable } from '../terminal/width.ts';

interface LockOptions {
  until?: string;
  for?: number;
}

export function registerLock(program: Command, cli: Cli): void {
  program
    .command('lock')
    .description('lock points: nobody can forget them before; only ever extends')
    .argument('<point...>', 'these points')
    .option('--until <time>', '2026-12-31, "2026-12-31 18:00" or 2026-12-31T18:00:00Z')
    .option('--for <time>', 'from now on: 30d, 12h', parseDuration)
    .action(
      cli.action({ repository: true }, async (invocation, points: string[], options: LockOptions) => {
        const request = {
          points,
          ...(options.until !== undefined && { until: options.until }),
          ...(options.for !== undefined && { forMs: options.for }),
        };
        const locked = await invocation.call((api, call) => api.lock(request, call));
        invocation.result(locked, () =>
          locked
            .map(
              ({ id, machine, lockedUntil = '' }) =>
                `${shortId(id)} of ${printable(machine)} is locked until ${formatMoment(lockedUntil)}`,
            )
            .join('\n'),
        );
      }),
    );
}
