/** How checks and changes of disk files are shown. */
import type {
  DiskCheckResult,
  DiskDeleteResult,
  DiskExtendResult,
  DiskFillResult,
  DiskRenameResult,
} from '@prima/api';
import { formatBytes } from '@prima/base';
import type { Page } from '../terminal/style.ts';
import { type Column, table } from '../terminal/table.ts';
import { printable } from '../terminal/width.ts';
import { count } from './point.ts';

type Finding = DiskCheckResult['findings'][number];

const columns: readonly Column<Finding>[] = [
  {
    title: 'WHAT',
    value: ({ severity }) => severity,
    paint: (paint, text, { severity }) =>
      severity === 'error' ? paint('red', text) : severity === 'warning' ? paint('yellow', text) : text,
    importance: 9,
  },
  { title: 'FOUND', value: ({ message }) => message, importance: 10, minWidth: 30 },
  { title: 'REPAIR', value: ({ repairable }) => (repairable ? 'yes' : ''), importance: 6 },
  { title: 'AT', value: ({ offset }) => (offset === undefined ? '' : String(offset)), align: 'right' },
  { title: 'FILE', value: ({ path }) => path, importance: 4 },
];

export function renderCheck({ path, sound, findings, repairs }: DiskCheckResult, page: Page): string {
  return [
    ...repairs.map((text) => `repaired: ${printable(text)}`),
    ...(findings.length > 0 ? [table(columns, findings, page)] : []),
    sound
      ? page.paint('green', `${printable(path)} is sound`)
      : page.paint('red', `${printable(path)} is not sound`),
  ].join('\n');
}

/** @param applied whether it was a repair, not only a look at what there is to repair */
export function renderRepair(result: DiskCheckResult, applied: boolean, page: Page): string {
  const repairable = result.findings.filter((finding) => finding.repairable).length;
  if (applied || repairable === 0) return renderCheck(result, page);
  return `${renderCheck(result, page)}\n--yes repairs ${count(repairable, 'finding')}; what the disk holds stays as it is`;
}

export function renderExtend({ path, before, size, added }: DiskExtendResult): string {
  const more = added.map((file) => `  new: ${printable(file)}`);
  return [`${printable(path)}: ${formatBytes(size)}, before ${formatBytes(before)}`, ...more].join('\n');
}

export function renderFill({ path, before, after }: DiskFillResult): string {
  return `${printable(path)} takes ${formatBytes(after)}, before ${formatBytes(before)}`;
}

export function renderRename({ files, children }: DiskRenameResult): string {
  return [
    ...files.map(({ from, to }) => `${printable(from)} is now ${printable(to)}`),
    ...children.map((child) => `${printable(child)} knows its parent by the new name`),
  ].join('\n');
}

export function renderDelete({ files, deleted }: DiskDeleteResult): string {
  const verb = deleted ? 'deleted' : 'would delete';
  return [
    ...files.map(({ path, size }) =>
      size === undefined
        ? `${printable(path)} is not there`
        : `${verb} ${printable(path)} (${formatBytes(size)})`,
    ),
    ...(deleted ? [] : ['--yes deletes them']),
  ].join('\n');
}
