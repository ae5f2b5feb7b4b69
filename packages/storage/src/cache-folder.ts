/**
 * A bounded, disposable folder of entries that several processes share. Nothing in it is needed: an entry that is
 * gone, cut, damaged or swapped is none, and a folder that cannot be written is not written.
 *
 *   <folder>/usage          bytes in use at the last sweep, then what processes added since, a line each
 *   <folder>/<xx>/<name>    one entry; the name is the SHA-256 of what it is called, <xx> its first two digits
 *
 * | Offset | Size | Field |
 * |---|---|---|
 * | 0 | 8 | magic `PRIMACE1` |
 * | 8 | 32 | SHA-256 of the entry's name (32) and its bytes |
 * | 40 | … | the bytes |
 */
import { createHash, randomBytes } from 'node:crypto';
import { appendFile, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  type Clock,
  type Logger,
  MiB,
  Mutex,
  silentLogger,
  systemClock,
  temporaryPrefix,
  toPrimaError,
} from '@prima/base';
import { isAbsent, unlessAbsent } from './unless-absent.ts';

export interface CacheFolderOptions {
  /** Made with mode 0700 where it is not there. Several processes may use it, for several stores. */
  folder: string;
  /** What all entries together may take; a sweep goes down to nine tenths of it. Bytes. */
  limitBytes: number;
  clock?: Clock;
  /** Told once when the folder cannot be used. */
  logger?: Logger;
}

const magic = Buffer.from('PRIMACE1');
const headBytes = 40;
/** An entry counts as used when it is read, but its time is written this often at most. */
const touchMs = 10 * 60_000;
const leftoverMs = 3_600_000;
/** A folder that refused a write is left alone for this long. */
const pauseMs = 60_000;
/** Entries and bytes being written at once; what comes beyond that is not kept. */
const writesAtOnce = 64;
const bytesAtOnce = 64 * MiB;

export class CacheFolder {
  readonly #folder: string;
  readonly #limit: number;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #writing = new Set<Promise<void>>();
  readonly #sweeping = new Mutex();
  #writingBytes = 0;
  /** Bytes written and not yet told in `usage`. */
  #untold = 0;
  /** The first write tells at once, so that a folder without `usage` gets one. */
  #hasTold = false;
  #pausedUntil = -Infinity;

  constructor(options: CacheFolderOptions) {
    this.#folder = options.folder;
    this.#limit = options.limitBytes;
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
  }

  /** The entry's bytes, which belong to the caller, or undefined. Never fails. */
  async read(name: string): Promise<Uint8Array | undefined> {
    const { path, digest } = this.#place(name);
    try {
      const found = await unlessAbsent(this.#readFile(path));
      if (found === undefined) return undefined;
      if (isSound(found, digest)) return found.subarray(headBytes);
      await rm(path, { force: true });
    } catch (error) {
      this.#cannot('read', error);
    }
    return undefined;
  }

  /** Keeps a copy of `bytes` when there is room for it, in the background. Never fails. */
  write(name: string, bytes: Uint8Array): void {
    const isBusy = this.#writing.size >= writesAtOnce || this.#writingBytes + bytes.length > bytesAtOnce;
    const isLarge = bytes.length + headBytes > this.#limit / 8;
    if (isBusy || isLarge || this.#clock.monotonic() < this.#pausedUntil) return;
    this.#writingBytes += bytes.length;
    const { path, digest } = this.#place(name);
    const head = Buffer.concat([magic, digestOf(digest, bytes)]);
    const body = Buffer.concat([head, bytes]);
    const job = this.#store(path, body)
      .catch((error: unknown) => this.#cannot('write', error))
      .finally(() => {
        this.#writing.delete(job);
        this.#writingBytes -= bytes.length;
      });
    this.#writing.add(job);
  }

  /** Forgets the entry. Never fails. */
  async remove(name: string): Promise<void> {
    await rm(this.#place(name).path, { force: true }).catch((error: unknown) =>
      this.#cannot('remove', error),
    );
  }

  /** Waits for what is being written. */
  async close(): Promise<void> {
    await Promise.all(this.#writing);
    if (this.#untold > 0) await this.#tell().catch((error: unknown) => this.#cannot('write', error));
  }

  #place(name: string): { path: string; digest: Buffer } {
    const digest = createHash('sha256').update(name).digest();
    const hex = digest.toString('hex');
    return { path: join(this.#folder, hex.slice(0, 2), hex), digest };
  }

  async #readFile(path: string): Promise<Buffer> {
    await using handle = await open(path, 'r');
    const { mtimeMs } = await handle.stat();
    const bytes = await handle.readFile();
    const now = this.#clock.now();
    if (now - mtimeMs > touchMs) await handle.utimes(now / 1000, now / 1000);
    return bytes;
  }

  /** Without fsync: a crash may cut an entry, and its checksum tells. */
  async #store(path: string, body: Uint8Array): Promise<void> {
    const temporary = join(dirname(path), `${temporaryPrefix}${randomBytes(8).toString('hex')}`);
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      await writeFile(temporary, body, { flag: 'wx', mode: 0o600 });
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      if (isAbsent(error)) return; // somebody cleared the folder just now
      throw error;
    }
    this.#untold += body.length;
    if (!this.#hasTold || this.#untold >= this.#limit / 64) await this.#tell();
  }

  /** Adds this process's bytes to those of all, and sweeps when they are too many. */
  async #tell(): Promise<void> {
    const bytes = this.#untold;
    this.#untold = 0;
    this.#hasTold = true;
    const path = join(this.#folder, 'usage');
    await unlessAbsent(appendFile(path, `${bytes}\n`, { mode: 0o600 }));
    const text = (await unlessAbsent(readFile(path, 'latin1'))) ?? '';
    const lines = text.split('\n').filter((line) => line !== '');
    const used = lines.reduce((sum, line) => sum + Number(line), 0);
    // a file that does not add up, or was made just now, says nothing about what is there
    if (lines.length > 1 && lines.length < 10_000 && used <= this.#limit) return;
    await this.#sweeping.run(() => this.#sweep(path));
  }

  /** Removes what was not used for longest, and what dead processes left, and writes down what remains. */
  async #sweep(usagePath: string): Promise<void> {
    const entries: { path: string; size: number; used: number }[] = [];
    for (const shelf of (await unlessAbsent(readdir(this.#folder))) ?? []) {
      if (!/^[0-9a-f]{2}$/.test(shelf)) continue;
      for (const name of (await unlessAbsent(readdir(join(this.#folder, shelf)))) ?? []) {
        const path = join(this.#folder, shelf, name);
        const found = await unlessAbsent(stat(path));
        if (!found) continue;
        const isLeftover = name.startsWith(temporaryPrefix) && this.#clock.now() - found.mtimeMs > leftoverMs;
        if (isLeftover) await rm(path, { force: true });
        else entries.push({ path, size: found.size, used: found.mtimeMs });
      }
    }
    let total = entries.reduce((sum, { size }) => sum + size, 0);
    const wanted = total > this.#limit ? this.#limit * 0.9 : total;
    entries.sort((a, b) => a.used - b.used);
    for (const { path, size } of entries) {
      if (total <= wanted) break;
      await rm(path, { force: true });
      total -= size;
    }
    const temporary = join(this.#folder, `${temporaryPrefix}${randomBytes(8).toString('hex')}`);
    await unlessAbsent(writeFile(temporary, `${total}\n0\n`, { flag: 'wx', mode: 0o600 }));
    await unlessAbsent(rename(temporary, usagePath));
  }

  /** A cache that fails costs time; it is said once. */
  #cannot(verb: 'read' | 'write' | 'remove', error: unknown): void {
    const { message } = toPrimaError(error, `using the cache ${this.#folder}`);
    const level = this.#pausedUntil === -Infinity ? 'warn' : 'debug';
    this.#logger[level](`${message}; Prima goes on without it, only slower`, { verb });
    this.#pausedUntil = this.#clock.monotonic() + pauseMs;
  }
}

function digestOf(name: Uint8Array, bytes: Uint8Array): Buffer {
  return createHash('sha256').update(name).update(bytes).digest();
}

function isSound(entry: Buffer, name: Uint8Array): boolean {
  if (entry.length < headBytes || !entry.subarray(0, magic.length).equals(magic)) return false;
  return digestOf(name, entry.subarray(headBytes)).equals(entry.subarray(magic.length, headBytes));
}
