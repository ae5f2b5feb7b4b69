/** `prima disk create`, `convert`, `clone`: new disk files. */
import type { DiskMadeResult, ImageFormat } from '@prima/api';
import { formatBytes, formatDuration } from '@prima/base';
import { type Command, Option } from 'commander';
import type { Cli } from '../cli.ts';
import { collect, parseSize } from '../options.ts';
import { count } from '../render/point.ts';
import { printable } from '../terminal/width.ts';
import { allowHelp, named } from './disk-file-options.ts';

export function registerNewDisks(disk: Command, cli: Cli): void {
  registerCreate(disk, cli);
  registerConvert(disk, cli);
  registerClone(disk, cli);
}

interface TargetOptions {
  format?: ImageFormat;
  kind?: string;
  adapter?: string;
  force?: boolean;
}

const kindHelp = 'of a VMDK: monolithicSparse, twoGbMaxExtentFlat, vmfsThin, streamOptimized …';

/** The options that say what is made. */
function withTarget(command: Command, formatDefault: string): Command {
  return command
    .addOption(
      new Option('--format <format>', `of the target (default: ${formatDefault})`).choices([
        'raw',
        'qcow2',
        'vmdk',
      ]),
    )
    .option('--kind <kind>', kindHelp)
    .option('--adapter <adapter>', 'of a VMDK: lsilogic, buslogic, ide, pvscsi …')
    .option('--force', 'replace the target where it is there');
}

function targetOf({ format, kind, adapter, force }: TargetOptions) {
  return {
    ...(format && { format }),
    ...(kind !== undefined && { kind }),
    ...(adapter !== undefined && { adapter }),
    ...(force && { force }),
  };
}

function registerCreate(disk: Command, cli: Cli): void {
  withTarget(
    disk
      .command('create')
      .description('make an empty disk, or with --parent one that holds what its parent does')
      .argument('<file>', 'the new file'),
    'by its ending',
  )
    .option('--size <size>', 'of the disk: 10G, 512M', parseSize)
    .option('--parent <file>', 'read what it does not hold from this disk, which is never changed')
    .option('--parent-format <format>', 'of the parent, where name and content do not tell it')
    .action(
      cli.action(
        {},
        async (
          invocation,
          target: string,
          options: TargetOptions & { size?: number; parent?: string; parentFormat?: string },
        ) => {
          const { size, parent, parentFormat } = options;
          const request = {
            target,
            ...targetOf(options),
            ...(size !== undefined && { size }),
            ...(parent !== undefined && { parent: named(parent, { format: parentFormat }) }),
          };
          const result = await invocation.call((api, call) => api.diskCreate(request, call));
          invocation.result(result, () => madeText(result));
        },
      ),
    );
}

interface CopyOptions extends TargetOptions {
  sourceFormat?: string;
  allowFolder?: string[];
  keepParent?: boolean;
}

function withSource(command: Command): Command {
  return command
    .argument('<source>', 'a disk file or block device')
    .argument('<target>', 'the new file')
    .option('--source-format <format>', 'of the source, where name and content do not tell it')
    .option('--allow-folder <folder>', allowHelp, collect);
}

function copyRequest(source: string, target: string, options: CopyOptions) {
  const { sourceFormat, allowFolder, keepParent } = options;
  return {
    source: named(source, { format: sourceFormat, allowFolder }),
    target,
    ...targetOf(options),
    ...(keepParent && { keepParent }),
  };
}

function registerConvert(disk: Command, cli: Cli): void {
  const command = disk
    .command('convert')
    .description('write a disk to a new file in another format or kind: all of it or nothing');
  withTarget(withSource(command), 'by its ending; vmdk: streamOptimized').action(
    cli.action({}, async (invocation, source: string, target: string, options: CopyOptions) => {
      const request = copyRequest(source, target, options);
      const result = await invocation.call((api, call) => api.diskConvert(request, call));
      invocation.result(result, () => copiedText(result));
    }),
  );
}

function registerClone(disk: Command, cli: Cli): void {
  const command = disk
    .command('clone')
    .description('make a second disk like the first, with an identity of its own and without its parents');
  withTarget(withSource(command), "by its ending, else the source's")
    .option('--keep-parent', 'of a VMDK: copy only what it holds itself, over the same parent')
    .action(
      cli.action({}, async (invocation, source: string, target: string, options: CopyOptions) => {
        const request = copyRequest(source, target, options);
        const result = await invocation.call((api, call) => api.diskClone(request, call));
        invocation.result(result, () => copiedText(result));
      }),
    );
}

function copiedText(result: DiskMadeResult & { bytesRead: number }): string {
  const { bytesRead, elapsedMs } = result;
  return `${madeText(result)}; ${formatBytes(bytesRead)} of data, in ${formatDuration(elapsedMs)}`;
}

function madeText({ path, format, kind, files, size }: DiskMadeResult): string {
  const what = kind === undefined ? format : `${format} (${kind})`;
  const where = files.length === 1 ? '' : ` in ${count(files.length, 'file')}`;
  return `${printable(path)}: ${what}, ${formatBytes(size)}${where}`;
}
