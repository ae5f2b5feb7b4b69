/** How redo logs are shown. */
import type { RedoDiskDto, RedoLogDto, RedoResultDto } from '@prima/api';
import { formatBytes, formatDuration } from '@prima/base';
import type { Page } from '../terminal/style.ts';
import { type Column, indent, table } from '../terminal/table.ts';
import { formatAge } from '../terminal/time.ts';
import { printable } from '../terminal/width.ts';

function columns(now: number): readonly Column<RedoLogDto>[] {
  return [
    { title: 'LEVEL', value: (log) => String(log.level), align: 'right', importance: 9 },
    { title: 'ADDED', value: (log) => formatAge(log.made, now), importance: 6 },
    { title: 'FOR', value: (log) => purposes[log.purpose] ?? log.purpose, importance: 5 },
    {
      title: 'HOLDS',
      value: (log) => (log.bytes === undefined ? '' : formatBytes(log.bytes)),
      align: 'right',
      importance: 7,
    },
    { title: 'FILE', value: (log) => log.path, importance: 8, minWidth: 12 },
  ];
}

const purposes: Record<string, string> = {
  asked: 'somebody asked for it',
  mode: "the disk's mode",
  backup: 'a backup that is under way',
};

export function renderRedoList(disks: readonly RedoDiskDto[], page: Page): string {
  return disks.map((disk) => renderDisk(disk, page)).join('\n\n') || 'No disks.';
}

function renderDisk({ disk, path, logs, unfinished, foreign }: RedoDiskDto, page: Page): string {
  const name = disk === path ? path : `${disk}: ${path}`;
  const lines = [page.paint('bold', printable(name))];
  if (logs.length === 0) lines.push('  no redo logs');
  else lines.push(indent(table(columns(page.now), logs, { ...page, width: page.width - 2 })));
  if (unfinished !== undefined) lines.push(`  ${page.paint('yellow', printable(unfinished))}`);
  if (foreign.length > 0)
    lines.push(
      `  ${page.paint('yellow', 'not made by Prima, and left alone')}: ${printable(foreign.join(', '))}`,
    );
  return lines.join('\n');
}

/** @param done "added", "merged", "discarded" */
export function renderRedoResult(result: RedoResultDto, done: string): string {
  const { pausedMs, frozenMs, notes, elapsedMs } = result;
  const lines = result.done.map(({ disk, log, bytes }) => {
    const size = bytes === undefined ? '' : `, ${formatBytes(bytes)}`;
    return `${printable(disk)}: ${done} ${printable(log)}${size}`;
  });
  const times = [
    ...(frozenMs === undefined ? [] : [`file systems frozen for ${formatDuration(frozenMs)}`]),
    ...(pausedMs === undefined ? [] : [`paused for ${formatDuration(pausedMs)}`]),
  ];
  lines.push(`in ${formatDuration(elapsedMs)}${times.length > 0 ? `; ${times.join(', ')}` : ''}`);
  for (const note of notes) lines.push(`  - ${printable(note)}`);
  return lines.join('\n');
}
