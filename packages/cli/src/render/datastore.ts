/** How datastores are shown. */
import type { DatastoreDiskDto, DatastoreReportDto, DatastoreRoomDto } from '@prima/api';
import { formatBytes } from '@prima/base';
import type { Page } from '../terminal/style.ts';
import { type Column, facts, indent, table } from '../terminal/table.ts';
import { formatAge } from '../terminal/time.ts';
import { printable } from '../terminal/width.ts';
import { count } from './point.ts';

type Room = DatastoreRoomDto['room'][number] & { name: string };

const roomColumns: readonly Column<Room>[] = [
  { title: 'DATASTORE', value: ({ name }) => name, importance: 9 },
  { title: 'FREE', value: (room) => formatBytes(room.freeBytes), align: 'right', importance: 7 },
  { title: 'SIZE', value: (room) => formatBytes(room.totalBytes), align: 'right', importance: 6 },
  { title: 'FOLDER', value: ({ path }) => path, importance: 8, minWidth: 20 },
  { title: 'FAULT', value: ({ error }) => error ?? '', importance: 5, minWidth: 10 },
];

export function datastoreTable(found: readonly DatastoreRoomDto[], page: Page): string {
  const rows = found.flatMap(({ name, room }) => room.map((folder) => ({ ...folder, name })));
  return table(roomColumns, rows, page);
}

interface Row {
  machine: string;
  disk: DatastoreDiskDto;
}

const sizeOf = ({ files }: DatastoreDiskDto, of: 'size' | 'allocated') =>
  files.reduce((sum, file) => sum + file[of], 0);

const diskColumns: readonly Column<Row>[] = [
  { title: 'MACHINE', value: ({ machine }) => machine, importance: 9, minWidth: 8 },
  { title: 'DISK', value: ({ disk }) => disk.slot, importance: 8 },
  { title: 'FILES', value: ({ disk }) => String(disk.files.length), align: 'right', importance: 5 },
  { title: 'SIZE', value: ({ disk }) => formatBytes(sizeOf(disk, 'size')), align: 'right', importance: 6 },
  {
    title: 'ALLOCATED',
    value: ({ disk }) => formatBytes(sizeOf(disk, 'allocated')),
    align: 'right',
    importance: 7,
  },
  { title: 'PATH', value: ({ disk }) => disk.path, importance: 4, minWidth: 20 },
];

type Orphan = DatastoreReportDto['orphans'][number];

function orphanColumns(now: number): readonly Column<Orphan>[] {
  return [
    { title: 'ORPHAN', value: ({ kind }) => kind, importance: 7 },
    { title: 'ALLOCATED', value: (file) => formatBytes(file.allocated), align: 'right', importance: 8 },
    { title: 'CHANGED', value: ({ modified }) => formatAge(modified, now), importance: 6 },
    { title: 'PATH', value: ({ path }) => path, importance: 9, minWidth: 20 },
  ];
}

export function datastoreReport(report: DatastoreReportDto, page: Page): string {
  const { folders, machines, orphans, missing, unreadable } = report;
  const rows = machines.flatMap(({ name, disks }) => disks.map((disk) => ({ machine: name, disk })));
  const inner = { ...page, width: page.width - 2 };
  const section = (title: string, lines: readonly string[]) =>
    lines.length === 0 ? '' : `${page.paint('bold', title)}\n${indent(lines.join('\n'))}`;
  const free = (folder: DatastoreReportDto['folders'][number]) =>
    `${folder.path}: ${formatBytes(folder.freeBytes)} free of ${formatBytes(folder.totalBytes)}`;
  const total = orphans.reduce((sum, { allocated }) => sum + allocated, 0);
  return [
    facts(
      [
        ...folders.map((folder) => ['Folder', printable(free(folder))] as const),
        [
          'Files',
          `${report.files}, ${formatBytes(report.allocatedBytes)} allocated of ${formatBytes(report.logicalBytes)}`,
        ],
        ['Machines', String(machines.length)],
        ['Orphans', orphans.length === 0 ? 'none' : `${orphans.length}, ${formatBytes(total)} allocated`],
      ],
      page,
    ),
    section('Disks', rows.length > 0 ? [table(diskColumns, rows, inner)] : []),
    section(
      'Missing',
      missing.map(({ path, neededBy }) => printable(`${path}, needed by ${neededBy}`)),
    ),
    section(
      'Could not be read',
      unreadable.map(({ path, why }) => printable(`${path}: ${why}`)),
    ),
    section('Orphans', orphans.length > 0 ? [table(orphanColumns(page.now), orphans, inner)] : []),
    section('Why', reasons(orphans)),
    orphans.length > 0 ? `${count(orphans.length, 'file')} may be orphans; Prima deletes none of them.` : '',
  ]
    .filter((part) => part !== '')
    .join('\n\n');
}

/** Each reason once, with the files that it is for. */
function reasons(orphans: readonly Orphan[]): string[] {
  const groups = Map.groupBy(orphans, ({ why, doubt }) =>
    doubt === undefined ? why : `${why}. But ${doubt}`,
  );
  return [...groups].map(([why, files]) => {
    const names = files.slice(0, 3).map(({ path }) => path.split('/').at(-1) ?? path);
    const more = files.length > names.length ? ` and ${files.length - names.length} more` : '';
    return printable(`${names.join(', ')}${more}: ${why}`);
  });
}
