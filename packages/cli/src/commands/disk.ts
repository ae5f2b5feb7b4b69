/** `prima disk`: disk files by themselves. */
import type { DiskFileRequest, ImageFormat } from '@prima/api';
import { errorCodes, formatBytes, formatDuration } from '@prima/base';
import { type Command, Option } from 'commander';
import type { Cli } from '../cli.ts';
import { parseCount } from '../options.ts';
import { renderComparison, renderDiskFile, renderDiskMap } from '../render/disk-file.ts';
import { printable } from '../terminal/width.ts';

const formatHelp = 'its format, where name and content do not tell it';

export function registerDisk(program: Command, cli: Cli): void {
  const disk = program.command('disk').description('look at disk files, compare and convert them');
  disk
    .command('info')
    .description('show what a disk file is and holds: format, sizes, what it is based on, partitions')
    .argument('<file>', 'a disk file or block device')
    .option('--format <format>', formatHelp)
    .action(
      cli.action({}, async (invocation, path: string, { format }: { format?: string }) => {
        const result = await invocation.call((api, call) => api.diskInfo(named(path, format), call));
        invocation.result(result, (page) => renderDiskFile(result, page));
      }),
    );
  disk
    .command('map')
    .description('show where a disk holds data, zeros and holes')
    .argument('<file>', 'a disk file or block device')
    .option('--format <format>', formatHelp)
    .option('--limit <n>', 'list no more extents than this (1000)', parseCount)
    .action(
      cli.action({}, async (invocation, path: string, options: { format?: string; limit?: number }) => {
        const { format, limit } = options;
        const request = { ...named(path, format), ...(limit !== undefined && { limit }) };
        const result = await invocation.call((api, call) => api.diskMap(request, call));
        invocation.result(result, (page) => renderDiskMap(result, page));
      }),
    );
  registerCompare(disk, cli);
  registerConvert(disk, cli);
}

function registerCompare(disk: Command, cli: Cli): void {
  disk
    .command('compare')
    .description('show where two disks differ, whatever their formats')
    .argument('<a>', 'a disk file or block device')
    .argument('<b>', 'another one')
    .option('--a-format <format>', 'of the first, where name and content do not tell it')
    .option('--b-format <format>', 'of the second')
    .option('--limit <n>', 'end after so many differing ranges (1000)', parseCount)
    .action(
      cli.action(
        {},
        async (
          invocation,
          a: string,
          b: string,
          options: { aFormat?: string; bFormat?: string; limit?: number },
        ) => {
          const { aFormat, bFormat, limit } = options;
          const request = {
            a: named(a, aFormat),
            b: named(b, bFormat),
            ...(limit !== undefined && { limit }),
          };
          const result = await invocation.call((api, call) => api.diskCompare(request, call));
          invocation.result(result, (page) => renderComparison(result, page));
          if (result.differences.length > 0) invocation.exitStatus = errorCodes['verify-failed'].exit;
        },
      ),
    );
}

function registerConvert(disk: Command, cli: Cli): void {
  disk
    .command('convert')
    .description('write a disk to a new file in another format: all of it or nothing')
    .argument('<source>', 'a disk file or block device')
    .argument('<target>', 'the new file')
    .option('--source-format <format>', 'of the source, where name and content do not tell it')
    .addOption(
      new Option(
        '--format <format>',
        'of the target (default: by its ending); vmdk: streamOptimized',
      ).choices(['raw', 'qcow2', 'vmdk']),
    )
    .option('--force', 'replace the target where it is there')
    .action(
      cli.action(
        {},
        async (
          invocation,
          source: string,
          target: string,
          options: { sourceFormat?: string; format?: ImageFormat; force?: boolean },
        ) => {
          const { sourceFormat, format, force } = options;
          const request = {
            source: named(source, sourceFormat),
            target,
            ...(format && { format }),
            ...(force && { force }),
          };
          const result = await invocation.call((api, call) => api.diskConvert(request, call));
          invocation.result(result, () => {
            const { path, size, bytesRead, elapsedMs } = result;
            const sizes = `${formatBytes(bytesRead)} of data in ${formatBytes(size)}`;
            return `${printable(path)}: ${result.format}, ${sizes}, in ${formatDuration(elapsedMs)}`;
          });
        },
      ),
    );
}

function named(path: string, format: string | undefined): DiskFileRequest {
  return { path, ...(format !== undefined && { format }) };
}
