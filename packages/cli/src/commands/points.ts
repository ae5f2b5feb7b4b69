/** `prima points`: the restore points there are. */
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { collect } from '../options.ts';
import { pointTable } from '../render/point.ts';

export function registerPoints(program: Command, cli: Cli): void {
  program
    .command('points')
    .description('list restore points, the newest last')
    .argument('[machine]', "only this machine's: its name or id")
    .option('--tag <tag>', 'only points with this tag; may be given several times', collect)
    .action(
      cli.action(
        { repository: true },
        async (invocation, machine: string | undefined, options: { tag?: string[] }) => {
          const request = {
            ...(machine !== undefined && { machine }),
            ...(options.tag && { tags: options.tag }),
          };
          const points = await invocation.call((api, call) => api.points(request, call));
          invocation.result(points, (page) =>
            points.length === 0 ? 'No restore points.' : pointTable(points, page),
          );
        },
      ),
    );
}
