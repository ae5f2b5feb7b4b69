/** Serves the disks of a point over NBD, read-only, or writable on a scratch file that ends with the export. */
import { randomBytes } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type Logger,
  PrimaError,
  silentLogger,
  temporaryPrefix,
  throwIfAborted,
  toPrimaError,
} from '@prima/base';
import { type BlockDevice, openRawFile, overlayDevice } from '@prima/block';
import { type NbdTarget, serveNbd, writeNbdUri } from '@prima/nbd';
import type { Point, PointDisk, Repository } from '@prima/repository';
import type { Journal, JournalEntry } from '../journal.ts';
import { DamageLog } from '../restore/damage-log.ts';
import { selectDisk } from '../restore/plan.ts';

export interface ExportOptions {
  /** Only this disk: its name, slot or number. Default: all, each under its name. */
  disk?: string;
  listen: NbdTarget;
  /** Writes go to a sparse file in `scratchFolder` and end with the export. */
  writable?: boolean;
  /** Serve zeros where the point cannot be read, instead of an I/O error; each disk's first such range is logged. */
  allowDamaged?: boolean;
  /** For the scratch files of a writable export. */
  scratchFolder: string;
  journal: Journal;
  signal?: AbortSignal;
  logger?: Logger;
}

/** A running export. */
export interface PointExport extends AsyncDisposable {
  /** One per disk. A single disk is the server's default export, too: its URI names none. */
  readonly uris: { disk: string; uri: string }[];
  /** Ends it: drops the clients, closes the disks, removes what was written. Again does nothing. */
  stop(): Promise<void>;
  /** Resolves when it has ended, however that came. */
  readonly ended: Promise<void>;
}

/**
 * Exports a point's disks until `stop` is called or the signal aborts; the point is pinned meanwhile. Raises
 * `not-found` for an unknown disk, `exists` or `busy` for an address in use.
 */
export async function exportPoint(
  repository: Repository,
  point: Point,
  options: ExportOptions,
): Promise<PointExport> {
  const { signal, logger = silentLogger } = options;
  const doing = `exporting ${point.machine.name} (${point.id.slice(0, 12)})`;
  throwIfAborted(signal, doing);
  const disks = options.disk === undefined ? point.disks : [selectDisk(point, options.disk)];
  if (disks.length === 0)
    throw new PrimaError('unsupported', `${doing}: the point has no disks; restore its files to a folder`);
  await using stack = new AsyncDisposableStack();
  const entry = options.writable ? await options.journal.begin(doing) : undefined;
  if (entry) stack.defer(() => entry.undo());
  const damage = new DamageLog(options.allowDamaged ?? false, logger);
  const devices = new Map<PointDisk, BlockDevice>();
  for (const disk of disks) {
    let device: BlockDevice = await repository.openDisk(point, disk.name, damage.opening(disk.name));
    stack.defer(() => device.close());
    if (entry) device = await onScratch(device, { disk, entry, folder: options.scratchFolder });
    devices.set(disk, device);
  }
  const single = disks.length === 1;
  const { writable = false } = options;
  const exports = [...devices].map(([{ name }, device]) => ({ name, device, writable }));
  const unnamed = single ? exports.map((entry) => ({ ...entry, name: '' })) : [];
  const server = await serveNbd({ listen: options.listen, exports: [...exports, ...unnamed], logger });
  stack.defer(() => server.close());
  const uris = disks.map(({ name }) => ({
    disk: name,
    uri: writeNbdUri({ target: server.address, exportName: single ? '' : name, tls: false }),
  }));
  return running(uris, stack.move(), { signal, logger, doing });
}

function running(
  uris: PointExport['uris'],
  stack: AsyncDisposableStack,
  { signal, logger, doing }: { signal?: AbortSignal; logger: Logger; doing: string },
): PointExport {
  const ended = Promise.withResolvers<void>();
  let stopping: Promise<void> | undefined;
  const stop = () => {
    signal?.removeEventListener('abort', onAbort);
    stopping ??= stack.disposeAsync().finally(() => ended.resolve());
    return stopping;
  };
  const onAbort = () => {
    stop().catch((error: unknown) => logger.error(toPrimaError(error, `ending: ${doing}`).message));
  };
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted) onAbort();
  return { uris, stop, ended: ended.promise, [Symbol.asyncDispose]: stop };
}

/** Writes to `device` go to a sparse file that only its owner can read; closing it closes both. */
async function onScratch(
  device: BlockDevice,
  { disk, entry, folder }: { disk: PointDisk; entry: JournalEntry; folder: string },
): Promise<BlockDevice> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, `${temporaryPrefix}${disk.name}-${randomBytes(6).toString('hex')}`);
  await entry.intend({ kind: 'temporary', path });
  const top = await openRawFile(path, { create: { size: disk.size } });
  // nobody needs its name: without one the kernel frees it when we end, however we end
  await rm(path);
  return overlayDevice(device, top);
}
