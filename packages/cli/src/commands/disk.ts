/** `prima disk`: disk files by themselves. */
import { errorCodes } from '@prima/base';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { collect, parseCount } from '../options.ts';
import { renderComparison, renderDiskFile, renderDiskMap } from '../render/disk-file.ts';
import { registerDiskChanges } from './disk-change.ts';
import { allowHelp, type FileOptions, formatHelp, named } from './disk-file-options.ts';
import { registerNewDisks } from './disk-new.ts';
import { registerDiskRdm } from './disk-rdm.ts';
import { registerDiskRedo } from './disk-redo.ts';

export function registerDisk(program: Command, cli: Cli): void {
  const disk = program.command('disk').description('look at disk files, make, copy, check and change them');
  disk
    .command('info')
    .description('show what a disk file is and holds: format, sizes, what it is based on, partitions')
    .argument('<file>', 'a disk file or block device')
    .option('--format <format>', formatHelp)
    .option('--allow-folder <folder>', allowHelp, collect)
    .action(
      cli.action({}, async (invocation, path: string, options: FileOptions) => {
        const result = await invocation.call((api, call) => api.diskInfo(named(path, options), call));
        invocation.result(result, (page) => renderDiskFile(result, page));
      }),
    );
  disk
    .command('map')
    .description('show where a disk holds data, zeros and holes')
    .argument('<file>', 'a disk file or block device')
    .option('--format <format>', formatHelp)
    .option('--allow-folder <folder>', allowHelp, collect)
    .option('--limit <n>', 'list no more extents than this (1000)', parseCount)
    .action(
      cli.action({}, async (invocation, path: string, options: FileOptions & { limit?: number }) => {
        const { limit } = options;
        const request = { ...named(path, options), ...(limit !== undefined && { limit }) };
        const result = await invocation.call((api, call) => api.diskMap(request, call));
        invocation.result(result, (page) => renderDiskMap(result, page));
      }),
    );
  registerCompare(disk, cli);
  registerNewDisks(disk, cli);
  registerDiskChanges(disk, cli);
  registerDiskRdm(disk, cli);
  registerDiskRedo(disk, cli);
}

function registerCompare(disk: Command, cli: Cli): void {
  disk
    .command('compare')
    .description('show where two disks differ, whatever their formats')
    .argument('<a>', 'a disk file or block device')
    .argument('<b>', 'another one')
    .option('--a-format <format>', 'of the first, where name and content do not tell it')
    .option('--b-format <format>', 'of the second')
    .option('--allow-folder <folder>', allowHelp, collect)
    .option('--limit <n>', 'end after so many differing ranges (1000)', parseCount)
    .action(
      cli.action(
        {},
        async (
          invocation,
          a: string,
          b: string,
          options: { aFormat?: string; bFormat?: string; allowFolder?: string[]; limit?: number },
        ) => {
          const { aFormat, bFormat, allowFolder, limit } = options;
          const request = {
            a: named(a, { format: aFormat, allowFolder }),
            b: named(b, { format: bFormat, allowFolder }),
            ...(limit !== undefined && { limit }),
          };
          const result = await invocation.call((api, call) => api.diskCompare(request, call));
          invocation.result(result, (page) => renderComparison(result, page));
          if (result.differences.length > 0) invocation.exitStatus = errorCodes['verify-failed'].exit;
        },
      ),
    );
}
