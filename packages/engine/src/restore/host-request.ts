/** What a platform is asked for when a point becomes a machine there. */
import { type Logger, UserError } from '@prima/base';
import type { ConfigFile, RestoreRequest } from '@prima/platforms';
import type { Point, Repository } from '@prima/repository';
import { isHostPoint } from '../host-configuration/stored.ts';
import type { FoundLuns } from './plan.ts';

export interface HostRequestOptions {
  /** The machine's name; default the one it had. */
  as?: string;
  pool?: string;
  /** Disks that stand for these devices. */
  found?: FoundLuns | undefined;
  signal?: AbortSignal;
  logger?: Logger;
}

/** Raises `unsupported` for the point of a bare disk. */
export async function hostRequest(
  repository: Repository,
  point: Point,
  options: HostRequestOptions,
): Promise<RestoreRequest> {
  if (isHostPoint(point)) {
    throw new UserError(
      'unsupported',
      `the point ${point.id.slice(0, 12)} is of the host ${point.machine.host}, not of a machine; put it back with: prima host restore ${point.id.slice(0, 12)} --to-host HOST`,
    );
  }
  if (point.files.length === 0) {
    throw new UserError(
      'unsupported',
      `the point ${point.id.slice(0, 12)} is of the bare disk ${point.machine.name} and has no machine's configuration; restore it to a folder and create a machine with it`,
    );
  }
  const files: ConfigFile[] = [];
  for (const { name } of point.files) files.push({ name, bytes: await repository.readFile(point, name) });
  const isOwn = files.some(({ name }) => /\.vmx$/i.test(name));
  const foreign = isOwn ? undefined : files.find(({ name }) => /\.(?:ovf|xml)$/i.test(name));
  return {
    id: point.machine.id,
    name: options.as ?? point.machine.name,
    files: files.filter((file) => file !== foreign),
    ...(foreign && { foreign }),
    disks: point.disks.map(({ slot = '', name, size, format = 'raw' }) => {
      const lun = options.found?.get(name);
      return { slot, name, size, format, ...(lun && { lun }) };
    }),
    memory: point.memory && { size: point.memory.size },
    pool: options.pool,
    signal: options.signal,
    logger: options.logger,
  };
}
