/** `prima storage`: the storage that repositories are kept on. */
import type { StorageTestResult } from '@prima/api';
import { errorCodes, formatBytes, formatDuration } from '@prima/base';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { count } from '../render/point.ts';
import type { Page } from '../terminal/style.ts';
import { type Column, facts, table } from '../terminal/table.ts';
import { printable } from '../terminal/width.ts';

export function registerStorage(program: Command, cli: Cli): void {
  const storage = program
    .command('storage')
    .description('test storage for repositories, bring back what was hidden there');
  storage
    .command('test')
    .description('test what a folder, an S3 bucket or an SFTP server promises, and how fast it is')
    .argument('<url>', 'the storage; a folder (or prefix) is made in it and removed again')
    .action(
      cli.action({}, async (invocation, url: string) => {
        const result = await invocation.call((api, call) => api.storageTest({ url }, call));
        invocation.result(result, (page) => rendered(result, page));
        if (!result.ok) invocation.exitStatus = errorCodes['verify-failed'].exit;
      }),
    );
  storage
    .command('undelete')
    .description('bring back what plain deletes hid in an S3 bucket that keeps versions')
    .argument('<url>', 'the repository, s3://…')
    .option('--dry-run', 'only say what would come back')
    .action(
      cli.action({}, async (invocation, url: string, { dryRun = false }: { dryRun?: boolean }) => {
        const request = { url, ...(dryRun && { dryRun }) };
        const result = await invocation.call((api, call) => api.storageUndelete(request, call));
        invocation.result(result, () => {
          const what = `${count(result.keys.length, 'object')} of ${printable(result.url)}`;
          return dryRun ? `${what} would come back` : `${what} came back`;
        });
      }),
    );
}

type Promised = StorageTestResult['promises'][number];

const words = { kept: 'kept', broken: 'BROKEN', absent: 'not offered', untested: 'not tested' };
const colours = { kept: 'green', broken: 'red', absent: 'yellow', untested: 'yellow' } as const;

const columns: readonly Column<Promised>[] = [
  { title: 'PROMISE', value: ({ promise }) => promise, importance: 9 },
  {
    title: 'VERDICT',
    value: ({ verdict }) => words[verdict],
    paint: (paint, text, { verdict }) => paint(colours[verdict], text),
    importance: 9,
  },
  { title: 'WHAT', value: ({ detail }) => detail, importance: 6, minWidth: 24 },
  { title: 'WHAT TO DO', value: ({ advice }) => advice ?? '', importance: 5, minWidth: 16 },
];

function rendered({ url, ok, promises, figures, left, elapsedMs }: StorageTestResult, page: Page): string {
  const speed = (bytes: number) => `${formatBytes(bytes)}/s`;
  const measured =
    figures &&
    facts(
      [
        ['store', `${speed(figures.putBytesPerSecond)}; 1 KiB in ${formatMs(figures.putMs)}`],
        ['read', `${speed(figures.getBytesPerSecond)}; 1 KiB in ${formatMs(figures.getMs)}`],
        ['small objects', `${figures.smallPutsPerSecond.toFixed(0)} stored a second, 16 at once`],
      ],
      page,
    );
  const verdict = ok
    ? page.paint('green', 'A repository can be kept here')
    : page.paint('red', 'No repository should be kept here');
  const kept = `${count(left.length, 'object')} of the test cannot be deleted yet: ${left.join(', ')}`;
  return [
    `${table(columns, promises, page)}\n`,
    ...(measured === undefined ? [] : [`${measured}\n`]),
    ...(left.length > 0 ? [printable(kept)] : []),
    `${verdict}: ${printable(url)}, tested in ${formatDuration(elapsedMs)}`,
  ].join('\n');
}

function formatMs(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)} ms` : formatDuration(ms);
}
