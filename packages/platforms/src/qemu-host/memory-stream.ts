/**
 * A machine's memory and device state as a file: QEMU's migration stream (docs/devel/migration.rst). QEMU writes
 * the file itself, through a descriptor that it is given: nothing depends on us living until the end.
 *
 * Two ways to take it:
 * - suspending: an ordinary migration, told that it may stop the machine at once. When it fails QEMU lets the
 *   machine go on. The disks are inactive at the end, and the machine ends.
 * - of a machine that goes on: QEMU's `background-snapshot`. The machine is paused for the point in time, the
 *   device state is saved, it runs on, and pages are saved before they change (userfaultfd write protection).
 *   Disks stay active, so filters on them may stay; an ordinary migration refuses to end with a
 *   copy-before-write filter in place ("bdrv_inactivate_all() failed").
 *
 * A background snapshot must never fail on its way: QEMU 7.2 then leaves the pages protected, and the machine
 * hangs at the next write, monitors and all. So there is no peer that could go away, the file's
 * room is reserved before, and whoever undoes a backup waits for the snapshot's end.
 */
import { createReadStream } from 'node:fs';
import { type FileHandle, open, rm, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import {
  connectUnix,
  formatBytes,
  MiB,
  PrimaError,
  RemoteError,
  runProgram,
  systemClock,
  throwIfAborted,
  toPrimaError,
} from '@prima/base';
import type { QmpClient } from '@prima/qemu';
import { runNames } from './machine-folder.ts';
import { passFile } from './pass-file.ts';
import { isRefusal, stepTimeoutMs } from './qemu-blocks.ts';

/** Without a byte for this long, saving or loading is given up. */
const stallMs = 60_000;
/** Device state, and what else a stream has besides the guest's memory. */
const deviceStateBytes = 128 * MiB;
const fileName = 'prima-memory';

interface MigrationInfo {
  status?: string;
  'error-desc'?: string;
  ram?: { transferred: number; total: number };
}

/** For `migrate`, on the monitor that got the file. */
const memoryUri = `fd:${fileName}`;

/**
 * Makes the file for a machine's memory, mode 0600, with room for all of it, and gives it to QEMU through the
 * monitor at `monitor`, to which nobody may be connected. Raises `no-space`, `exists`, `unsupported`.
 */
export async function offerMemoryFile(monitor: string, path: string, memoryBytes: number): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await reserve(file, path, Math.ceil(memoryBytes * 1.01) + deviceStateBytes);
    await passFile(monitor, fileName, file);
  } catch (error) {
    await rm(path, { force: true });
    throw toPrimaError(error, `making ${path}`);
  } finally {
    await file.close();
  }
}

/** Room for `bytes`, the length staying 0; where the file system cannot reserve, it must at least be free. */
async function reserve(file: FileHandle, path: string, bytes: number): Promise<void> {
  try {
    await runProgram('fallocate', ['-n', '-l', String(bytes), path]);
    return;
  } catch (error) {
    const failure = toPrimaError(error, `reserving room for ${path}`);
    const unable = /not supported/i.test(failure.message);
    if (!unable && !/no space/i.test(failure.message)) throw failure;
    const { bavail, bsize } = await statfs(dirname(path));
    if (unable && bavail * bsize > bytes) return;
    await file.truncate(0);
    const message = `saving a machine's memory needs ${formatBytes(bytes)} in ${dirname(path)}, more than is free there`;
    throw new PrimaError('no-space', message, { cause: failure });
  }
}

/** The memory is all in the file: gives back the room that was not needed, and makes it durable. */
export async function finishMemoryFile(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.truncate((await file.stat()).size);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Which capabilities a migration of ours changes; all off otherwise. */
export async function setBackgroundSnapshot(qmp: QmpClient, state: boolean): Promise<void> {
  const capabilities = [{ capability: 'background-snapshot', state }];
  await qmp.execute('migrate-set-capabilities', { capabilities }, { timeoutMs: stepTimeoutMs });
}

/**
 * Starts writing, as fast as the file takes it.
 * @param downtimeMs an ordinary migration stops the machine when the rest takes no longer than this
 */
export async function startMigration(qmp: QmpClient, downtimeMs: number): Promise<void> {
  const parameters = { 'max-bandwidth': 2 ** 40, 'downtime-limit': downtimeMs };
  await qmp.execute('migrate-set-parameters', parameters, { timeoutMs: stepTimeoutMs });
  await qmp.execute('migrate', { uri: memoryUri }, { timeoutMs: stepTimeoutMs });
}

/** QEMU's default, and its limit, for `downtime-limit`. */
export const usualDowntimeMs = 300;
export const longestDowntimeMs = 2_000_000;

/**
 * Until QEMU has written, or read, all. Raises `remote` when it failed, `timeout` when nothing has moved for a
 * minute, `cancelled`; it may be under way then.
 */
export async function migrationDone(
  qmp: QmpClient,
  options: { moved?: () => number; signal?: AbortSignal } = {},
): Promise<void> {
  const { moved, signal } = options;
  let last = { moved: -1, at: systemClock.monotonic() };
  for (;;) {
    throwIfAborted(signal, 'saving the memory of a machine');
    const info = await checkMigration(qmp);
    if (info.status === 'completed') return;
    const now = systemClock.monotonic();
    const bytes = moved ? moved() : (info.ram?.transferred ?? 0);
    if (bytes !== last.moved) last = { moved: bytes, at: now };
    if (now - last.at > stallMs) {
      throw new RemoteError(`saving the memory stands still at ${last.moved} bytes`, { code: 'timeout' });
    }
    await systemClock.sleep(10, signal);
  }
}

/** How far it is. Raises `remote` when it has failed. */
export async function checkMigration(qmp: QmpClient): Promise<MigrationInfo> {
  const info = await qmp.execute<MigrationInfo>('query-migrate', undefined, { timeoutMs: stallMs });
  if (info.status === 'failed' || info.status === 'cancelled') {
    throw new RemoteError(`QEMU gave up on the memory: ${info['error-desc'] ?? info.status}`);
  }
  return info;
}

/**
 * Waits for the end of a background snapshot that may be under way, whatever becomes of it, and switches off what
 * it needed. Answers whether there was one. Raises `timeout` when it does not get on.
 */
export async function settleSnapshot(qmp: QmpClient): Promise<boolean> {
  const info = await qmp.execute<MigrationInfo>('query-migrate', undefined, { timeoutMs: stallMs });
  const active = !['none', 'completed', 'failed', 'cancelled'].includes(info.status ?? 'none');
  if (active) await migrationDone(qmp);
  await setBackgroundSnapshot(qmp, false);
  await dropMemoryFile(qmp);
  return active;
}

/** Takes the file back that QEMU was given and did not use. */
async function dropMemoryFile(qmp: QmpClient): Promise<void> {
  try {
    await qmp.execute('closefd', { fdname: fileName }, { timeoutMs: stepTimeoutMs });
  } catch (error) {
    if (!isRefusal(error)) throw error; // it was used: nothing of that name is there
  }
}

/**
 * Feeds the stream in `path` to a machine that was started with `-incoming defer`; it is paused afterwards,
 * exactly where it was. Raises `remote` with QEMU's reason: the stream fits only the same machine type, processor,
 * devices and memory.
 */
export async function loadMemory(
  qmp: QmpClient,
  runFolder: string,
  path: string,
  signal?: AbortSignal,
): Promise<void> {
  const socketPath = join(runFolder, runNames.memory);
  await rm(socketPath, { force: true });
  await qmp.execute('migrate-incoming', { uri: `unix:${runNames.memory}` });
  const socket = await connectUnix(socketPath, { signal });
  try {
    let moved = 0;
    const file = createReadStream(path, { highWaterMark: 1 << 20 });
    file.on('data', (piece) => {
      moved += piece.length;
    });
    // the file may be padded with zeros: QEMU closes at its own end of the stream, and that is no failure
    const sent = pipeline(file, socket, { signal }).catch((error: unknown) => error);
    await loaded(qmp, () => moved, signal);
    file.destroy();
    socket.destroy();
    await sent;
  } finally {
    socket.destroy();
    await rm(socketPath, { force: true });
  }
}

async function loaded(qmp: QmpClient, moved: () => number, signal?: AbortSignal): Promise<void> {
  try {
    await migrationDone(qmp, { moved, signal });
  } catch (error) {
    const failure = toPrimaError(error, 'loading the memory of a machine');
    if (failure.code !== 'remote') throw failure;
    throw new PrimaError('remote', `loading the saved memory: ${failure.message}`, { cause: failure });
  }
}
