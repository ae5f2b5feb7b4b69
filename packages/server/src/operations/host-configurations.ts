/** Operations on hosts' own configurations: back up, compare, put back. */
import type {
  HostBackupRequest,
  HostDiffRequest,
  HostDiffResult,
  HostRestoreRequest,
  HostRestoreResult,
  PointDto,
  PrimaApi,
} from '@prima/api';
import { UserError } from '@prima/base';
import {
  backup,
  compareItems,
  currentConfiguration,
  hostSource,
  restoreConfiguration,
  type StoredConfiguration,
  storedConfiguration,
} from '@prima/engine';
import type { Point } from '@prima/repository';
import type { Call, Context } from '../context.ts';
import { pointDto } from '../dto.ts';
import { namedPoint } from './points.ts';

export type HostConfigurationOperations = Pick<PrimaApi, 'hostBackup' | 'hostDiff' | 'hostRestore'>;

export function hostConfigurationOperations(context: Context): HostConfigurationOperations {
  return {
    hostBackup: (request, options) => context.run(options, (call) => backUp(context, request, call)),
    hostDiff: (request, options) => context.run(options, (call) => compare(context, request, call)),
    hostRestore: (request, options) => context.run(options, (call) => putBack(context, request, call)),
  };
}

async function backUp(
  context: Context,
  { host, ...request }: HostBackupRequest,
  { signal, logger }: Call,
): Promise<PointDto> {
  const platform = await context.platform(host);
  const repository = await context.repository();
  await context.recover(logger);
  const { point } = await backup(repository, await hostSource(platform), { ...request, signal, logger });
  logger.info(`${host}: the point ${point.id.slice(0, 12)} is committed`);
  return pointDto(point);
}

interface Side {
  label: string;
  configuration: StoredConfiguration;
}

async function compare(
  context: Context,
  request: HostDiffRequest,
  { logger }: Call,
): Promise<HostDiffResult> {
  const repository = await context.repository();
  const point = await namedPoint(repository, request.point);
  const a: Side = { label: labelOf(point), configuration: await storedConfiguration(repository, point) };
  const other = request.with ?? point.machine.host;
  if (other === undefined) throw new UserError('usage', 'name a host, or another point, to compare with');
  const isHost = (await context.hosts.list()).some(({ name }) => name === other);
  const b = isHost ? await sideOfHost(other) : await sideOfPoint(other);
  const items = compareItems(a.configuration.items, b.configuration.items);
  return { a: a.label, b: b.label, items };

  async function sideOfHost(name: string): Promise<Side> {
    const platform = await context.platform(name);
    const configuration = await currentConfiguration(platform, (text) => logger.warn(text));
    return { label: `${name}, now`, configuration };
  }

  async function sideOfPoint(text: string): Promise<Side> {
    const found = await namedPoint(repository, text);
    return { label: labelOf(found), configuration: await storedConfiguration(repository, found) };
  }
}

function labelOf({ id, machine, time }: Point): string {
  return `${id.slice(0, 8)} ${machine.host ?? machine.name} ${time}`;
}

async function putBack(
  context: Context,
  request: HostRestoreRequest,
  { signal, logger }: Call,
): Promise<HostRestoreResult> {
  const { host, only, replace = false, dryRun = false } = request;
  const repository = await context.repository();
  const point = await namedPoint(repository, request.point);
  const stored = await storedConfiguration(repository, point);
  await context.recover(logger);
  const work = { replace, dryRun, signal, ...(only ? { only } : {}) };
  const items = await restoreConfiguration(stored, await context.platform(host), work);
  return { point: pointDto(point), host, dryRun, items };
}
