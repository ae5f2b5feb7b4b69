/** `prima diff`: what changed between two restore points. */
import type { DiffResult } from '@prima/api';
import { formatBytes } from '@prima/base';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { shortId } from '../render/point.ts';
import type { Page } from '../terminal/style.ts';
import { type Column, indent, table } from '../terminal/table.ts';
import { formatMinute } from '../terminal/time.ts';
import { printable } from '../terminal/width.ts';

export function registerDiff(program: Command, cli: Cli): void {
  program
    .command('diff')
    .description('show what changed between two restore points')
    .argument('<a>', 'a point')
    .argument('<b>', 'another point')
    .option('--ranges', 'list the byte ranges that differ')
    .action(
      cli.action(
        { repository: true },
        async (invocation, a: string, b: string, options: { ranges?: boolean }) => {
          const result = await invocation.call((api, call) => api.diff({ a, b }, call));
          invocation.result(result, (page) => rendered(result, options.ranges === true, page));
        },
      ),
    );
}

type Disk = DiffResult['disks'][number];

const columns: readonly Column<Disk>[] = [
  { title: 'DISK', value: (disk) => disk.name, importance: 9 },
  { title: 'CHANGED', value: (disk) => formatBytes(disk.changedBytes), align: 'right', importance: 8 },
  { title: 'RANGES', value: (disk) => String(disk.ranges.length), align: 'right', importance: 5 },
  {
    title: 'REMARK',
    value: (disk) =>
      disk.onlyIn === undefined ? '' : `only in the ${disk.onlyIn === 'a' ? 'first' : 'second'}`,
    importance: 7,
  },
];

function rendered({ a, b, disks, files }: DiffResult, ranges: boolean, page: Page): string {
  const side = (point: DiffResult['a']) =>
    `${shortId(point.id)} ${printable(point.machine)} ${formatMinute(point.time)}`;
  return [
    `${side(a)}  →  ${side(b)}`,
    disks.length > 0 ? table(columns, disks, page) : 'No disks.',
    ...(ranges ? disks.map(rangeList) : []),
    files.length > 0
      ? files.map(({ name, change }) => `${change.padEnd(7)}  ${printable(name)}`).join('\n')
      : 'No files changed.',
  ]
    .filter((part) => part !== '')
    .join('\n\n');
}

function rangeList({ name, ranges }: Disk): string {
  if (ranges.length === 0) return '';
  const lines = ranges.map(({ offset, length }) => `${offset}+${length}`);
  return `${printable(name)}: offset+length in bytes\n${indent(lines.join('\n'))}`;
}
