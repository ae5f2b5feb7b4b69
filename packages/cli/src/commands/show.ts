/** `prima show`: everything about one restore point. */
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { pointDetails } from '../render/point.ts';

export function registerShow(program: Command, cli: Cli): void {
  program
    .command('show')
    .description('show everything about a restore point')
    .argument('<point>', 'id or its beginning, latest, MACHINE@latest or MACHINE@TIME')
    .option('--partitions', "read the disks' partition tables from the point, and show them, too")
    .action(
      cli.action({ repository: true }, async (invocation, point: string, options: { partitions?: true }) => {
        const request = { point, ...(options.partitions && { partitions: true }) };
        const found = await invocation.call((api, call) => api.show(request, call));
        invocation.result(found, (page) => pointDetails(found, page));
      }),
    );
}
