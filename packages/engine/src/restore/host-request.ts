/** What a platform is asked for when a point becomes a machine there. */
import { type Logger, UserError } from '@prima/base';
import type { ConfigFile, RestoreRequest } from '@prima/platforms';
import type { Point, Repository } from '@prima/repository';
import { isHostPoint } from '../host-configuration/stored.ts';
import { type FoundLuns, plannedDisks } from './plan.ts';

export interface HostRequestOptions {
  /** The machine's name; default the one it had. */
  as?: string;
  pool?: string;
  format?: 'raw' | 'qcow2';
  networks?: Readonly<Record<string, string>>;
  replace?: boolean;
  /** Only this disk, by its name or number; with `replace`. */
  disk?: string;
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
  if (options.disk !== undefined && options.replace !== true) {
    throw new UserError(
      'usage',
      'one disk alone goes into a machine that is there: restore it with --replace',
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
    disks: plannedDisks(point, options).map(({ slot = '', name, size, format = 'raw' }) => {
      const lun = options.found?.get(name);
      return { slot, name, size, format, ...(lun && { lun }) };
    }),
    memory: options.disk === undefined ? point.memory && { size: point.memory.size } : undefined,
    pool: options.pool,
    format: options.format,
    networks: options.networks,
    replace: options.replace,
    onlyDisks: options.disk === undefined ? undefined : true,
    signal: options.signal,
    logger: options.logger,
  };
}
