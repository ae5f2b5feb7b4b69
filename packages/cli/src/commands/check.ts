/** `prima check`: looks for damage in the repository. */
import type { CheckResult } from '@prima/api';
import { errorCodes, formatBytes, formatDuration } from '@prima/base';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { count, shortId } from '../render/point.ts';
import type { Page } from '../terminal/style.ts';
import { type Column, indent, table } from '../terminal/table.ts';
import { printable } from '../terminal/width.ts';

export function registerCheck(program: Command, cli: Cli): void {
  program
    .command('check')
    .description('check that every point can be restored')
    .option('--read-data', 'read and verify every stored byte')
    .option('--accept-head', 'trust the repository as it is, after a rollback that is right')
    .action(
      cli.action(
        { repository: true },
        async (invocation, options: { readData?: boolean; acceptHead?: boolean }) => {
          const request = {
            ...(options.readData && { readData: true }),
            ...(options.acceptHead && { acceptHead: true }),
          };
          const result = await invocation.call((api, call) => api.check(request, call));
          invocation.result(result, (page) => rendered(result, page));
          if (result.ok) return;
          invocation.fault(`the check found ${count(result.faults.length, 'fault')}`);
          invocation.exitStatus = errorCodes['verify-failed'].exit;
        },
      ),
    );
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
  const { ok, points, packs, blobs, bytesRead, faults, leftovers, elapsedMs } = result;
  const lost = [...new Set(faults.flatMap((fault) => fault.affected.map(affectedRange)))];
  return [
    faults.length > 0 ? `${table(faultColumns, faults, page)}\n` : '',
    lost.length > 0 ? `Cannot be restored (offset+length in bytes):\n${indent(lost.join('\n'))}\n` : '',
    leftovers.length > 0 ? `${count(leftovers.length, 'harmless leftover')}; prima collect removes them` : '',
    `${ok ? page.paint('green', 'No faults') : page.paint('red', count(faults.length, 'fault'))}: ` +
      `${count(points, 'point')}, ${count(packs, 'pack')}, ${count(blobs, 'blob')}, ` +
      `${formatBytes(bytesRead)} read in ${formatDuration(elapsedMs)}`,
  ]
    .filter((part) => part !== '')
    .join('\n');
}

function affectedRange({ point, machine, disk, offset, length }: Fault['affected'][number]): string {
  return printable(`${shortId(point)} ${machine} ${disk} ${offset}+${length}`);
}
