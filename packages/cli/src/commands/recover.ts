/** `prima recover`: runs a machine from the repository at once, and moves its disks while it runs. */
import type { CallOptions, PrimaApi, RecoverResult } from '@prima/api';
import { formatDuration, UserError } from '@prima/base';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { parseRate } from '../options.ts';
import { shortId } from '../render/point.ts';
import type { Page } from '../terminal/style.ts';
import { type Column, table } from '../terminal/table.ts';
import { printable } from '../terminal/width.ts';

interface RecoverOptions {
  toHost?: string;
  as?: string;
  migrateTo?: string;
  /** Commander's for `--no-migrate`. */
  migrate: boolean;
  moveRate?: number;
  resume?: string;
  cancel?: string;
  allowDamaged?: boolean;
}

export function registerRecover(program: Command, cli: Cli): void {
  program
    .command('recover')
    .description('run a machine from the repository at once, and move its disks while it runs')
    .argument('[point]', 'id or its beginning, latest, MACHINE@latest or MACHINE@TIME')
    .option('--to-host <host>', 'run it on this host')
    .option('--as <name>', "with --to-host: the machine's name")
    .option('--migrate-to <pool>', 'with --to-host: the storage pool that the disks move to')
    .option('--no-migrate', 'leave the disks in the repository, and serve them until Ctrl-C')
    .option('--move-rate <rate>', 'move no more than this a second: 50M', parseRate)
    .option('--resume <host/machine>', 'go on with a machine whose prima has ended')
    .option('--cancel <host/machine>', 'switch the machine off and remove it, with all that its guest wrote')
    .option('--allow-damaged', 'serve zeros where the repository cannot be read; else the machine waits')
    .action(
      cli.action({}, async (invocation, point: string | undefined, options: RecoverOptions) => {
        const ask = requestOf(point, options);
        const { cancel } = options;
        if (cancel !== undefined) {
          const machine = await invocation.call((api, call) => api.recoverCancel({ machine: cancel }, call));
          const name = `${machine.host}/${machine.name}`;
          invocation.result(machine, () => `Removed ${printable(name)} with its disks`);
          return;
        }
        const result = await invocation.call(ask, {
          firstInterrupt:
            'the machine needs this to run; Ctrl-C again: it waits, and goes on with the same command, or prima recover --resume',
          onInterrupt: 'ending; the machine waits for its disks…',
        });
        invocation.result(result, (page) => rendered(result, page));
      }),
    );
}

type Ask = (api: PrimaApi, call: CallOptions) => Promise<RecoverResult>;

/** Raises `usage` unless exactly one thing is asked for, with options that belong to it. */
function requestOf(point: string | undefined, options: RecoverOptions): Ask {
  const { toHost, as, migrateTo, migrate, moveRate, resume, cancel, allowDamaged } = options;
  const given = [point, resume, cancel].filter((one) => one !== undefined);
  if (given.length !== 1) {
    throw new UserError(
      'usage',
      'say what to do: POINT --to-host HOST, --resume HOST/MACHINE or --cancel HOST/MACHINE (one of them)',
    );
  }
  if ((point === undefined) !== (toHost === undefined))
    throw new UserError('usage', 'a point is recovered on a host: prima recover POINT --to-host HOST');
  if (point === undefined && (as !== undefined || migrateTo !== undefined))
    throw new UserError('usage', '--as and --migrate-to go with POINT --to-host HOST: later they stand');
  if (!migrate && (moveRate !== undefined || migrateTo !== undefined))
    throw new UserError('usage', '--no-migrate moves nothing: leave --migrate-to and --move-rate out');
  const how = {
    ...(!migrate && { move: false }),
    ...(moveRate !== undefined && { moveRate }),
    ...(allowDamaged && { allowDamaged }),
  };
  if (resume !== undefined) return (api, call) => api.recoverResume({ machine: resume, ...how }, call);
  const where = { ...(as !== undefined && { as }), ...(migrateTo !== undefined && { pool: migrateTo }) };
  return (api, call) => api.recover({ point: point ?? '', host: toHost ?? '', ...where, ...how }, call);
}

const columns: readonly Column<RecoverResult['disks'][number]>[] = [
  { title: 'DISK', value: ({ disk }) => disk, importance: 5 },
  { title: 'AT', value: ({ path }) => path, importance: 9, minWidth: 20 },
];

function rendered({ point, machine, disks, startedMs, elapsedMs }: RecoverResult, page: Page): string {
  const name = printable(`${machine.host}/${machine.name}`);
  return [
    ...(disks.length > 0 ? [table(columns, disks, page)] : []),
    `Recovered ${name} from point ${shortId(point.id)}: it ran after ${formatDuration(startedMs)}, and its disks ` +
      `are its own after ${formatDuration(elapsedMs)}`,
    `Machine ${name} is ${printable(machine.state)}`,
  ].join('\n');
}
