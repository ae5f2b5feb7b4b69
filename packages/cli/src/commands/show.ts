/** `prima show`: everything about one restore point. */
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { pointDetails } from '../render/point.ts';

export function registerShow(program: Command, cli: Cli): void {
  program
    .command('show')
    .description('show everything about a restore point')
    .argument('<point>', 'id or its beginning, latest, MACHINE@latest or MACHINE@TIME')
    .action(
      cli.action({ repository: true }, async (invocation, point: string) => {
        const found = await invocation.call((api, call) => api.show({ point }, call));
        invocation.result(found, (page) => pointDetails(found, page));
      }),
    );
}
