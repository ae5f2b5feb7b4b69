/**
 * A machine's memory and device state as a file: QEMU's migration stream (docs/devel/migration.rst), sent to or
 * read from a unix socket in the run folder, because QEMU 7.2 cannot write it to a file without a shell.
 *
 * Two ways to take it:
 * - suspending: the machine is stopped, all is saved, it ends. The disks are inactive at the end.
 * - of a machine that goes on: QEMU's `background-snapshot`. The machine is paused for the point in time, the
 *   device state is saved, it runs on, and pages are saved before they change (userfaultfd write protection).
 *   Disks stay active, so filters on them may stay; an ordinary migration refuses to end with a
 *   copy-before-write filter in place ("bdrv_inactivate_all() failed").
 */
import { createReadStream } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { PrimaError, RemoteError, systemClock, throwIfAborted, toPrimaError, writeFully } from '@prima/base';
import { connectUnix, type QmpClient, withShortSocketPath } from '@prima/qemu';
import { runNames } from './machine-folder.ts';
import { stepTimeoutMs } from './qemu-blocks.ts';

/** Without a byte for this long, saving or loading is given up. */
const stallMs = 60_000;

interface MigrationInfo {
  status?: string;
  'error-desc'?: string;
  ram?: { transferred: number; total: number };
}

/** Takes the stream that QEMU sends to the run folder's memory socket into a new file, mode 0600. */
export interface MemoryReceiver {
  /** For `migrate`. */
  readonly uri: string;
  /** Bytes so far. Raises when they could not be written. */
  received(): number;
  /** All is in the file, durably. Raises when the stream broke. */
  finish(): Promise<void>;
  /** Closes the socket; the file stays. May be called again. */
  close(): Promise<void>;
}

export async function receiveMemory(runFolder: string, path: string): Promise<MemoryReceiver> {
  const socketPath = join(runFolder, runNames.memory);
  await rm(socketPath, { force: true });
  const file = await open(path, 'wx', 0o600);
  const server = createServer();
  const sockets = new Set<Socket>();
  let received = 0;
  let failure: PrimaError | undefined;
  const ended = Promise.withResolvers<void>();
  ended.promise.catch(() => undefined); // told by `finish`
  server.once('connection', (socket) => {
    sockets.add(socket);
    const save = async () => {
      for await (const piece of socket) {
        const bytes = piece as Buffer;
        await writeFully(file, [bytes]);
        received += bytes.length;
      }
    };
    save().then(ended.resolve, (error: unknown) => {
      failure = toPrimaError(error, `saving memory to ${path}`);
      ended.reject(failure);
    });
  });
  await listen(server, socketPath);
  let closed: Promise<void> | undefined;
  const close = async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
    await rm(socketPath, { force: true });
    await file.close();
  };
  return {
    uri: `unix:${runNames.memory}`,
    received: () => {
      if (failure) throw failure;
      return received;
    },
    finish: async () => {
      await ended.promise;
      await file.sync();
    },
    close: () => (closed ??= close()),
  };
}

async function listen(server: Server, path: string): Promise<void> {
  await withShortSocketPath(path, async (short) => {
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => reject(toPrimaError(error, `listening at ${path}`)));
      server.listen(short, resolve);
    });
  });
}

/** Which capabilities a migration of ours changes; all off otherwise. */
export async function setBackgroundSnapshot(qmp: QmpClient, state: boolean): Promise<void> {
  const capabilities = [{ capability: 'background-snapshot', state }];
  await qmp.execute('migrate-set-capabilities', { capabilities }, { timeoutMs: stepTimeoutMs });
}

/** Starts sending; with no limit on the speed, as the other end is a file of ours. */
export async function startMigration(qmp: QmpClient, uri: string): Promise<void> {
  await qmp.execute('migrate-set-parameters', { 'max-bandwidth': 2 ** 40 }, { timeoutMs: stepTimeoutMs });
  await qmp.execute('migrate', { uri }, { timeoutMs: stepTimeoutMs });
}

/**
 * Until QEMU has sent all. Raises `remote` when it failed, `timeout` when nothing has moved for a minute,
 * `cancelled`; the migration is still there then (`cancelMigration`).
 */
export async function migrationDone(
  qmp: QmpClient,
  moved: () => number,
  signal?: AbortSignal,
): Promise<void> {
  let last = { moved: -1, at: systemClock.monotonic() };
  for (;;) {
    throwIfAborted(signal, 'saving the memory of a machine');
    const now = systemClock.monotonic();
    if (moved() !== last.moved) last = { moved: moved(), at: now }; // first: it knows better why
    if ((await checkMigration(qmp)) === 'completed') return;
    if (now - last.at > stallMs) {
      throw new RemoteError(`saving the memory stands still at ${last.moved} bytes`, { code: 'timeout' });
    }
    await systemClock.sleep(10, signal);
  }
}

/** How far it is. Raises `remote` when it has failed. */
export async function checkMigration(qmp: QmpClient): Promise<string | undefined> {
  const info = await qmp.execute<MigrationInfo>('query-migrate', undefined, { timeoutMs: stallMs });
  if (info.status === 'failed' || info.status === 'cancelled') {
    throw new RemoteError(`QEMU gave up on the memory: ${info['error-desc'] ?? info.status}`);
  }
  return info.status;
}

/** Ends a migration that is under way, and switches off what we switched on. Answers whether one was. */
export async function cancelMigration(qmp: QmpClient): Promise<boolean> {
  const over = (status?: string) =>
    status === undefined || ['none', 'completed', 'failed', 'cancelled'].includes(status);
  const status = async () => (await qmp.execute<MigrationInfo>('query-migrate')).status;
  const active = !over(await status());
  if (active) {
    await qmp.execute('migrate_cancel');
    for (let waitedMs = 0; !over(await status()); waitedMs += 50) {
      if (waitedMs > stallMs)
        throw new RemoteError('QEMU does not end saving the memory', { code: 'timeout' });
      await systemClock.sleep(50);
    }
  }
  await setBackgroundSnapshot(qmp, false);
  return active;
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
    await migrationDone(qmp, moved, signal);
  } catch (error) {
    const failure = toPrimaError(error, 'loading the memory of a machine');
    if (failure.code !== 'remote') throw failure;
    throw new PrimaError('remote', `loading the saved memory: ${failure.message}`, { cause: failure });
  }
}
