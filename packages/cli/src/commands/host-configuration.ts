/** `prima host backup`, `diff`, `restore`: a host's own configuration, its machines apart. */
import type { HostDiffResult, HostItemChangeDto, HostRestoreResult, PointDto } from '@prima/api';
import { errorCodes } from '@prima/base';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { collect, parseDuration } from '../options.ts';
import { count, pointWarnings, shortId } from '../render/point.ts';
import type { Page } from '../terminal/style.ts';
import { type Column, table } from '../terminal/table.ts';
import { printable } from '../terminal/width.ts';

export function registerHostConfiguration(host: Command, cli: Cli): void {
  registerBackup(host, cli);
  registerDiff(host, cli);
  registerRestore(host, cli);
}

function registerBackup(host: Command, cli: Cli): void {
  host
    .command('backup')
    .description("make a restore point of a host's networks, pools, secrets, filters and libvirt's files")
    .argument('<host>', 'the host')
    .option('--name <name>', 'a name for the point')
    .option('--tag <tag>', 'a tag for the point; may be given several times', collect)
    .option('--lock <time>', 'nobody can forget the point for so long: 30d, 12h', parseDuration)
    .action(
      cli.action(
        { repository: true },
        async (invocation, name: string, options: { name?: string; tag?: string[]; lock?: number }) => {
          const request = {
            host: name,
            ...(options.name !== undefined && { name: options.name }),
            ...(options.tag && { tags: options.tag }),
            ...(options.lock !== undefined && { lockMs: options.lock }),
          };
          const point = await invocation.call((api, call) => api.hostBackup(request, call));
          invocation.result(point, (page) => backedUp(name, point, page));
        },
      ),
    );
}

function backedUp(host: string, point: PointDto, page: Page): string {
  return [
    printable(`${host}: ${count(point.files.length, 'file')} in ${shortId(point.id)}`),
    ...pointWarnings(point, page),
  ].join('\n');
}

function registerDiff(host: Command, cli: Cli): void {
  host
    .command('diff')
    .description('show how the configuration of a host differs from a point of it')
    .argument('<point>', 'a point that prima host backup made')
    .argument('[host|point]', "a host as it is now, or another such point (the point's host)")
    .action(
      cli.action({ repository: true }, async (invocation, point: string, other: string | undefined) => {
        const request = { point, ...(other !== undefined && { with: other }) };
        const result = await invocation.call((api, call) => api.hostDiff(request, call));
        invocation.result(result, (page) => differences(result, page));
      }),
    );
}

const signs = { same: ' ', removed: '-', added: '+', gap: '…' } as const;

function differences({ a, b, items }: HostDiffResult, page: Page): string {
  const sides = printable(`from ${a} to ${b}`);
  if (items.length === 0) return `No differences ${sides}`;
  return [
    ...items.flatMap((item) => itemLines(item, page)),
    `${count(items.length, 'difference')} ${sides}`,
  ].join('\n');
}

function itemLines({ item, change, lines }: HostItemChangeDto, page: Page): string[] {
  const colours = { added: 'green', removed: 'red', changed: 'yellow' } as const;
  return [
    `${page.paint(colours[change], change)} ${printable(item)}`,
    ...lines.map(({ kind, text }) => {
      const line = `  ${signs[kind]} ${printable(text, '\t')}`.trimEnd();
      return kind === 'added' || kind === 'removed' ? page.paint(colours[kind], line) : line;
    }),
  ];
}

interface RestoreOptions {
  toHost: string;
  only?: string[];
  replace?: boolean;
  dryRun?: boolean;
}

function registerRestore(host: Command, cli: Cli): void {
  host
    .command('restore')
    .description('define on a host what a point of a host has and it lacks')
    .argument('<point>', 'a point that prima host backup made')
    .requiredOption('--to-host <host>', 'the host')
    .option(
      '--only <item>',
      'only this (networks/default) or all below (networks, etc/libvirt/hooks); may be given several times',
      collect,
    )
    .option('--replace', 'replace what is there and different')
    .option('--dry-run', 'only say what would be done')
    .action(
      cli.action({ repository: true }, async (invocation, point: string, options: RestoreOptions) => {
        const { toHost, only, replace, dryRun } = options;
        const request = {
          point,
          host: toHost,
          ...(only && { only }),
          ...(replace && { replace }),
          ...(dryRun && { dryRun }),
        };
        const result = await invocation.call((api, call) => api.hostRestore(request, call));
        invocation.result(result, (page) => restored(result, page));
        const failed = result.items.filter(({ action }) => action === 'failed');
        if (failed.length === 0) return;
        invocation.fault(`${count(failed.length, 'item')} could not be put back`);
        invocation.exitStatus = errorCodes.remote.exit;
      }),
    );
}

type Item = HostRestoreResult['items'][number];

const columns: readonly Column<Item>[] = [
  {
    title: 'DONE',
    value: ({ action }) => action,
    paint: (paint, text, { action }) => {
      if (action === 'failed') return paint('red', text);
      return action === 'defined' || action === 'replaced' ? paint('green', text) : text;
    },
    importance: 9,
  },
  { title: 'ITEM', value: ({ item }) => item, importance: 8, minWidth: 16 },
  { title: 'REMARK', value: ({ notes }) => notes.join('; '), importance: 5, minWidth: 20 },
];

function restored({ host, dryRun, items }: HostRestoreResult, page: Page): string {
  const number = (...actions: Item['action'][]) =>
    items.filter(({ action }) => actions.includes(action)).length;
  const done = number('defined', 'replaced');
  const sentence = dryRun
    ? `would be put back on ${host}; nothing was changed`
    : `put back on ${host}, ${number('same')} as they were, ${number('kept', 'left-out', 'failed')} left`;
  return `${table(columns, items, page)}\n${count(done, 'item')} ${printable(sentence)}`;
}
