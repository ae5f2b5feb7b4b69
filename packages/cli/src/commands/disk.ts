/** `prima disk`: disk files by themselves. */
import type { DiskFileRequest, ImageFormat } from '@prima/api';
import { errorCodes, formatBytes, formatDuration } from '@prima/base';
import { type Command, Option } from 'commander';
import type { Cli } from '../cli.ts';
import { collect, parseCount } from '../options.ts';
import { renderComparison, renderDiskFile, renderDiskMap } from '../render/disk-file.ts';
import { printable } from '../terminal/width.ts';
import { registerDiskRedo } from './disk-redo.ts';

const formatHelp = 'its format, where name and content do not tell it; raw takes any file as it is';
const allowHelp =
  "the files of a VMDK may be in this folder, too, not only in the disk's; may be given several times";

interface FileOptions {
  format?: string | undefined;
  allowFolder?: string[] | undefined;
}

export function registerDisk(program: Command, cli: Cli): void {
  const disk = program.command('disk').description('look at disk files, compare and convert them');
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
  registerConvert(disk, cli);
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

function registerConvert(disk: Command, cli: Cli): void {
  disk
    .command('convert')
    .description('write a disk to a new file in another format: all of it or nothing')
    .argument('<source>', 'a disk file or block device')
    .argument('<target>', 'the new file')
    .option('--source-format <format>', 'of the source, where name and content do not tell it')
    .option('--allow-folder <folder>', allowHelp, collect)
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
          options: { sourceFormat?: string; allowFolder?: string[]; format?: ImageFormat; force?: boolean },
        ) => {
          const { sourceFormat, allowFolder, format, force } = options;
          const request = {
            source: named(source, { format: sourceFormat, allowFolder }),
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

function named(path: string, { format, allowFolder }: FileOptions): DiskFileRequest {
  return { path, ...(format !== undefined && { format }), ...(allowFolder && { allowed: allowFolder }) };
}
