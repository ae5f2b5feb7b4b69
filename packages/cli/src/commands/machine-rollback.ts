/** `prima machine rollback`: the state before a patch, kept on the host until the patch has proved good or bad. */
import type { RollbackEndResult, RollbackPointDto } from '@prima/api';
import { formatDuration } from '@prima/base';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import type { Page } from '../terminal/style.ts';
import { formatAge, formatMoment } from '../terminal/time.ts';
import { printable } from '../terminal/width.ts';

export function registerMachineRollback(machine: Command, cli: Cli): void {
  const rollback = machine
    .command('rollback')
    .description('keep the state of the disks before a patch, and go back to it or not');
  registerBegin(rollback, cli);
  registerList(rollback, cli);
  registerEnd(rollback, cli, {
    name: 'keep',
    description: "the patch was good: what was written since becomes the disks' for good",
  });
  registerEnd(rollback, cli, {
    name: 'undo',
    description:
      'the patch was bad: the disks are as before; a machine that runs is switched off and started',
  });
}

function registerBegin(rollback: Command, cli: Cli): void {
  rollback
    .command('begin')
    .description('from now on what the machine writes goes to overlays beside its disks')
    .argument('<host/name>', 'the machine')
    .option('--no-quiesce', "do not freeze the guest's file systems for the moment")
    .action(
      cli.action({}, async (invocation, name: string, { quiesce }: { quiesce: boolean }) => {
        const request = { machine: name, ...(!quiesce && { quiesce }) };
        const point = await invocation.call((api, call) => api.rollbackBegin(request, call));
        invocation.result(point, (page) => shown(point, page));
      }),
    );
}

function registerList(rollback: Command, cli: Cli): void {
  rollback
    .command('list')
    .description('list rollback points that were neither kept nor undone')
    .argument('[host/name]', "only this machine's")
    .action(
      cli.action({}, async (invocation, name: string | undefined) => {
        const request = name === undefined ? {} : { machine: name };
        const points = await invocation.call((api, call) => api.rollbackList(request, call));
        invocation.result(points, (page) =>
          points.length === 0
            ? 'No rollback points.'
            : points.map((point) => shown(point, page)).join('\n\n'),
        );
      }),
    );
}

function registerEnd(
  rollback: Command,
  cli: Cli,
  { name: way, description }: { name: 'keep' | 'undo'; description: string },
): void {
  rollback
    .command(way)
    .description(description)
    .argument('<host/name>', 'the machine')
    .action(
      cli.action({}, async (invocation, name: string) => {
        const result = await invocation.call((api, call) =>
          way === 'keep'
            ? api.rollbackKeep({ machine: name }, call)
            : api.rollbackUndo({ machine: name }, call),
        );
        invocation.result(result, () => ended(result));
      }),
    );
}

function shown({ machine, made, phase, quiesced, disks, notes }: RollbackPointDto, page: Page): string {
  const state = phase === 'open' ? 'open' : page.paint('yellow', phase);
  return [
    `${page.paint('bold', printable(machine))}: ${state}, of ${formatMoment(made)} (${formatAge(made, page.now)}), ${quiesced ? 'quiesced' : 'not quiesced'}`,
    ...disks.map(({ disk, base, overlay }) => printable(`  ${disk}: ${overlay} over ${base}`)),
    ...notes.map((note) => `  - ${printable(note)}`),
  ].join('\n');
}

function ended({ machine, done, elapsedMs }: RollbackEndResult): string {
  return [
    ...done.map((text) => printable(text)),
    printable(`${machine}: done in ${formatDuration(elapsedMs)}`),
  ].join('\n');
}
