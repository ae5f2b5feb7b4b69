/** `prima show`: everything about one restore point. */
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { pointDetails } from '../render/point.ts';

interface ShowFlags {
  partitions?: true;
  map?: true;
  verification?: true;
}

export function registerShow(program: Command, cli: Cli): void {
  program
    .command('show')
    .description('show everything about a restore point')
    .argument('<point>', 'id or its beginning, latest, MACHINE@latest or MACHINE@TIME')
    .option('--partitions', "read the disks' partition tables from the point, and show them, too")
    .option('--map', 'show where the data of its disks lies, too')
    .option('--verification', 'say when checks last read what it needs, too')
    .action(
      cli.action({ repository: true }, async (invocation, point: string, options: ShowFlags) => {
        const request = { point, ...options };
        const found = await invocation.call((api, call) => api.show(request, call));
        invocation.result(found, (page) => pointDetails(found, page));
      }),
    );
}
