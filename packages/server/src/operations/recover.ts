/** Operations on machines that run from the repository. */
import type { PrimaApi, RecoverResult } from '@prima/api';
import { UserError } from '@prima/base';
import { cancelRecovery, type RecoveredMachine, recoverMachine, resumeRecovery } from '@prima/engine';
import type { Context } from '../context.ts';
import { machineDto, pointDto } from '../dto.ts';
import { findMachine } from './machines.ts';
import { namedPoint } from './points.ts';

export type RecoverOperations = Pick<PrimaApi, 'recover' | 'recoverResume' | 'recoverCancel'>;

export function recoverOperations(context: Context): RecoverOperations {
  return {
    recover: ({ point: name, host, ...request }, options) =>
      context.run(options, async ({ signal, logger, onProgress }) => {
        const started = performance.now();
        checkRate(request.moveRate);
        const repository = await context.repository();
        const journal = await context.recover(logger);
        const point = await namedPoint(repository, name);
        const platform = await context.platform(host);
        const work = { ...request, journal, signal, logger, onProgress };
        return resultOf(await recoverMachine(repository, point, platform, work), started);
      }),
    recoverResume: ({ machine: name, ...request }, options) =>
      context.run(options, async ({ signal, logger, onProgress }) => {
        const started = performance.now();
        checkRate(request.moveRate);
        const repository = await context.repository();
        await context.recover(logger);
        const { platform, machine } = await findMachine(context, name, signal);
        const work = { ...request, signal, logger, onProgress };
        return resultOf(await resumeRecovery(repository, platform, machine, work), started);
      }),
    recoverCancel: ({ machine: name }, options) =>
      context.run(options, async ({ signal, logger }) => {
        await context.recover(logger);
        const { platform, machine } = await findMachine(context, name, signal);
        await cancelRecovery(platform, machine);
        return machineDto(machine);
      }),
  };
}

function checkRate(rate: number | undefined): void {
  if (rate === undefined || (Number.isSafeInteger(rate) && rate > 0)) return;
  throw new UserError('usage', `${rate} bytes a second are no rate to move disks at; write 50M for example`);
}

function resultOf({ machine, point, disks, ...figures }: RecoveredMachine, started: number): RecoverResult {
  return {
    ...figures,
    machine: machineDto(machine),
    point: pointDto(point),
    disks: [...disks],
    elapsedMs: performance.now() - started,
  };
}
