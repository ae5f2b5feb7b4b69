/** What is written and not flushed yet, so that it can be lost as a power cut loses it: all of it, names apart. */
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';

interface Change {
  /** Takes the change back. */
  undo: () => void;
}

/** An open file by its inode, whoever else has it open. */
interface Tracked {
  /** Ours, so that the file is reached whatever its name is, or if it has none. */
  fd: number;
  changes: Change[];
}

export class Unsynced implements Disposable {
  readonly #files = new Map<string, Tracked>();

  /** Before `length` bytes are written at `position` through the file of `fd`; without a position: any of it. */
  willWrite(fd: number, position?: number, length?: number): void {
    const file = this.#file(fd);
    const { size } = fstatSync(file.fd);
    const start = Math.min(position ?? 0, size);
    const old = bytesAt(file.fd, start, Math.min(length ?? size, size - start));
    file.changes.push({
      undo: () => {
        writeSync(file.fd, old, 0, old.length, start);
        ftruncateSync(file.fd, size);
      },
    });
  }

  willTruncate(fd: number, length: number): void {
    const { size } = fstatSync(fd);
    this.willWrite(fd, length, Math.max(0, size - length));
  }

  /** All that is in the file was written just now. */
  wasEmpty(fd: number): void {
    const file = this.#file(fd);
    file.changes.push({ undo: () => ftruncateSync(file.fd, 0) });
  }

  /** Call it before a flush; what it gives says that the flush has succeeded. */
  willSync(fd: number): () => void {
    const changes = this.#files.get(keyOf(fd))?.changes ?? []; // a folder has none
    const count = changes.length;
    return () => void changes.splice(0, count);
  }

  /** The power is cut. */
  lose(): void {
    for (const { changes } of this.#files.values())
      for (const { undo } of changes.splice(0).toReversed()) undo();
  }

  [Symbol.dispose](): void {
    for (const { fd } of this.#files.values()) closeSync(fd);
    this.#files.clear();
  }

  #file(fd: number): Tracked {
    const key = keyOf(fd);
    const known = this.#files.get(key);
    if (known) return known;
    const file: Tracked = { fd: openSync(`/proc/self/fd/${fd}`, 'r+'), changes: [] };
    this.#files.set(key, file);
    return file;
  }
}

function keyOf(fd: number): string {
  const { dev, ino } = fstatSync(fd);
  return `${dev}:${ino}`;
}

function bytesAt(fd: number, position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let done = 0; done < length; ) {
    const read = readSync(fd, bytes, done, length - done, position + done);
    if (read === 0) throw new Error(`the file ends at ${position + done}`);
    done += read;
  }
  return bytes;
}
