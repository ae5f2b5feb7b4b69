/** `prima forget`: lets go of points, by name or by rules. */
import type { ForgetRequest, ForgetResult, RetentionRules } from '@prima/api';
import { UserError } from '@prima/base';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { collect, parseCount } from '../options.ts';
import { count, shortId } from '../render/point.ts';
import type { Page } from '../terminal/style.ts';
import { type Column, table } from '../terminal/table.ts';
import { formatMinute } from '../terminal/time.ts';

interface ForgetOptions {
  keepLast?: number;
  keepHourly?: number;
  keepDaily?: number;
  keepWeekly?: number;
  keepMonthly?: number;
  keepYearly?: number;
  keepTag?: string[];
  dryRun?: boolean;
}

export function registerForget(program: Command, cli: Cli): void {
  program
    .command('forget')
    .description('forget points: those named, or those that no rule keeps')
    .argument('[machine|point...]', 'with rules: a machine (default: each on its own); without: points')
    .option('--keep-last <n>', 'keep the newest n', parseCount)
    .option('--keep-hourly <n>', 'keep the newest of each of the last n hours that have any', parseCount)
    .option('--keep-daily <n>', 'the same for days', parseCount)
    .option('--keep-weekly <n>', 'the same for weeks', parseCount)
    .option('--keep-monthly <n>', 'the same for months', parseCount)
    .option('--keep-yearly <n>', 'the same for years', parseCount)
    .option('--keep-tag <tag>', 'never forget points with this tag; may be given several times', collect)
    .option('--dry-run', 'only say what would be forgotten')
    .action(
      cli.action({ repository: true }, async (invocation, names: string[], options: ForgetOptions) => {
        const request = requestOf(names, options);
        const result = await invocation.call((api, call) => api.forget(request, call));
        invocation.result(result, (page) => rendered(result, page));
      }),
    );
}

function requestOf(names: string[], options: ForgetOptions): ForgetRequest {
  const keep = rulesOf(options);
  const shared = {
    ...(options.keepTag && { keepTags: options.keepTag }),
    ...(options.dryRun && { dryRun: true }),
  };
  if (keep === undefined) {
    if (names.length > 0) return { points: names, ...shared };
    throw new UserError(
      'usage',
      'say what to forget: name points, or give a rule such as --keep-last 7 or --keep-daily 30',
    );
  }
  if (names.length > 1) {
    throw new UserError(
      'usage',
      `rules apply to one machine or to each on its own, not to ${names.length} names`,
    );
  }
  return { ...(names[0] !== undefined && { machine: names[0] }), keep, ...shared };
}

function rulesOf(options: ForgetOptions): RetentionRules | undefined {
  const { keepLast, keepHourly, keepDaily, keepWeekly, keepMonthly, keepYearly } = options;
  const rules = {
    last: keepLast,
    hourly: keepHourly,
    daily: keepDaily,
    weekly: keepWeekly,
    monthly: keepMonthly,
    yearly: keepYearly,
  };
  const given = Object.entries(rules).filter(([, number]) => number !== undefined);
  return given.length === 0 ? undefined : Object.fromEntries(given);
}

type Row = ForgetResult['kept'][number] & { fate: string };

const columns: readonly Column<Row>[] = [
  {
    title: 'FATE',
    value: (row) => row.fate,
    paint: (paint, text, row) => (row.fate === 'keep' ? text : paint('yellow', text)),
    importance: 10,
  },
  { title: 'POINT', value: (row) => shortId(row.point.id), importance: 9 },
  { title: 'MACHINE', value: (row) => row.point.machine, importance: 7 },
  { title: 'TIME', value: (row) => formatMinute(row.point.time), importance: 8, minWidth: 16 },
  { title: 'WHY', value: (row) => row.reasons.join(', '), importance: 5 },
  { title: 'TAGS', value: (row) => row.point.tags.join(', '), importance: 2, minWidth: 6 },
];

function rendered({ dryRun, kept, forgotten }: ForgetResult, page: Page): string {
  const rows: Row[] = [
    ...kept.map((entry) => ({ ...entry, fate: 'keep' })),
    ...forgotten.map((point) => ({ point, reasons: [], fate: 'forget' })),
  ].sort(
    (a, b) =>
      compare(a.point.machine, b.point.machine) || Date.parse(a.point.time) - Date.parse(b.point.time),
  );
  const verb = dryRun ? 'Would forget' : 'Forgot';
  const advice = !dryRun && forgotten.length > 0 ? '; prima collect frees their room' : '';
  return [
    rows.length > 0 ? table(columns, rows, page) : '',
    `${verb} ${count(forgotten.length, 'point')}, kept ${kept.length}${advice}`,
  ]
    .filter((part) => part !== '')
    .join('\n');
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
