/** Sources without a machine: a disk file, a block device, an NBD export. Always cold, always read in full. */
import { createHash } from 'node:crypto';
import { stat, realpath } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, extname, join } from 'node:path';
import { formatBytes, PrimaError, systemErrorCode, toPrimaError, UserError } from '@prima/base';
import type { BlockDevice } from '@prima/block';
import type { NbdUri } from '@prima/nbd';
import type { OpenForBackupOptions } from '@prima/platforms';
import type { FoundLun } from '@prima/qemu';
import { openDiskFile } from '../disk/open-disk.ts';
import { acquireLock } from '../lock.ts';
import { isOpenForWriting } from './file-in-use.ts';
import type { BackupSource, SourceReading } from './source.ts';

export interface BareDiskOptions {
  /** Where lock files go, so that one disk is not backed up twice at once. */
  lockFolder: string;
  /** The format of a disk file, where its name and content do not tell. One of `diskFormats`. */
  format?: string;
  /** Folders in which a VMDK's extents and parents may be, besides its own. */
  allowed?: readonly string[];
}

/**
 * A disk file or block device. Its identity is the host's name and the file's real path, its name the file's
 * without its ending. Raises `not-found`, `permission`, `unsupported` for what is neither.
 */
export async function diskFileSource(path: string, options: BareDiskOptions): Promise<BackupSource> {
  const real = await realpath(path).catch((error: unknown) => {
    throw toPrimaError(error, `looking for the disk ${path}`);
  });
  const machine = { id: fileIdentity(real), name: basename(real, extname(real)) };
  return {
    machine,
    open: (request) =>
      openLocked(machine, request, { ...options, read: (signal) => openFile(real, { ...options, signal }) }),
  };
}

/** An NBD export; its identity is its address, its name the export's, or the socket's or host's. */
export function nbdSource(uri: NbdUri, text: string, options: BareDiskOptions): BackupSource {
  const { target, exportName } = uri;
  const place = 'socketPath' in target ? basename(target.socketPath) : target.host;
  const name = (exportName || place).replaceAll(/[^A-Za-z0-9._-]/g, '-');
  const machine = { id: fileIdentity(text), name };
  return {
    machine,
    open: (request) =>
      openLocked(machine, request, { ...options, read: (signal) => openExport(uri, text, signal) }),
  };
}

/** Of a disk file's path, or an export's address, on this computer. */
function fileIdentity(place: string): string {
  const hash = createHash('sha256').update(`${hostname()}\0${place}`);
  return `disk-${hash.digest('hex').slice(0, 24)}`;
}

/** The lock that a backup of the disk at `real` (symbolic links followed) holds, and whoever changes it. */
export function diskLockPath(lockFolder: string, real: string): string {
  return join(lockFolder, `${fileIdentity(real)}.lock`);
}

/** What is read, before it becomes a reading. */
interface OpenedDisk {
  device: BlockDevice;
  path: string;
  format: string;
  why: string[];
  /** Where it is a device, or stands for one. */
  lun?: FoundLun;
  verify?: () => Promise<string[]>;
}

async function openLocked(
  machine: BackupSource['machine'],
  request: OpenForBackupOptions,
  options: BareDiskOptions & { read: (signal?: AbortSignal) => Promise<OpenedDisk> },
): Promise<SourceReading> {
  const { mode, signal } = request;
  if (mode === 'hot' || mode === 'warm') {
    throw new UserError(
      'unsupported',
      `${machine.name} is a bare disk: there is no machine that could be backed up ${mode}; take cold, or name the machine (HOST/MACHINE)`,
    );
  }
  await using stack = new AsyncDisposableStack();
  stack.use(await acquireLock(join(options.lockFolder, `${machine.id}.lock`), `backing up ${machine.name}`));
  const opened = await options.read(signal);
  stack.defer(() => opened.device.close());
  const kept = stack.move();
  const { device, path, format, why, lun, verify } = opened;
  return {
    mode: 'cold',
    quiesced: false,
    why,
    pointInTime: Date.now(),
    disks: [
      {
        disk: { name: 'disk0', slot: '', path, format, size: device.size, ...(lun && { lun }) },
        device,
        whyFull: 'the changes of a bare disk are not tracked',
      },
    ],
    skipped: [],
    files: [],
    verify,
    succeed: async () => undefined,
    close: () => kept.disposeAsync(),
  };
}

async function openExport(uri: NbdUri, text: string, signal?: AbortSignal): Promise<OpenedDisk> {
  const { target, exportName, tls } = uri;
  const { connectNbd } = await import('@prima/nbd');
  const device = await connectNbd(target, { exportName, tls: tls ? {} : undefined, signal });
  const why = ['read over NBD; that nobody writes to it meanwhile is up to the server'];
  return { device, path: text, format: 'raw', why };
}

async function openFile(
  path: string,
  { format: told, allowed, signal }: BareDiskOptions & { signal?: AbortSignal },
): Promise<OpenedDisk> {
  const before = await identify(path);
  if (await isOpenForWriting(before)) {
    throw new PrimaError(
      'busy',
      `${path} is open for writing in a running QEMU; back its machine up instead (HOST/MACHINE or its folder), or stop it`,
      { details: { path } },
    );
  }
  const opened = await openDiskFile(path, { format: told, option: '--source-format', allowed, signal });
  const { device, format, reason, basedOn, files, vmdk } = opened;
  const why = [
    `read as ${format}: ${reason}`,
    ...basedOn.map((file) => `read with the file that it is based on, ${file.path}`),
    `that nothing writes to ${path} meanwhile can be told only of QEMU on this computer and by the file's time`,
  ];
  const lun = before.isFile ? opened.lun : await describeLun(path, why, signal);
  const others = files.filter((file) => file !== path);
  const identities = await Promise.all(others.map(async (file) => [file, await identify(file)] as const));
  const all = [[path, before] as const, ...identities];
  return {
    device,
    path,
    format,
    why: [...why, ...(vmdk?.notes ?? [])],
    lun,
    verify: async () => (await Promise.all(all.map((file) => verifyUnchanged(...file)))).flat(),
  };
}

/** Who a block device is, as far as it can be told: its backup does not need it. */
async function describeLun(device: string, why: string[], signal?: AbortSignal): Promise<FoundLun> {
  const { identitiesOf } = await import('@prima/qemu');
  try {
    return { device, identities: await identitiesOf(device, signal) };
  } catch (error) {
    const { code, message } = toPrimaError(error, `asking who ${device} is`);
    if (code === 'internal') throw error;
    why.push(`the point knows ${device} by its address alone: ${message}`);
    return { device, identities: [] };
  }
}

interface FileIdentity {
  dev: number;
  ino: number;
  size: number;
  mtimeMs: number;
  isFile: boolean;
}

async function identify(path: string): Promise<FileIdentity> {
  const found = await stat(path).catch((error: unknown) => {
    throw toPrimaError(error, `looking at the disk ${path}`);
  });
  const { dev, ino, size, mtimeMs } = found;
  if (!found.isFile() && !found.isBlockDevice()) {
    throw new UserError('unsupported', `${path} is neither a file nor a block device`);
  }
  return { dev, ino, size, mtimeMs, isFile: found.isFile() };
}

/** Raises `source-changed` when the file is no longer what was opened; a changed time is a warning. */
async function verifyUnchanged(path: string, before: FileIdentity): Promise<string[]> {
  let after: FileIdentity;
  try {
    after = await identify(path);
  } catch (error) {
    if (systemErrorCode(error) === undefined && !(error instanceof PrimaError)) throw error;
    throw changed(`${path} vanished while it was read`, error);
  }
  if (after.ino !== before.ino || after.dev !== before.dev) {
    throw changed(`${path} was replaced by another file while it was read`);
  }
  if (after.size < before.size) {
    throw changed(
      `${path} shrank from ${formatBytes(before.size)} to ${formatBytes(after.size)} while it was read`,
    );
  }
  if (!before.isFile || (after.mtimeMs === before.mtimeMs && after.size === before.size)) return [];
  return [
    `${path} was written to while it was read: the point may hold a mix of old and new; back the machine up instead, or stop what writes to it`,
  ];
}

function changed(what: string, cause?: unknown): PrimaError {
  return new PrimaError('source-changed', `${what}; nothing was committed`, { cause });
}
