/** How the partition tables of disks are shown. */
import type { DiskDto, PartitionDto, PartitionTableDto } from '@prima/api';
import { formatBytes } from '@prima/base';
import type { Page } from '../terminal/style.ts';
import { type Column, indent, table } from '../terminal/table.ts';
import { printable } from '../terminal/width.ts';

const columns: readonly Column<PartitionDto>[] = [
  { title: 'NR', value: ({ index }) => (index === 0 ? '-' : String(index)), align: 'right', importance: 10 },
  { title: 'START', value: ({ offset }) => formatBytes(offset), align: 'right', importance: 6 },
  { title: 'SIZE', value: ({ length }) => formatBytes(length), align: 'right', importance: 9 },
  { title: 'TYPE', value: typeOf, importance: 5, minWidth: 18 },
  { title: 'BOOT', value: ({ bootable }) => (bootable ? 'yes' : ''), importance: 3, minWidth: 4 },
  { title: 'HOLDS', value: ({ fileSystem }) => fileSystem?.kind ?? '', importance: 8, minWidth: 6 },
  { title: 'LABEL', value: ({ fileSystem }) => fileSystem?.label ?? '', importance: 7, minWidth: 6 },
  { title: 'NAME', value: ({ name }) => name ?? '', importance: 2, minWidth: 12 },
  { title: 'UUID', value: ({ fileSystem }) => fileSystem?.uuid ?? '', importance: 1, minWidth: 36 },
];

function typeOf({ typeId, typeName }: PartitionDto): string {
  return typeName === 'unknown' ? typeId : typeName;
}

/** The tables of all disks that have been looked into, each with a line of its own above. */
export function partitionTables(
  disks: readonly Pick<DiskDto, 'name' | 'partitionTable'>[],
  page: Page,
): string[] {
  return disks.flatMap(({ name, partitionTable }) =>
    partitionTable ? [diskPartitions(name, partitionTable, page)] : [],
  );
}

function diskPartitions(disk: string, found: PartitionTableDto, page: Page): string {
  const { partitions, notes } = found;
  const inner = { ...page, width: page.width - 2 };
  const lines = [
    `${page.paint('bold', printable(disk))}: ${headline(found)}`,
    partitions.length > 0 ? indent(table(columns, partitions, inner)) : '',
    ...notes.map((note) => `  ${page.paint('yellow', '!')} ${printable(note)}`),
  ];
  return lines.filter((line) => line !== '').join('\n');
}

function headline({ kind, partitions, sectorSize, diskId }: PartitionTableDto): string {
  const id = diskId === undefined ? '' : `, disk ${diskId}`;
  if (kind === 'gpt') return `GPT${id}${sectorSize === 512 ? '' : `, sectors of ${sectorSize} bytes`}`;
  if (kind === 'mbr') return `MBR${id}${partitions.length === 0 ? ', no partitions' : ''}`;
  return partitions.length === 0 ? 'no partition table' : 'no partition table, the whole disk is one';
}
