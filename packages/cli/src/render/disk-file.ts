/** How disk files are shown. */
import type { DiskComparisonDto, DiskFileDto, DiskMapDto } from '@prima/api';
import { formatBytes } from '@prima/base';
import type { Page } from '../terminal/style.ts';
import { type Column, facts, table } from '../terminal/table.ts';
import { printable } from '../terminal/width.ts';
import { partitionTables } from './partitions.ts';
import { count } from './point.ts';

export function renderDiskFile(disk: DiskFileDto, page: Page): string {
  const { path, format, reason, basedOn, size, data, fileSize, allocated, partitionTable } = disk;
  const share = `${formatBytes(data)} may hold data`;
  return [
    facts(
      [
        ['file', printable(path)],
        ['format', `${format}: ${reason}`],
        ['size', `${formatBytes(size)} (${size} bytes), of which ${share}`],
        ['on disk', `${formatBytes(allocated)} allocated of ${formatBytes(fileSize)}`],
        ...basedOn.map((file) => ['based on', `${printable(file.path)} (${file.format})`] as const),
      ],
      page,
    ),
    ...partitionTables([{ name: 'partitions', partitionTable }], page),
  ].join('\n');
}

type Extent = DiskMapDto['extents'][number];

const columns: readonly Column<Extent>[] = [
  { title: 'OFFSET', value: ({ offset }) => String(offset), align: 'right', importance: 9 },
  { title: 'LENGTH', value: ({ length }) => String(length), align: 'right', importance: 9 },
  { title: 'SIZE', value: ({ length }) => formatBytes(length), align: 'right', importance: 5 },
  { title: 'HOLDS', value: ({ kind }) => kind, importance: 9 },
];

export function renderDiskMap({ size, extents, bytes, complete }: DiskMapDto, page: Page): string {
  const parts = [`${formatBytes(bytes.data)} data`, `${formatBytes(bytes.zero)} zeros`];
  return [
    table(columns, extents, page),
    ...(complete ? [] : ['There are more extents: --limit lists them.']),
    `${formatBytes(size)}: ${[...parts, `${formatBytes(bytes.hole)} holes`].join(', ')}`,
  ].join('\n');
}

export function renderComparison(found: DiskComparisonDto, page: Page): string {
  const { sizes, differences, complete } = found;
  const different =
    sizes.a === sizes.b ? [] : [`One has ${formatBytes(sizes.a)}, the other ${formatBytes(sizes.b)}.`];
  if (differences.length === 0) return page.paint('green', 'Both hold the same.');
  const total = differences.reduce((sum, { length }) => sum + length, 0);
  const what = `${count(differences.length, 'range')}, ${formatBytes(total)} in all`;
  return [
    page.paint('red', 'They differ:'),
    ...different,
    ...differences.map(({ offset, length }) => `  ${offset}+${length}`),
    complete ? `${what}.` : `${what}, and perhaps more: --limit.`,
  ].join('\n');
}
