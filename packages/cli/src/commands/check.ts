/** `prima check`: looks for damage in the repository. */
import type { CheckRequest, CheckResult } from '@prima/api';
import { errorCodes, formatBytes, formatDuration, UserError } from '@prima/base';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { parseSize } from '../options.ts';
import { count, shortId } from '../render/point.ts';
import type { Page } from '../terminal/style.ts';
import { type Column, indent, table } from '../terminal/table.ts';
import { printable } from '../terminal/width.ts';

interface CheckOptions {
  readData?: boolean;
  budget?: number;
  machine?: string;
  rebuildIndex?: boolean;
  record: boolean;
  acceptHead?: boolean;
}

export function registerCheck(program: Command, cli: Cli): void {
  program
    .command('check')
    .description('check that every point can be restored')
    .option('--read-data', 'read and verify every stored byte')
    .option('--budget <size>', 'read about so much, of what was not read for longest: 50G', parseSize)
    .option('--machine <machine>', 'only what the points of this machine need')
    .option('--rebuild-index', 'first find again, in the packs, what a lost index segment said')
    .option('--no-record', 'write nothing: neither damage for backups to mend nor what was verified')
    .option('--accept-head', 'trust the repository as it is, after a rollback that is right')
    .action(
      cli.action({ repository: true }, async (invocation, options: CheckOptions) => {
        const request = requestOf(options);
        const result = await invocation.call((api, call) => api.check(request, call));
        invocation.result(result, (page) => rendered(result, page));
        if (result.ok) return;
        invocation.fault(`the check found ${count(result.faults.length, 'fault')}`);
        invocation.exitStatus = errorCodes['verify-failed'].exit;
      }),
    );
}

function requestOf(options: CheckOptions): CheckRequest {
  const { readData, budget, machine, rebuildIndex, record, acceptHead } = options;
  if (readData && budget !== undefined) {
    throw new UserError('usage', '--read-data reads everything, --budget a part: give one of them');
  }
  return {
    ...(readData && { readData }),
    ...(budget !== undefined && { budgetBytes: budget }),
    ...(machine !== undefined && { machine }),
    ...(rebuildIndex && { rebuildIndex }),
    ...(!record && { record }),
    ...(acceptHead && { acceptHead }),
  };
}

type Fault = CheckResult['faults'][number];

const faultColumns: readonly Column<Fault>[] = [
  { title: 'FAULT', value: (fault) => fault.kind, paint: (paint, text) => paint('red', text), importance: 9 },
  { title: 'OBJECT', value: (fault) => fault.object, importance: 4, minWidth: 10 },
  { title: 'AFFECTED', value: affected, importance: 6, minWidth: 12 },
  { title: 'WHAT', value: (fault) => fault.message, importance: 5, minWidth: 16 },
];

function affected(fault: Fault): string {
  const disks = new Set(fault.affected.map(({ point, disk }) => `${shortId(point)} ${disk}`));
  const [first] = disks;
  if (first === undefined) return 'no point';
  return disks.size === 1 ? first : `${first} and ${disks.size - 1} more`;
}

function rendered(result: CheckResult, page: Page): string {
  const { ok, points, packs, blobs, bytesRead, faults, leftovers, notes, elapsedMs } = result;
  const lost = [...new Set(faults.flatMap((fault) => fault.affected.map(affectedRange)))];
  return [
    faults.length > 0 ? `${table(faultColumns, faults, page)}\n` : '',
    lost.length > 0 ? `Cannot be restored (offset+length in bytes):\n${indent(lost.join('\n'))}\n` : '',
    ...notes.map((note) => `- ${printable(note)}`),
    verified(result),
    leftovers.length > 0 ? `${count(leftovers.length, 'harmless leftover')}; prima collect removes them` : '',
    `${ok ? page.paint('green', 'No faults') : page.paint('red', count(faults.length, 'fault'))}: ` +
      `${count(points, 'point')}, ${count(packs, 'pack')}, ${count(blobs, 'blob')}, ` +
      `${formatBytes(bytesRead)} read in ${formatDuration(elapsedMs)}`,
  ]
    .filter((part) => part !== '')
    .join('\n');
}

/** How much of the stored data was read of late; nothing while no check has ever read any. */
function verified({ packs, verification }: CheckResult): string {
  const { never, oldest, within } = verification;
  if (oldest === undefined) return '';
  const percent = (part: number) => `${Math.floor((part / Math.max(1, packs)) * 100)} %`;
  const shares = within.map((one) => `${percent(one.packs)} in ${count(one.days, 'day')}`).join(', ');
  const rest = never > 0 ? `, ${count(never, 'pack')} never` : '';
  return `Verified: ${shares}; the oldest ${oldest}${rest}`;
}

function affectedRange({ point, machine, disk, offset, length }: Fault['affected'][number]): string {
  return printable(`${shortId(point)} ${machine} ${disk} ${offset}+${length}`);
}
