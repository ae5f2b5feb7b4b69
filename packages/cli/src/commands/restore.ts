/** `prima restore`: writes a point's disks to a folder or over a device, or brings the machine back on a host. */
import type {
  CallOptions,
  ImageFormat,
  LunChoiceDto,
  PackageFormat,
  PrimaApi,
  RestoreResult,
} from '@prima/api';
import { errorCodes, formatBytes, formatDuration, UserError } from '@prima/base';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Cli } from '../cli.ts';
import type { Invocation } from '../invocation.ts';
import { count, shortId } from '../render/point.ts';
import type { Page } from '../terminal/style.ts';
import { type Column, table } from '../terminal/table.ts';
import { printable } from '../terminal/width.ts';

interface RestoreOptions {
  to?: string;
  format?: ImageFormat | PackageFormat;
  disk?: string;
  force?: boolean;
  toHost?: string;
  as?: string;
  toPool?: string;
  network?: Record<string, string>;
  replace?: boolean;
  start?: boolean;
  allowDamaged?: boolean;
  toDevice?: string;
  mapLuns?: boolean;
  lun?: string[];
  overwriteLun?: boolean;
}

export function registerRestore(program: Command, cli: Cli): void {
  program
    .command('restore')
    .description('write disks to a folder, or bring the machine back on a host')
    .argument('<point>', 'id or its beginning, latest, MACHINE@latest or MACHINE@TIME')
    .option('--to <folder>', 'write the disks and files into this folder; FILE.ova or FILE.ovf: a package')
    .addOption(
      new Option(
        '--format <format>',
        'with --to: of the disks, or a package of the machine; with --to-host: raw or qcow2',
      ).choices(['raw', 'qcow2', 'vmdk', 'ova', 'ovf']),
    )
    .option('--disk <disk>', 'with --to, --to-device and --replace: only this disk, by its number or name')
    .option(
      '--force',
      'with --to: overwrite files that are there; with --to-device: another device than it was',
    )
    .option('--to-host <host>', 'make a machine of it on this host')
    .option('--as <name>', "with --to-host: the new machine's name")
    .option('--to-pool <pool>', 'with --to-host: put all disks into this storage pool of a libvirt host')
    .option(
      '--network <from=to>',
      'with --to-host: plug cards of a network in at another, or "none" (repeatable)',
      collectPair,
    )
    .option('--replace', 'with --to-host: take the place of the machine of that name, which is off')
    .option('--start', 'with --to-host: start it')
    .option('--to-device <device>', 'write one disk over a block device, or iscsi://HOST[:PORT]/TARGET/LUN')
    .option('--map-luns', 'disks that were LUNs stand for these again, wherever they are now')
    .option('--lun <device>', 'with --map-luns: where a LUN may be now (repeatable)', collect)
    .option('--overwrite-lun', 'with --map-luns and --to-device: what is on the LUN may go')
    .option('--allow-damaged', 'go on with zeros where the repository cannot be read, and list them')
    .action(
      cli.action(
        { repository: true, movesChunks: true },
        async (invocation, point: string, options: RestoreOptions) => {
          check(options);
          const located = locatedOf(invocation, options);
          const result = await invocation.call((api, call) =>
            restore(api, { point, options: located }, call),
          );
          invocation.result(result, (page) => rendered(result, page));
          if (!invocation.json) sayLosses(result, invocation);
          if (result.damaged.length === 0) return;
          invocation.fault(`${count(result.damaged.length, 'range')} could not be read and hold zeros`);
          invocation.exitStatus = errorCodes.integrity.exit;
        },
      ),
    );
}

function restore(
  api: PrimaApi,
  { point, options }: { point: string; options: RestoreOptions },
  call: CallOptions,
): Promise<RestoreResult> {
  const { to = '', format, disk, force, toHost, as, toPool: pool, start, allowDamaged } = options;
  const { toDevice, overwriteLun } = options;
  const damage = allowDamaged ? { allowDamaged } : {};
  if (toDevice !== undefined) {
    const consent = { ...(overwriteLun && { overwrite: true }), ...(force && { force }) };
    return api.restoreToDevice(
      { point, device: toDevice, ...(disk !== undefined && { disk }), ...consent, ...damage },
      call,
    );
  }
  const luns = lunsOf(options);
  if (toHost !== undefined) {
    const how = {
      ...(as !== undefined && { as }),
      ...(pool !== undefined && { pool }),
      ...(options.network && { networks: options.network }),
      ...(options.replace && { replace: true }),
      ...(disk !== undefined && { disk }),
      ...(format !== undefined && { format: hostFormat(format) }),
      ...(start && { start }),
      ...damage,
      ...luns,
    };
    return api.restoreToHost({ point, host: toHost, ...how }, call);
  }
  const over = force ? { force } : {};
  const packaged = packageOf(to, format);
  if (packaged !== undefined) {
    if (disk !== undefined)
      throw new UserError('usage', '--disk is for folders: a package has the whole machine');
    return api.restoreToPackage({ point, path: to, format: packaged, ...over, ...damage }, call);
  }
  const image = format as ImageFormat | undefined;
  const what = { ...(image && { format: image }), ...(disk !== undefined && { disk }) };
  return api.restoreToFolder({ point, folder: to, ...what, ...over, ...damage, ...luns }, call);
}

function hostFormat(format: NonNullable<RestoreOptions['format']>): 'raw' | 'qcow2' {
  if (format === 'raw' || format === 'qcow2') return format;
  throw new UserError('usage', `--format ${format} goes with --to; disks on a host are raw or qcow2`);
}

/** `FROM=TO`, gathered. */
function collectPair(text: string, before: Record<string, string> = {}): Record<string, string> {
  const [, from, to] = /^([^=]+)=([^=]+)$/.exec(text) ?? [];
  if (from === undefined || to === undefined) {
    throw new InvalidArgumentError('write FROM=TO: lan=default, br0=none');
  }
  return { ...before, [from]: to };
}

/** By the ending of the target, or as it was told; undefined for a folder. Raises `usage` where the two disagree. */
function packageOf(to: string, format: RestoreOptions['format']): PackageFormat | undefined {
  const ending = /\.(ova|ovf)$/i.exec(to)?.[1]?.toLowerCase() as PackageFormat | undefined;
  if (format !== undefined && format !== 'ova' && format !== 'ovf') return undefined;
  if (format !== undefined && format !== ending) {
    throw new UserError('usage', `--format ${format} makes a file: name it, --to FILE.${format}`);
  }
  return ending;
}

function sayLosses({ notCarried = [] }: RestoreResult, invocation: Invocation): void {
  for (const { where, what, why } of notCarried)
    invocation.environment.stderr.write(`${printable(`not in the package: ${where}: ${what} (${why})`)}\n`);
}

function lunsOf({ mapLuns, lun, overwriteLun }: RestoreOptions): { luns?: LunChoiceDto } {
  if (!mapLuns) return {};
  const where = lun ? { devices: lun } : {};
  return { luns: { ...where, ...(overwriteLun && { overwrite: true }) } };
}

const collect = (device: string, before: string[] = []): string[] => [...before, device];

/** With whole paths. */
function locatedOf(invocation: Invocation, options: RestoreOptions): RestoreOptions {
  const { to, toDevice, lun } = options;
  const device = (text: string) => (/^iscsi:/i.test(text) ? text : invocation.path(text));
  return {
    ...options,
    ...(to !== undefined && { to: invocation.path(to) }),
    ...(toDevice !== undefined && { toDevice: device(toDevice) }),
    ...(lun && { lun: lun.map(device) }),
  };
}

/** Raises `usage` unless exactly one target is named, with options that belong to it. */
function check(options: RestoreOptions): void {
  const { to, toHost, toDevice, format, disk, force, as, toPool, start, network, replace } = options;
  const targets = [to, toHost, toDevice].filter((target) => target !== undefined);
  if (targets.length !== 1) {
    throw new UserError(
      'usage',
      'say where to restore to: --to FOLDER, --to-host HOST or --to-device DEVICE (one of them)',
    );
  }
  if (toHost !== undefined && force !== undefined)
    throw new UserError('usage', '--force goes with --to FOLDER; --replace takes the place of a machine');
  if (toHost !== undefined && disk !== undefined && !replace)
    throw new UserError(
      'usage',
      '--disk with --to-host needs --replace: it goes into a machine that is there',
    );
  if (toDevice !== undefined && format !== undefined)
    throw new UserError('usage', '--format goes with --to FOLDER: a device holds the disk as it is');
  const hostOnly = [as, start, toPool, network, replace].some((option) => option !== undefined);
  if (toHost === undefined && hostOnly)
    throw new UserError(
      'usage',
      '--as, --to-pool, --network, --replace and --start go with --to-host HOST, not with another target',
    );
  checkLuns(options);
}

function checkLuns({ to = '', format, toDevice, mapLuns, lun, overwriteLun }: RestoreOptions): void {
  if (mapLuns && packageOf(to, format) !== undefined)
    throw new UserError('usage', '--map-luns: a package holds its disks, and maps none');
  if (mapLuns && toDevice !== undefined)
    throw new UserError('usage', '--map-luns goes with --to and --to-host: --to-device writes no mapping');
  if (lun && !mapLuns) throw new UserError('usage', '--lun goes with --map-luns');
  if (overwriteLun && !mapLuns && toDevice === undefined)
    throw new UserError('usage', '--overwrite-lun goes with --map-luns or --to-device');
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
