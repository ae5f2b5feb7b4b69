/** Operations on redo logs: of machines through their platform, of disk files by themselves. */
import { basename, resolve } from 'node:path';
import type { RedoApi, RedoDiskDto, RedoResultDto, RedoTarget } from '@prima/api';
import { UserError } from '@prima/base';
import {
  lookAtDiskLogs,
  mustNotBeSuspended,
  type RedoLog,
  type RedoStack,
  withDiskLogs,
} from '@prima/engine';
import type { Machine, RedoPlatform, RedoResult } from '@prima/platforms';
import type { Call, Context } from '../context.ts';
import { findTarget } from '../machine-target.ts';

export function redoOperations(context: Context): RedoApi {
  return {
    redoList: (request, options) => context.run(options, (call) => list(context, request, call)),
    redoAdd: ({ quiesce, ...request }, options) =>
      context.run(options, (call) =>
        change(context, request, call, {
          machine: (redo, machine, selection) => redo.add(machine, { ...selection, quiesce }),
          file: async (stack) => ({ log: await stack.add({ signal: call.signal }) }),
        }),
      ),
    redoCommit: ({ level = 0, freeze, ...request }, options) =>
      context.run(options, (call) =>
        change(context, request, call, {
          machine: (redo, machine, selection) =>
            redo.commit(machine, { ...selection, level, freeze, onProgress: call.onProgress }),
          file: (stack) =>
            stack.commit(level, {
              signal: call.signal,
              onProgress: (progress) => call.onProgress(basename(stack.disk), progress),
            }),
        }),
      ),
    redoDiscard: (request, options) =>
      context.run(options, (call) =>
        change(context, request, call, {
          machine: (redo, machine, selection) => redo.discard(machine, selection),
          file: async (stack) => {
            await mustNotBeSuspended(stack);
            return { log: await stack.discard() };
          },
        }),
      ),
  };
}

interface Changes {
  machine(
    redo: RedoPlatform,
    machine: Machine,
    selection: { disks?: string[]; signal: AbortSignal; logger: Call['logger'] },
  ): Promise<RedoResult>;
  file(stack: RedoStack): Promise<{ log: RedoLog; bytes?: number }>;
}

async function change(
  context: Context,
  request: RedoTarget,
  call: Call,
  changes: Changes,
): Promise<RedoResultDto> {
  const started = performance.now();
  const { signal, logger } = call;
  await context.recover(logger);
  const found = await findTarget(context, request.target, call);
  if (found.kind === 'machine') {
    const redo = found.platform.redo;
    if (!redo) throw new UserError('unsupported', `machines on ${found.platform.name} have no redo logs`);
    const result = await changes.machine(redo, found.machine, { disks: request.disks, signal, logger });
    const { done, why, ...timing } = result;
    return {
      done: done.map(({ disk, log, bytes }) => ({ disk, log: log.path, bytes })),
      ...timing,
      notes: why,
      elapsedMs: performance.now() - started,
    };
  }
  const options = { format: request.format, lockFolder: context.home.locks, logger, signal };
  const done = await withDiskLogs(found.path, options, async (stack) => {
    const { log, bytes } = await changes.file(stack);
    return [{ disk: stack.disk, log: stack.pathOf(log), bytes }];
  });
  return { done, notes: [], elapsedMs: performance.now() - started };
}

async function list(context: Context, request: RedoTarget, call: Call): Promise<RedoDiskDto[]> {
  const found = await findTarget(context, request.target, call);
  if (found.kind === 'file')
    return [await describe(await lookAtDiskLogs(found.path, request), resolve(found.path), call)];
  const { machine } = found;
  const runs = machine.state === 'running' || machine.state === 'paused';
  const disks = machine.disks.filter(
    ({ name, slot }) =>
      request.disks === undefined || request.disks.includes(name) || request.disks.includes(slot),
  );
  const listed: RedoDiskDto[] = [];
  for (const { name, path, base = path, format, excluded } of disks) {
    if (excluded !== undefined)
      listed.push({ disk: name, path: base, logs: [], foreign: [], unfinished: excluded });
    else {
      const stack = await lookAtDiskLogs(base, base === path ? { format } : {});
      listed.push(await describe(stack, name, call, runs));
    }
  }
  return listed;
}

async function describe(
  stack: RedoStack,
  disk: string,
  { signal }: Call,
  runs = false,
): Promise<RedoDiskDto> {
  const { logs, doing } = stack.record;
  const listed: RedoDiskDto['logs'] = [];
  for (const [level, log] of logs.toReversed().entries()) {
    const { purpose, made } = log;
    const bytes = runs ? undefined : await stack.bytesOf(log, signal);
    listed.push({ level, path: stack.pathOf(log), purpose, made, ...(bytes !== undefined && { bytes }) });
  }
  const unfinished = doing && { unfinished: sentenceOf(doing.do) };
  return { disk, path: stack.disk, logs: listed, ...unfinished, foreign: await stack.foreign() };
}

function sentenceOf(step: 'add' | 'commit' | 'discard'): string {
  if (step === 'commit') return 'a log is half merged: the disk is whole through it; commit it again';
  return `a log was being ${step === 'add' ? 'added' : 'discarded'}; the next command finishes that`;
}
