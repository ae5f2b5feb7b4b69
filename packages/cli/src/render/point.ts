/** How restore points are shown: in a table, and one with everything there is to know. */
import type { DiskDto, PointDto } from '@prima/api';
import { formatBytes, formatDuration } from '@prima/base';
import type { Page } from '../terminal/style.ts';
import { diskMaps } from './disk-map.ts';
import { partitionTables } from './partitions.ts';
import { type Column, facts, indent, table } from '../terminal/table.ts';
import { formatAge, formatMinute, formatMoment } from '../terminal/time.ts';
import { printable } from '../terminal/width.ts';

/** The length of an id in tables; enough for the eye, and accepted as a POINT. */
const shortIdLength = 8;

export function shortId(id: string): string {
  return id.slice(0, shortIdLength);
}

/** `hot, guest quiesced`. */
export function modeWords({ mode, quiesced }: PointDto): string {
  if (mode !== 'hot') return mode;
  return quiesced ? 'hot, guest quiesced' : 'hot, guest not quiesced';
}

const columns: readonly Column<PointDto>[] = [
  { title: 'POINT', value: (point) => shortId(point.id), importance: 10 },
  { title: 'MACHINE', value: (point) => point.machine, importance: 8, minWidth: 10 },
  { title: 'TIME', value: (point) => formatMinute(point.time), importance: 9, minWidth: 16 },
  { title: 'MODE', value: (point) => point.mode, importance: 6, minWidth: 4 },
  { title: 'QUIESCED', value: (point) => (point.quiesced ? 'yes' : ''), importance: 3, minWidth: 3 },
  { title: 'SIZE', value: (point) => formatBytes(point.size), align: 'right', importance: 5 },
  { title: 'NEW', value: (point) => formatBytes(point.stored), align: 'right', importance: 4 },
  {
    title: 'REMARKS',
    value: (point) => remarks(point),
    paint: (paint, text) => (text === '' ? text : paint('yellow', text)),
    importance: 7,
    minWidth: 9,
  },
  {
    title: 'LOCKED UNTIL',
    value: ({ lockedUntil }) => (lockedUntil === undefined ? '' : formatMinute(lockedUntil)),
    importance: 3,
    minWidth: 16,
  },
  { title: 'NAME', value: (point) => point.name ?? '', importance: 2, minWidth: 6 },
  { title: 'TAGS', value: (point) => point.tags.join(', '), importance: 1, minWidth: 6 },
];

function remarks({ warnings, skipped }: PointDto): string {
  const parts = [
    skipped.length > 0 ? `${count(skipped.length, 'disk')} missing` : '',
    warnings.length > 0 ? count(warnings.length, 'warning') : '',
  ];
  return parts.filter((part) => part !== '').join(', ');
}

/** `1 disk`, `2 disks`. */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

/** Points in the order of their time, the newest last. */
export function pointTable(points: readonly PointDto[], page: Page): string {
  const rows = points.map((point) => {
    if (point.lockedUntil === undefined || Date.parse(point.lockedUntil) > page.now) return point;
    const { lockedUntil: _over, ...rest } = point;
    return rest;
  });
  return table(
    columns,
    rows.sort((a, b) => Date.parse(a.time) - Date.parse(b.time)),
    page,
  );
}

/** Warnings and missing disks: what a person must know before relying on the point. */
export function pointWarnings(point: PointDto, page: Page): string[] {
  return [
    ...point.warnings.map((warning) => `${page.paint('yellow', '!')} ${printable(warning)}`),
    ...point.skipped.map(
      ({ name, why }) =>
        `${page.paint('yellow', '!')} not in this point: ${printable(name)}: ${printable(why)}`,
    ),
  ];
}

/** `read 1.2 GiB, new 30 MiB, stored 12 MiB`. */
export function figures({ read, added, stored }: { read: number; added: number; stored: number }): string {
  return `read ${formatBytes(read)}, new ${formatBytes(added)}, stored ${formatBytes(stored)}`;
}

const diskColumns: readonly Column<DiskDto>[] = [
  { title: 'NAME', value: (disk) => disk.name, importance: 9 },
  { title: 'SLOT', value: (disk) => disk.slot ?? '', importance: 4, minWidth: 7 },
  { title: 'FORMAT', value: (disk) => disk.format ?? '', importance: 3, minWidth: 5 },
  { title: 'SIZE', value: (disk) => formatBytes(disk.size), align: 'right', importance: 8 },
  { title: 'READ', value: (disk) => formatBytes(disk.read), align: 'right', importance: 6 },
  { title: 'NEW', value: (disk) => formatBytes(disk.added), align: 'right', importance: 2 },
  { title: 'STORED', value: (disk) => formatBytes(disk.stored), align: 'right', importance: 7 },
  {
    title: 'LEFT OUT',
    value: ({ freeSpace }) => (freeSpace ? formatBytes(freeSpace.bytes) : ''),
    align: 'right',
    importance: 6,
  },
  { title: 'CHANGES', value: changes, importance: 5, minWidth: 12 },
  { title: 'PATH', value: (disk) => disk.path ?? '', importance: 1, minWidth: 10 },
];

/** What became of a disk's free space, where that was asked for. */
export function freeSpaceLines({ name, freeSpace }: DiskDto): string[] {
  if (!freeSpace) return [];
  const { bytes, kept } = freeSpace;
  const left = bytes > 0 ? [`${name}: ${formatBytes(bytes)} of free space left out`] : [];
  return [...left, ...kept.map((why) => `${name}: free space not left out: ${why}`)];
}

/** Which disks were devices, and which. */
function lunLines(disks: readonly DiskDto[]): string[] {
  return disks.flatMap(({ name, lun }) =>
    lun ? [printable(`${name}: ${[lun.device, ...lun.identities].join(', ')}`)] : [],
  );
}

function changes({ changed, whyFull }: DiskDto): string {
  if (changed === 'tracked') return 'tracked';
  return whyFull === undefined ? 'read in full' : `read in full: ${whyFull}`;
}

/** Everything about one point. */
export function pointDetails(point: PointDto, page: Page): string {
  const section = (title: string, lines: readonly string[]): string =>
    lines.length === 0 ? '' : `${page.paint('bold', title)}\n${indent(lines.join('\n'))}`;
  const inner = { ...page, width: page.width - 2 };
  const bullet = (note: string) => `- ${printable(note)}`;
  const disks = point.memory === undefined ? point.disks : [...point.disks, point.memory];
  return [
    head(point, page),
    section('Warnings', pointWarnings(point, page)),
    section(
      point.memory ? 'Disks and memory' : 'Disks',
      disks.length > 0 ? [table(diskColumns, disks, inner)] : [],
    ),
    section('Devices that disks were', lunLines(point.disks)),
    section('Partitions', partitionTables(point.disks, inner)),
    section('Where the data lies', diskMaps(point.disks, inner)),
    section(
      'Files',
      point.files.map((file) => `${printable(file.name)} (${formatBytes(file.length)})`),
    ),
    section('Notes', point.notes.map(bullet)),
    section('Bring it back', restoreAdvice(point)),
  ]
    .filter((part) => part !== '')
    .join('\n\n');
}

function head(point: PointDto, page: Page): string {
  const took = formatDuration(Date.parse(point.finished) - Date.parse(point.time));
  const pauses = [
    point.frozenMs === undefined ? '' : `guest frozen for ${formatDuration(point.frozenMs)}`,
    point.pausedMs === undefined ? '' : `machine paused for ${formatDuration(point.pausedMs)}`,
  ].filter((pause) => pause !== '');
  return facts(
    [
      ['Point', point.id],
      ['Name', point.name],
      [
        point.isHost ? 'Configuration of' : 'Machine',
        `${point.machine}${point.host === undefined ? '' : ` on ${point.host}`} (${point.machineId})`,
      ],
      ['Time', `${formatMoment(point.time)} (${formatAge(point.time, page.now)})`],
      ['Stored by', `${formatMoment(point.finished)} (${took} later)`],
      ...(point.isHost ? [] : machineFacts(point, pauses)),
      ['Tags', point.tags.join(', ')],
      ['Based on', point.parent],
      ['Locked until', point.lockedUntil && formatMoment(point.lockedUntil)],
      ['Verified', point.verification && verifiedWords(point.verification, page.now)],
      ['Copy of', point.origin && `${point.origin.point} in repository ${point.origin.repository}`],
    ],
    page,
  );
}

function verifiedWords(
  { packs, never, missing, oldest }: NonNullable<PointDto['verification']>,
  now: number,
): string {
  const parts = [
    ...(oldest === undefined
      ? []
      : [`all that was read, since ${formatMoment(oldest)} (${formatAge(oldest, now)})`]),
    ...(never > 0 ? [`${never} of ${count(packs, 'pack')} never`] : []),
    ...(missing > 0 ? [`${count(missing, 'blob')} missing: the point is damaged`] : []),
  ];
  return parts.join('; ');
}

function machineFacts(point: PointDto, pauses: readonly string[]): [string, string][] {
  return [
    ['Mode', [modeWords(point), ...pauses].join(', ')],
    ['Memory', point.memory === undefined ? 'not included' : `${formatBytes(point.memory.size)} included`],
    ['Size', `${formatBytes(point.size)} in ${count(point.disks.length, 'disk')}`],
    ['Cost', figures(point)],
  ];
}

function restoreAdvice({ id, host, isHost }: PointDto): string[] {
  const short = shortId(id);
  if (isHost) {
    return [
      `prima host diff ${short}`,
      `prima host restore ${short} --to-host ${host === undefined ? 'HOST' : printable(host)}`,
    ];
  }
  return [
    `prima restore ${short} --to FOLDER`,
    `prima restore ${short} --to-host ${host === undefined ? 'HOST' : printable(host)} --start`,
  ];
}
