/** `prima repair`: the way out of damage that stops collections. */
import type { RepairRequest, RepairResult } from '@prima/api';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import type { Invocation } from '../invocation.ts';
import { collect, parseDuration } from '../options.ts';
import { count, shortId } from '../render/point.ts';
import type { Page } from '../terminal/style.ts';
import { type Column, table } from '../terminal/table.ts';
import { formatMinute } from '../terminal/time.ts';

interface RepairOptions {
  from?: string[];
  keep?: number;
  yes?: boolean;
}

export function registerRepair(program: Command, cli: Cli): void {
  program
    .command('repair')
    .description(
      'get out of damage to the log or to points that stops collections; shows first, deletes nothing',
    )
    .option(
      '--from <url>',
      'take what is lost from another copy of this storage; may be given several times',
      collect,
    )
    .option('--keep <time>', 'keep the data of what is given up for so long (14d)', parseDuration)
    .option('--yes', 'do it; without, only say what would be done')
    .action(
      cli.action({ repository: true }, async (invocation, options: RepairOptions) => {
        const result = await invocation.call((api, call) => api.repair(requestOf(invocation, options), call));
        invocation.result(result, (page) => rendered(result, page));
      }),
    );
}

function requestOf(invocation: Invocation, { from, keep, yes }: RepairOptions): RepairRequest {
  return {
    ...(yes && { apply: true }),
    ...(keep !== undefined && { keepMs: keep }),
    ...(from && { from: from.map((url) => (url.includes('://') ? url : invocation.path(url))) }),
  };
}

type Step = RepairResult['steps'][number];

const words = {
  restored: 'restore',
  acknowledged: 'let go',
  'given-up': 'GIVE UP',
  released: 'keep no longer',
} as const;

const columns: readonly Column<Step>[] = [
  {
    title: 'REMEDY',
    value: ({ remedy }) => words[remedy],
    paint: (paint, text, { remedy }) => (remedy === 'given-up' ? paint('red', text) : text),
    importance: 10,
  },
  { title: 'POINT', value: ({ point }) => (point ? shortId(point.id) : ''), importance: 8 },
  { title: 'MACHINE', value: ({ point }) => point?.machine ?? '', importance: 6 },
  { title: 'TIME', value: ({ point }) => (point?.time ? formatMinute(point.time) : ''), importance: 7 },
  { title: 'OBJECT', value: ({ object }) => object, importance: 5, minWidth: 14 },
  { title: 'FOUND', value: ({ fault }) => fault, importance: 4, minWidth: 16 },
];

function rendered({ applied, steps, unknownPoints, keptUntil }: RepairResult, page: Page): string {
  const lost = steps.filter(({ remedy }) => remedy === 'given-up').length;
  if (steps.length === 0 && unknownPoints === 0) return 'Nothing to repair';
  return [
    ...(steps.length > 0 ? [table(columns, steps, page)] : []),
    ...(unknownPoints > 0
      ? [`The log counts ${count(unknownPoints, 'point')} more, of which nothing is left that names them.`]
      : []),
    ...(lost > 0
      ? [
          `${count(lost, 'point')} cannot be listed or restored ${applied ? 'any more' : 'then'}; ` +
            (keptUntil ? `their data is kept until ${keptUntil}.` : 'the next collection frees their data.'),
        ]
      : []),
    applied
      ? `Repaired ${count(steps.length, 'object')}; prima check says what is left`
      : 'Nothing was done. Look for copies of these objects first; then: prima repair --yes',
  ].join('\n');
}
