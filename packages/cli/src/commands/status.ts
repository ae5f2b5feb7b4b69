/** `prima status`: what the repository is and how full. */
import { formatBytes } from '@prima/base';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { count } from '../render/point.ts';
import { facts } from '../terminal/table.ts';

export function registerStatus(program: Command, cli: Cli): void {
  program
    .command('status')
    .description('show what the repository is and holds')
    .action(
      cli.action({ repository: true }, async (invocation) => {
        const found = await invocation.call((api, call) => api.status(call));
        invocation.result(found, (page) =>
          facts(
            [
              ['Repository', found.id],
              ['At', found.url],
              ['Points', String(found.points)],
              [
                'Stored',
                `${formatBytes(found.storedBytes)} in ${count(found.packs, 'pack')}, ${count(found.blobs, 'blob')}`,
              ],
              ['Chunk size', formatBytes(found.chunkSize)],
            ],
            page,
          ),
        );
      }),
    );
}
