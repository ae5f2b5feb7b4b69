/** Whole files over SFTP: written and read in many pieces at once, folders listed. */
import { forEachBounded } from '@prima/base';
import type { FileEntryWithStats, Stats } from 'ssh2';
import { type SftpSession, SftpStatusError, Status } from './session.ts';

/** Every server takes this much in one request (draft-ietf-secsh-filexfer-02, section 3). */
const pieceBytes = 32 * 1024;
/** Pieces of one file under way. */
const piecesAtOnce = 64;

export interface FileCall {
  session: SftpSession;
  /** What is being done, for messages. */
  doing: string;
  signal?: AbortSignal;
  /** See `ObjectStore.paces`. */
  pace?: (bytes: number) => Promise<void>;
}

/** Runs `task` with the open file and closes it on every path. */
export async function withFile<T>(
  call: FileCall,
  file: { path: string; flags: 'r' | 'wx' },
  task: (handle: Buffer) => Promise<T>,
): Promise<T> {
  const { session, doing, signal } = call;
  const handle = await session.request<Buffer>(
    doing,
    (sftp, answer) => sftp.open(file.path, file.flags, { mode: 0o600 }, answer),
    signal,
  );
  const close = () => session.request<void>(doing, (sftp, answer) => sftp.close(handle, answer));
  let result: T;
  try {
    result = await task(handle);
  } catch (error) {
    if (!session.lost) await Promise.allSettled([close()]);
    throw error;
  }
  await close();
  return result;
}

/** Writes the pieces one after the other from the file's beginning; they may lie in shared memory. */
export async function writePieces(
  call: FileCall,
  handle: Buffer,
  body: readonly Uint8Array[],
): Promise<void> {
  const { session, doing, signal, pace } = call;
  await forEachBounded(
    cut(body),
    piecesAtOnce,
    async ({ bytes, offset }, inner) => {
      await pace?.(bytes.length);
      await session.request<void>(
        doing,
        (sftp, answer) => sftp.write(handle, bytes, 0, bytes.length, offset, answer),
        inner,
      );
    },
    signal,
  );
}

function* cut(body: readonly Uint8Array[]): Generator<{ bytes: Buffer; offset: number }> {
  let offset = 0;
  for (const piece of body) {
    const whole = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
    for (let at = 0; at < whole.length; at += pieceBytes) {
      const bytes = whole.subarray(at, at + pieceBytes);
      yield { bytes, offset };
      offset += bytes.length;
    }
  }
}

/** Fills `into` from `position` on; returns how many bytes the file had. */
export async function readPieces(
  call: FileCall,
  handle: Buffer,
  { into, position }: { into: Buffer; position: number },
): Promise<number> {
  let end = into.length;
  const offsets = Array.from(
    { length: Math.ceil(into.length / pieceBytes) },
    (_, index) => index * pieceBytes,
  );
  await forEachBounded(
    offsets,
    piecesAtOnce,
    async (start, signal) => {
      const limit = Math.min(start + pieceBytes, into.length);
      for (let at = start; at < limit; ) {
        const read = await readOnce({ ...call, signal }, handle, {
          into: into.subarray(at, limit),
          position: position + at,
        });
        if (read === 0) {
          end = Math.min(end, at);
          return;
        }
        await call.pace?.(read);
        at += read;
      }
    },
    call.signal,
  );
  return end;
}

function readOnce(
  { session, doing, signal }: FileCall,
  handle: Buffer,
  { into, position }: { into: Buffer; position: number },
): Promise<number> {
  return session.request<number>(
    doing,
    (sftp, answer) => sftp.read(handle, into, 0, into.length, position, (error, read) => answer(error, read)),
    signal,
  );
}

/** What is at `path`, links followed; undefined when nothing is. */
export async function statFile(
  { session, doing, signal }: FileCall,
  path: string,
): Promise<Stats | undefined> {
  return unlessMissing(session.request<Stats>(doing, (sftp, answer) => sftp.stat(path, answer), signal));
}

/** The entries of a folder, without `.` and `..`; undefined when it is not there. Two requests are ahead. */
export async function readFolder(call: FileCall, path: string): Promise<FileEntryWithStats[] | undefined> {
  const { session, doing, signal } = call;
  const handle = await unlessMissing(
    session.request<Buffer>(doing, (sftp, answer) => sftp.opendir(path, answer), signal),
  );
  if (handle === undefined) return undefined;
  const entries: FileEntryWithStats[] = [];
  const next = async () => {
    try {
      const list = await session.request<FileEntryWithStats[]>(
        doing,
        (sftp, answer) => sftp.readdir(handle, answer),
        signal,
      );
      entries.push(...list);
      return true;
    } catch (error) {
      if (error instanceof SftpStatusError && error.status === Status.EOF) return false;
      throw error;
    }
  };
  try {
    while ((await Promise.all([next(), next()])).every((more) => more));
    return entries;
  } finally {
    if (!session.lost)
      await Promise.allSettled([session.request<void>(doing, (sftp, answer) => sftp.close(handle, answer))]);
  }
}

/** The result, or undefined where the server says that there is no such file. */
export async function unlessMissing<T>(result: Promise<T>): Promise<T | undefined> {
  try {
    return await result;
  } catch (error) {
    if (error instanceof SftpStatusError && error.status === Status.NO_SUCH_FILE) return undefined;
    throw error;
  }
}

/** Removes a folder with everything in it; links are removed, not followed. */
export async function removeTree(call: FileCall, path: string): Promise<void> {
  const { session, doing, signal } = call;
  const entries = await readFolder(call, path);
  if (entries === undefined) return;
  await forEachBounded(entries, 8, async ({ filename, attrs }) => {
    const inside = `${path}/${filename}`;
    if (attrs.isDirectory()) await removeTree(call, inside);
    else
      await unlessMissing(
        session.request<void>(doing, (sftp, answer) => sftp.unlink(inside, answer), signal),
      );
  });
  await unlessMissing(session.request<void>(doing, (sftp, answer) => sftp.rmdir(path, answer), signal));
}
