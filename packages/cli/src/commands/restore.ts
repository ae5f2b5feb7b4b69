/** `prima restore`: writes a point's disks to a folder, or brings the machine back on a host. */
import { resolve } from 'node:path';
import type { ImageFormat, RestoreResult } from '@prima/api';
import { errorCodes, formatBytes, formatDuration, UserError } from '@prima/base';
import { type Command, Option } from 'commander';
import type { Cli } from '../cli.ts';
import { count, shortId } from '../render/point.ts';
import type { Page } from '../terminal/style.ts';
import { type Column, table } from '../terminal/table.ts';
import { printable } from '../terminal/width.ts';

interface RestoreOptions {
  to?: string;
  format?: ImageFormat;
  disk?: string;
  force?: boolean;
  toHost?: string;
  as?: string;
  start?: boolean;
  allowDamaged?: boolean;
}

export function registerRestore(program: Command, cli: Cli): void {
  program
    .command('restore')
    .description('write disks to a folder, or bring the machine back on a host')
    .argument('<point>', 'id or its beginning, latest, MACHINE@latest or MACHINE@TIME')
    .option('--to <folder>', 'write the disks and files into this folder')
    .addOption(
      new Option('--format <format>', 'of the disks written with --to').choices(['raw', 'qcow2', 'vmdk']),
    )
    .option('--disk <disk>', 'with --to: only this disk, by its number or name')
    .option('--force', 'with --to: overwrite files that are there')
    .option('--to-host <host>', 'make a machine of it on this host')
    .option('--as <name>', "with --to-host: the new machine's name")
    .option('--start', 'with --to-host: start it')
    .option('--allow-damaged', 'go on with zeros where the repository cannot be read, and list them')
    .action(
      cli.action({ repository: true }, async (invocation, point: string, options: RestoreOptions) => {
        check(options);
        const { to, format, disk, force, toHost, as, start, allowDamaged } = options;
        const damage = allowDamaged ? { allowDamaged } : {};
        const result = await invocation.call((api, call) =>
          toHost === undefined
            ? api.restoreToFolder(
                {
                  point,
                  folder: resolve(to ?? ''),
                  ...(format && { format }),
                  ...(disk !== undefined && { disk }),
                  ...(force && { force }),
                  ...damage,
                },
                call,
              )
            : api.restoreToHost(
                { point, host: toHost, ...(as !== undefined && { as }), ...(start && { start }), ...damage },
                call,
              ),
        );
        invocation.result(result, (page) => rendered(result, page));
        if (result.damaged.length === 0) return;
        invocation.fault(`${count(result.damaged.length, 'range')} could not be read and hold zeros`);
        invocation.exitStatus = errorCodes.integrity.exit;
      }),
    );
}

/** Raises `usage` unless exactly one target is named, with options that belong to it. */
function check({ to, toHost, format, disk, force, as, start }: RestoreOptions): void {
  if ((to === undefined) === (toHost === undefined)) {
    throw new UserError('usage', 'say where to restore to: --to FOLDER or --to-host HOST (one of them)');
  }
  const folderOnly = format !== undefined || disk !== undefined || force !== undefined;
  const hostOnly = as !== undefined || start !== undefined;
  if (toHost !== undefined && folderOnly) {
    throw new UserError('usage', '--format, --disk and --force go with --to FOLDER, not with --to-host');
  }
  if (to !== undefined && hostOnly)
    throw new UserError('usage', '--as and --start go with --to-host HOST, not with --to');
}

const columns: readonly Column<RestoreResult['files'][number]>[] = [
  { title: 'DISK', value: (file) => file.disk, importance: 5 },
  { title: 'SIZE', value: (file) => formatBytes(file.size), align: 'right', importance: 4 },
  { title: 'FILE', value: (file) => file.path, importance: 9, minWidth: 20 },
];

const damageColumns: readonly Column<RestoreResult['damaged'][number]>[] = [
  { title: 'DISK', value: ({ disk }) => disk, importance: 9 },
  { title: 'OFFSET', value: ({ offset }) => String(offset), align: 'right', importance: 8 },
  { title: 'LENGTH', value: ({ length }) => String(length), align: 'right', importance: 8 },
];

function rendered(
  { point, files, machine, bytesRead, bytesWritten, damaged, elapsedMs }: RestoreResult,
  page: Page,
): string {
  const rate = elapsedMs > 0 ? ` (${formatBytes((bytesRead / elapsedMs) * 1000)}/s)` : '';
  return [
    files.length > 0 ? table(columns, files, page) : '',
    damaged.length > 0 ? `Zeros, because it cannot be read:\n${table(damageColumns, damaged, page)}` : '',
    `Restored ${printable(point.machine)} from point ${shortId(point.id)}: read ${formatBytes(bytesRead)}, ` +
      `wrote ${formatBytes(bytesWritten)}, in ${formatDuration(elapsedMs)}${rate}`,
    machine ? `Machine ${printable(`${machine.host}/${machine.name}`)} is ${printable(machine.state)}` : '',
  ]
    .filter((part) => part !== '')
    .join('\n');
}
