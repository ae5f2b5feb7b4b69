/** `prima init`: makes a repository. */
import { formatBytes } from '@prima/base';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { parseDuration, parseLevel, parseSize } from '../options.ts';
import { recoverySheet } from '../render/recovery-key.ts';
import { facts } from '../terminal/table.ts';

interface InitOptions {
  chunkSize?: number;
  level?: number;
  readBack: boolean;
  label?: string;
  lock?: number;
  recovery?: boolean;
}

export function registerInit(program: Command, cli: Cli): void {
  program
    .command('init')
    .description('make a repository, opened by the passphrase or key file given')
    .option('--chunk-size <size>', 'the unit of deduplication; fixed for good', parseSize)
    .option('--level <level>', 'zstd level, 1 to 19', parseLevel)
    .option('--no-read-back', 'backups do not read back what they stored, unless told')
    .option(
      '--lock <time>',
      'nobody can forget a point sooner after its backup; fixed for good',
      parseDuration,
    )
    .option('--label <text>', 'a label for the first key slot')
    .option('--recovery', 'make a recovery key besides and show its words, once')
    .action(
      cli.action({ repository: true, newSecret: true }, async (invocation, options: InitOptions) => {
        const { chunkSize, level, readBack, label, lock, recovery } = options;
        const request = {
          ...(chunkSize !== undefined && { chunkSize }),
          ...(level !== undefined && { level }),
          ...(!readBack && { readBack: false }),
          ...(label !== undefined && { label }),
          ...(lock !== undefined && { lockMs: lock }),
          ...(recovery && { recovery: true }),
        };
        const repository = await invocation.call((api, call) => api.init(request, call));
        invocation.result(repository, (page) =>
          [
            facts(
              [
                ['Repository', repository.id],
                ['At', repository.url],
                ['Chunk size', formatBytes(repository.chunkSize)],
              ],
              page,
            ),
            'Without its passphrase or key file nobody can read it: keep a copy in another place.',
            ...(repository.words ? ['', recoverySheet(repository.words)] : []),
          ].join('\n'),
        );
      }),
    );
}
