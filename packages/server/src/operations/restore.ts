/** Operations that bring points back: to a folder, to a host, as an NBD export. */
import { resolve } from 'node:path';
import type {
  ExportHandle,
  ExportRequest,
  PrimaApi,
  RestoreResult,
  RestoreToDeviceRequest,
  RestoreToPackageRequest,
} from '@prima/api';
import { UserError } from '@prima/base';
import {
  exportPoint,
  packageFormats,
  restoreToDevice,
  restoreToFolder,
  restoreToHost,
  restoreToPackage,
} from '@prima/engine';
import type { NbdTarget } from '@prima/nbd';
import type { Call, Context } from '../context.ts';
import { machineDto, pointDto } from '../dto.ts';
import { namedPoint } from './points.ts';

export type RestoreOperations = Pick<
  PrimaApi,
  'restoreToFolder' | 'restoreToPackage' | 'restoreToHost' | 'restoreToDevice' | 'export'
>;

const formats = ['raw', 'qcow2', 'vmdk'];

export function restoreOperations(context: Context): RestoreOperations {
  return {
    restoreToFolder: (request, options) =>
      context.run(options, async ({ signal, logger, onProgress }) => {
        const started = performance.now();
        const { format, disk, force, folder, allowDamaged, luns } = request;
        if (folder === '') throw new UserError('usage', 'no folder is named to restore to');
        if (format !== undefined && !formats.includes(format)) {
          throw new UserError(
            'usage',
            `"${format}" is not a format to restore to; write ${formats.join(', ')}`,
          );
        }
        const repository = await context.repository();
        const journal = await context.recover(logger);
        const point = await namedPoint(repository, request.point);
        const restored = await restoreToFolder(repository, point, resolve(folder), {
          format,
          disk,
          force,
          allowDamaged,
          luns,
          journal,
          signal,
          logger,
          onProgress,
        });
        return { point: pointDto(point), ...restored, elapsedMs: performance.now() - started };
      }),
    restoreToPackage: (request, options) => context.run(options, (call) => toPackage(context, request, call)),
    restoreToHost: (request, options) =>
      context.run(options, async ({ signal, logger, onProgress }): Promise<RestoreResult> => {
        const started = performance.now();
        const repository = await context.repository();
        const journal = await context.recover(logger);
        const point = await namedPoint(repository, request.point);
        const platform = await context.platform(request.host);
        const { point: _point, host: _host, ...how } = request;
        const work = { ...how, journal, signal, logger, onProgress };
        const { machine, files, bytesRead, bytesWritten, damaged } = await restoreToHost(
          repository,
          point,
          platform,
          work,
        );
        return {
          point: pointDto(point),
          machine: machineDto(machine),
          files,
          bytesRead,
          bytesWritten,
          damaged,
          elapsedMs: performance.now() - started,
        };
      }),
    restoreToDevice: (request, options) => context.run(options, (call) => toDevice(context, request, call)),
    export: (request, options) => startExport(context, request, options),
  };
}

async function toDevice(
  context: Context,
  { point: name, device, ...request }: RestoreToDeviceRequest,
  { signal, logger, onProgress }: Call,
): Promise<RestoreResult> {
  const started = performance.now();
  const repository = await context.repository();
  const point = await namedPoint(repository, name);
  const restored = await restoreToDevice(repository, point, device, {
    ...request,
    signal,
    logger,
    onProgress,
  });
  return { point: pointDto(point), ...restored, elapsedMs: performance.now() - started };
}

async function toPackage(
  context: Context,
  { point: name, path, format, ...request }: RestoreToPackageRequest,
  { signal, logger, onProgress }: Call,
): Promise<RestoreResult> {
  const started = performance.now();
  if (!packageFormats.includes(format)) {
    throw new UserError('usage', `"${format}" is not a package; write ${packageFormats.join(' or ')}`);
  }
  const repository = await context.repository();
  const journal = await context.recover(logger);
  const point = await namedPoint(repository, name);
  const work = { ...request, format, journal, signal, logger, onProgress };
  const { notCarried, ...restored } = await restoreToPackage(repository, point, resolve(path), work);
  return {
    point: pointDto(point),
    ...restored,
    notCarried: notCarried.map((loss) => ({ when: 'writing' as const, ...loss })),
    elapsedMs: performance.now() - started,
  };
}

/** Lives on after the call: it ends with `stop`, the signal, or the application. */
async function startExport(
  context: Context,
  request: ExportRequest,
  options: Parameters<PrimaApi['export']>[1],
): Promise<ExportHandle> {
  const ready = Promise.withResolvers<ExportHandle>();
  const served = context.run(options, async (call) => {
    const running = await openExport(context, request, call);
    ready.resolve({ uris: running.uris, stop: () => running.stop() });
    await running.ended;
  });
  served.catch((error: unknown) => ready.reject(error));
  return ready.promise;
}

async function openExport(context: Context, request: ExportRequest, { signal, logger }: Call) {
  const listen = listenTarget(request);
  const repository = await context.repository();
  const journal = await context.recover(logger);
  const point = await namedPoint(repository, request.point);
  const { disk, writable, allowDamaged } = request;
  const scratchFolder = context.home.exports;
  return exportPoint(repository, point, {
    disk,
    writable,
    allowDamaged,
    listen,
    scratchFolder,
    journal,
    signal,
    logger,
  });
}

/** Exactly one of a socket's path and ADDR:PORT. Raises `usage`. */
function listenTarget({ socket, listen }: ExportRequest): NbdTarget {
  if ((socket === undefined) === (listen === undefined)) {
    throw new UserError(
      'usage',
      'an export needs either a socket (--socket PATH) or an address (--listen ADDR:PORT)',
    );
  }
  if (socket !== undefined) return { socketPath: resolve(socket) };
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s]+)):(\d{1,5})$/.exec(listen ?? '');
  const port = Number(match?.[3]);
  if (!match || port > 65_535) {
    throw new UserError('usage', `"${listen}" is not an address; write 127.0.0.1:10809 or [::1]:10809`);
  }
  return { host: match[1] ?? match[2] ?? '', port };
}
