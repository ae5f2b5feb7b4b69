/** How disk files are shown. */
import type { DiskComparisonDto, DiskFileDto, DiskMapDto, VmdkDto } from '@prima/api';
import { formatBytes } from '@prima/base';
import type { Page } from '../terminal/style.ts';
import { type Column, facts, table } from '../terminal/table.ts';
import { printable } from '../terminal/width.ts';
import { partitionTables } from './partitions.ts';
import { count } from './point.ts';

export function renderDiskFile(disk: DiskFileDto, page: Page): string {
  const { path, format, reason, basedOn, size, data, fileSize, allocated, partitionTable, vmdk } = disk;
  const share = `${formatBytes(data)} may hold data`;
  return [
    facts(
      [
        ['file', printable(path)],
        ['format', `${format}: ${reason}`],
        ['size', `${formatBytes(size)} (${size} bytes), of which ${share}`],
        ['on disk', `${formatBytes(allocated)} allocated of ${formatBytes(fileSize)}`],
        ...basedOn.map((file) => ['based on', `${printable(file.path)} (${file.format})`] as const),
        ...(vmdk ? vmdkFacts(vmdk) : []),
      ],
      page,
    ),
    ...(vmdk ? ['', table(extentColumns, vmdk.extents, page)] : []),
    ...(vmdk?.notes ?? []).map((note) => page.paint('yellow', printable(note))),
    ...partitionTables([{ name: 'partitions', partitionTable }], page),
  ].join('\n');
}

type Fact = readonly [string, string];

function vmdkFacts(vmdk: VmdkDto): Fact[] {
  const { createType, cid, generation, adapterType, geometry, ddb, parents } = vmdk;
  const { cylinders, heads, sectors } = geometry;
  const content = cid === undefined ? [] : [['content id', cid] as const];
  return [
    ['kind', createType ?? 'without descriptor'],
    ...content,
    ...(generation === undefined ? [] : [['generation', String(generation)] as const]),
    ['adapter', adapterType ?? 'not said'],
    ['geometry', `${cylinders} cylinders, ${heads} heads, ${sectors} sectors`],
    ...parents.map((parent): Fact => ['parent', printable(parentText(parent))]),
    ...Object.entries(ddb)
      .filter(([key]) => key !== 'adaptertype' && !key.startsWith('geometry.'))
      .map(([key, value]): Fact => [`ddb.${printable(key)}`, printable(value)]),
  ];
}

function parentText({ path, createType, cid }: VmdkDto['parents'][number]): string {
  const what = createType ?? 'without descriptor';
  return cid === undefined ? `${path} (${what})` : `${path} (${what}, content id ${cid})`;
}

type VmdkExtent = VmdkDto['extents'][number];

const extentColumns: readonly Column<VmdkExtent>[] = [
  { title: 'ACCESS', value: ({ access }) => access },
  { title: 'TYPE', value: ({ type }) => type, importance: 8 },
  { title: 'SIZE', value: ({ size }) => formatBytes(size), align: 'right', importance: 8 },
  { title: 'FILE', value: ({ name, path }) => path ?? name ?? '', importance: 9 },
  { title: 'FROM', value: ({ offset }) => (offset === 0 ? '' : String(offset)), align: 'right' },
  {
    title: 'FILE SIZE',
    value: ({ fileSize }) => (fileSize === undefined ? '' : formatBytes(fileSize)),
    align: 'right',
  },
];

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
