/** `prima demo`: the demonstration, told as it goes. */
import { resolve } from 'node:path';
import type { DemoResult, DemoStep } from '@prima/api';
import { formatBytes, formatDuration } from '@prima/base';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import type { Page } from '../terminal/style.ts';
import { type Column, table } from '../terminal/table.ts';
import { pad, printable } from '../terminal/width.ts';

/** Says that the demonstration itself lost something; see docs/operating/cli.md. */
const failedStatus = 1;

export function registerDemo(program: Command, cli: Cli): void {
  program
    .command('demo')
    .description('watch a machine being backed up while it works, destroyed, and brought back')
    .option('--folder <folder>', 'work here instead of in a temporary folder')
    .option('--keep', 'keep the machine and repository afterwards')
    .action(
      cli.action({}, async (invocation, options: { folder?: string; keep?: boolean }) => {
        const { clock } = invocation.environment;
        const start = clock.monotonic();
        const story = (message: string) => {
          const { paint } = invocation.page;
          const elapsed = pad(formatDuration(clock.monotonic() - start), 7, 'right');
          invocation.print(`${paint('dim', elapsed)}  ${printable(message)}`);
        };
        const request = {
          ...(options.folder !== undefined && { folder: resolve(options.folder) }),
          ...(options.keep && { keep: true }),
        };
        const result = await invocation.call((api, call) => api.demo(request, call), { story });
        invocation.result(result, (page) => rendered(result, page));
        if (!result.ok) invocation.exitStatus = failedStatus;
      }),
    );
}

const columns: readonly Column<DemoStep>[] = [
  {
    title: 'RESULT',
    value: (step) => (step.ok ? 'ok' : 'FAILED'),
    paint: (paint, text, step) => paint(step.ok ? 'green' : 'red', text),
    importance: 9,
  },
  { title: 'STEP', value: (step) => step.step, importance: 8, minWidth: 20 },
  { title: 'TIME', value: (step) => formatDuration(step.elapsedMs), align: 'right', importance: 6 },
  { title: 'READ', value: (step) => bytes(step.read), align: 'right', importance: 4 },
  { title: 'STORED', value: (step) => bytes(step.stored), align: 'right', importance: 5 },
  { title: 'DETAIL', value: (step) => step.detail, importance: 3, minWidth: 12 },
];

function bytes(value: number | undefined): string {
  return value === undefined ? '' : formatBytes(value);
}

function rendered({ ok, steps }: DemoResult, page: Page): string {
  const failed = steps.filter((step) => !step.ok);
  return [
    '',
    table(columns, steps, page),
    ...failed.map((step) => `${page.paint('red', 'FAILED')} ${printable(`${step.step}: ${step.detail}`)}`),
    ok
      ? page.paint('green', 'Everything came back; nothing was lost.')
      : page.paint('red', 'Something was lost.'),
  ].join('\n');
}
