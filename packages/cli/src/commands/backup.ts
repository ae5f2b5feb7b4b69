/** `prima backup`: makes a restore point of each source. */
import type { BackupRequest, BackupResult, PointDto } from '@prima/api';
import { formatBytes, formatDuration } from '@prima/base';
import { type Command, Option } from 'commander';
import type { Cli } from '../cli.ts';
import { collect, parseDuration, parseRate, parseSize } from '../options.ts';
import { figures, freeSpaceLines, modeWords, pointWarnings, shortId } from '../render/point.ts';
import type { Page } from '../terminal/style.ts';
import { printable } from '../terminal/width.ts';

interface BackupOptions {
  mode?: NonNullable<BackupRequest['mode']>;
  full?: boolean;
  skipFreeSpace?: boolean;
  name?: string;
  tag?: string[];
  lock?: number;
  readBack: boolean;
  sourceFormat?: string;
  allowFolder?: string[];
  scratch?: string;
  scratchLimit?: number;
  limitRead?: number;
}

export function registerBackup(program: Command, cli: Cli): void {
  program
    .command('backup')
    .description('make a restore point of each source')
    .argument(
      '<source...>',
      "a disk file, a machine's folder or .vmx, nbd://…, nbd+unix://…, or HOST/MACHINE",
    )
    .addOption(
      new Option('--mode <mode>', 'hot: running; warm: with memory; cold: off; auto: hot or cold').choices([
        'auto',
        'hot',
        'warm',
        'cold',
      ]),
    )
    .option('--full', 'read everything, whatever change tracking says')
    .option('--skip-free-space', "leave out what the guests' file systems provably do not use")
    .option('--name <name>', 'a name for the points')
    .option('--tag <tag>', 'a tag for the points; may be given several times', collect)
    .option('--lock <time>', 'nobody can forget the points for so long: 30d, 12h', parseDuration)
    .option('--source-format <format>', 'of a disk file that does not tell: raw, qcow2, vmdk, vhdx, vdi, vpc')
    .option(
      '--allow-folder <folder>',
      'the files of a VMDK may be there, too; may be given several times',
      collect,
    )
    .option(
      '--scratch <folder>',
      "on the machine's host: where blocks that the guest overwrites are kept meanwhile",
    )
    .option('--scratch-limit <size>', 'how much of them, each disk', parseSize)
    .option('--limit-read <rate>', 'read no more than this a second of each source: 100M', parseRate)
    .option('--no-read-back', 'do not read back and compare what was stored')
    .action(
      cli.action(
        { repository: true, limitsStoring: true, movesChunks: true },
        async (invocation, sources: string[], options: BackupOptions) => {
          const request = requestOf(sources, options, invocation.storeLimit);
          const result = await invocation.call((api, call) => api.backup(request, call));
          invocation.result(result, (page) => rendered(result, page));
          for (const { source, error } of result.results) {
            if (error) invocation.fault(`${source}: ${error.message}`);
          }
          invocation.exitStatus = result.results.find(({ error }) => error)?.error?.exitStatus ?? 0;
        },
      ),
    );
}

function requestOf(sources: string[], options: BackupOptions, store: number | undefined): BackupRequest {
  const { mode, full, skipFreeSpace, name, tag, lock, readBack, sourceFormat, allowFolder } = options;
  const { scratch: folder, scratchLimit: limitBytes } = options;
  const scratch = {
    ...(folder !== undefined && { folder }),
    ...(limitBytes !== undefined && { limitBytes }),
  };
  const { limitRead: read } = options;
  const limits = { ...(read !== undefined && { read }), ...(store !== undefined && { store }) };
  return {
    sources,
    ...(mode && { mode }),
    ...(full && { full }),
    ...(skipFreeSpace && { skipFreeSpace }),
    ...(name !== undefined && { name }),
    ...(tag && { tags: tag }),
    ...(lock !== undefined && { lockMs: lock }),
    ...(!readBack && { readBack: false }),
    ...(sourceFormat !== undefined && { sourceFormat }),
    ...(allowFolder && { allowed: allowFolder }),
    ...(Object.keys(scratch).length > 0 && { scratch }),
    ...(Object.keys(limits).length > 0 && { limits }),
  };
}

function rendered({ results }: BackupResult, page: Page): string {
  return results
    .flatMap(({ point, elapsedMs }) => (point ? [...summary(point, elapsedMs, page)] : []))
    .join('\n');
}

function summary(point: PointDto, elapsedMs: number, page: Page): string[] {
  const rate = elapsedMs > 0 ? ` (${formatBytes((point.read / elapsedMs) * 1000)}/s)` : '';
  const full = new Set(point.disks.flatMap(({ whyFull }) => (whyFull === undefined ? [] : [whyFull])));
  return [
    `${page.paint('bold', printable(point.machine))}: point ${page.paint('green', shortId(point.id))}, ` +
      `${modeWords(point)}, ${formatBytes(point.size)}`,
    `  ${figures(point)}, in ${formatDuration(elapsedMs)}${rate}`,
    ...[...full].map((why) => `  read in full: ${printable(why)}`),
    ...point.disks.flatMap(freeSpaceLines).map((line) => `  ${printable(line)}`),
    ...pointWarnings(point, page).map((line) => `  ${line}`),
  ];
}
