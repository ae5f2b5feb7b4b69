/** Operations on local rollback points. */
import type { PrimaApi, RollbackEndResult, RollbackPointDto } from '@prima/api';
import { UserError } from '@prima/base';
import type { Machine, Platform, RollbackPlatform } from '@prima/platforms';
import type { Call, Context } from '../context.ts';
import { findMachine } from './machines.ts';

export type RollbackOperations = Pick<
  PrimaApi,
  'rollbackBegin' | 'rollbackList' | 'rollbackKeep' | 'rollbackUndo'
>;

export function rollbackOperations(context: Context): RollbackOperations {
  return {
    rollbackBegin: ({ machine: name, quiesce }, options) =>
      context.run(options, async ({ signal, logger }) => {
        const journal = await context.recover(logger);
        const { platform, machine } = await findMachine(context, name, signal);
        const undo = [{ kind: 'host' as const, host: machine.host }];
        await using _entry = await journal.begin(`beginning a rollback point of ${name}`, undo);
        const work = { signal, logger, ...(quiesce === undefined ? {} : { quiesce }) };
        return pointDto(machine, await rollbackOf(platform).begin(machine, work));
      }),
    rollbackList: ({ machine: name }, options) =>
      context.run(options, async ({ signal }) => {
        if (name === undefined) return listAll(context, signal);
        const { platform, machine } = await findMachine(context, name, signal);
        return ofMachine(rollbackOf(platform), machine);
      }),
    rollbackKeep: ({ machine }, options) =>
      context.run(options, (call) => end(context, { name: machine, way: 'keep' }, call)),
    rollbackUndo: ({ machine }, options) =>
      context.run(options, (call) => end(context, { name: machine, way: 'undo' }, call)),
  };
}

async function end(
  context: Context,
  { name, way }: { name: string; way: 'keep' | 'undo' },
  { signal, logger, onProgress }: Call,
): Promise<RollbackEndResult> {
  const started = performance.now();
  const { platform, machine } = await findMachine(context, name, signal);
  const work = { signal, logger, onProgress };
  const done = await rollbackOf(platform)[way](machine, work);
  return { machine: `${machine.host}/${machine.name}`, done, elapsedMs: performance.now() - started };
}

async function listAll(context: Context, signal: AbortSignal): Promise<RollbackPointDto[]> {
  const points: RollbackPointDto[] = [];
  for (const host of await context.hosts.list()) {
    const platform = await context.platformOf(host);
    if (!platform.rollback) continue;
    for (const machine of await platform.inventory(signal)) {
      points.push(...(await ofMachine(platform.rollback, machine)));
    }
  }
  return points;
}

async function ofMachine(rollback: RollbackPlatform, machine: Machine): Promise<RollbackPointDto[]> {
  const point = await rollback.find(machine);
  return point ? [pointDto(machine, point)] : [];
}

function pointDto(machine: Machine, point: Omit<RollbackPointDto, 'machine'>): RollbackPointDto {
  return { ...point, machine: `${machine.host}/${machine.name}` };
}

function rollbackOf({ kind, rollback }: Platform): RollbackPlatform {
  if (rollback) return rollback;
  throw new UserError(
    'unsupported',
    `machines of a ${kind} host have redo logs instead of rollback points (prima disk redo add, commit, discard)`,
  );
}
