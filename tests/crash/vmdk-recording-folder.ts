/**
 * Virtual disks in memory that remember every change, so that what a crash at any moment may have left can be made: of
 * what no flush has made durable, each sector of each write may be there or not.
 */
import type { Random, Range } from '@prima/base';
import type { DiskFolder, WritableDiskFile } from '@prima/formats';
import { type MemoryFolder, memoryFolder } from '../../packages/formats/src/vmdk/memory-folder.ts';

const sectorBytes = 512;

type Change = { path: string /** Length of the log when the call resolved. */; done?: number } & (
  | { kind: 'write'; offset: number; bytes: Uint8Array }
  | { kind: 'zero'; range: Range }
  | { kind: 'resize'; size: number }
  | { kind: 'replace'; bytes: Uint8Array }
  /** `begun`: length of the log when it was called; what had resolved by then is durable once the flush has. */
  | { kind: 'flush'; begun: number }
);

export interface Recording {
  folder: DiskFolder;
  /** In the order of the calls. */
  log: readonly Change[];
}

/** Calls take a while each, and end in any order. */
export function recordingFolder(inner: MemoryFolder, random: Random): Recording {
  const log: Change[] = [];
  const record = async (change: Change, call: () => Promise<void>): Promise<void> => {
    log.push(change);
    for (let turns = random.below(3); turns > 0; turns -= 1) await new Promise((next) => setImmediate(next));
    await call();
    change.done = log.length;
  };
  const recorded = (file: WritableDiskFile, path: string): WritableDiskFile => ({
    name: file.name,
    get size() {
      return file.size;
    },
    extents: (range, options) => file.extents(range, options),
    read: (offset, into, signal) => file.read(offset, into, signal),
    close: () => file.close(),
    write: (offset, from, signal) => {
      const bytes = Uint8Array.from(from);
      return record({ kind: 'write', path, offset, bytes }, () => file.write(offset, bytes, signal));
    },
    zero: (range, signal) => record({ kind: 'zero', path, range }, () => file.zero(range, signal)),
    resize: (size) => record({ kind: 'resize', path, size }, () => file.resize(size)),
    allocate: (range) => file.allocate(range),
    flush: () => record({ kind: 'flush', path, begun: log.length }, async () => undefined),
  });
  const folder: DiskFolder = {
    ...inner,
    openForWriting: async (path) => recorded(await inner.openForWriting(path), path),
    replace: (path, from) => {
      const bytes = Uint8Array.from(from);
      return record({ kind: 'replace', path, bytes }, () => inner.replace(path, bytes));
    },
  };
  return { folder, log };
}

/** What a crash after the first `length` calls may have left of `start`. */
export async function crashedFolder(
  start: ReadonlyMap<string, Uint8Array>,
  log: readonly Change[],
  { length, random }: { length: number; random: Random },
): Promise<MemoryFolder> {
  const folder = memoryFolder();
  for (const [path, bytes] of start) await folder.replace(path, bytes);
  const begun = log.slice(0, length);
  const hasResolved = (change: Change, by: number) => change.done !== undefined && change.done <= by;
  const flushed = new Map<string, number>();
  for (const change of begun) {
    if (change.kind === 'flush' && hasResolved(change, length)) flushed.set(change.path, change.begun);
  }
  // how much of the rest is there: most, half, or hardly anything
  const share = [7, 4, 1][random.below(3)] ?? 4;
  for (const change of begun) {
    // a replacement is durable when it has resolved
    const isDurable = hasResolved(
      change,
      change.kind === 'replace' ? length : (flushed.get(change.path) ?? -1),
    );
    for (const piece of isDurable ? [change] : piecesOf(change)) {
      if (isDurable || random.below(8) < share) await apply(folder, piece);
    }
  }
  return folder;
}

/** A disk writes whole sectors, each of them or not. */
function piecesOf(change: Change): Change[] {
  if (change.kind !== 'write') return [change];
  const { offset, bytes } = change;
  const pieces: Change[] = [];
  for (let at = 0; at < bytes.length; ) {
    const stop = Math.min(bytes.length, at + sectorBytes - ((offset + at) % sectorBytes));
    pieces.push({ ...change, offset: offset + at, bytes: bytes.subarray(at, stop) });
    at = stop;
  }
  return pieces;
}

async function apply(folder: MemoryFolder, change: Change): Promise<void> {
  if (change.kind === 'replace') await folder.replace(change.path, change.bytes);
  const file = folder.files.get(change.path);
  if (!file) return;
  if (change.kind === 'write') await file.write(change.offset, change.bytes);
  if (change.kind === 'resize') await file.resize(change.size);
  if (change.kind !== 'zero') return;
  const length = Math.min(change.range.length, file.size - change.range.offset);
  if (length > 0) await file.zero({ offset: change.range.offset, length });
}
