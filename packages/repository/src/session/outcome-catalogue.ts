/**
 * What this machine has read of outcomes: they never change once they stand, so that each is fetched and opened
 * once and listing ten thousand restore points costs a listing. In memory, and where there is a folder in one
 * file in it, sealed like everything else. Losing the file costs time, nothing more.
 *
 * Signatures of what is in it are not verified again. They were when it was read, and the seal (AES-256-GCM, bound to the
 * repository and to this file's parts) says that somebody wrote the file who has the data keys: this home's user, for
 * nobody else may write there. Keys that only read could make such a seal, but not in another user's home; who can write
 * in the home can also replace what it trusts (`head.json`). What the catalogue knows never makes a point: which sessions
 * there are, and which are forgotten or locked, the store's listing says each time, and how many there must be the
 * log of roots. Checks, and who forgets a point, read the stored outcomes themselves.
 *
 * The file is a row of parts: length (4 bytes, little-endian), then a sealed blob, whose plain bytes are JSON:
 * an array of `Decided`. A part that does not open is left out.
 */
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Logger, removeOldTemporaries, replaceFile, systemErrorCode, toPrimaError } from '@prima/base';
import type { Opener, Sealer } from '../crypto/sealer.ts';
import { blobType } from '../format/blob.ts';
import type { Outcome } from './sessions.ts';

/** A session's outcome, and the SHA-256 of the stored object, hex. */
export interface Decided {
  outcome: Outcome;
  digest: string;
}

export interface CatalogueParts {
  repositoryId: string;
  /** Where the file is; undefined: only memory. */
  folder: string | undefined;
  sealer: Sealer;
  opener: Opener;
  logger: Logger;
}

/** Entries in one part of the file; a point has about a kilobyte of JSON. */
const partEntries = 2048;
/** The file is written anew when so many entries are new, or this share of them. */
const saveAtEntries = 64;
const saveAtShare = 0.05;

export class OutcomeCatalogue {
  readonly #parts: CatalogueParts;
  #entries: Promise<Map<string, Decided>> | undefined;
  #unsaved = 0;

  constructor(parts: CatalogueParts) {
    this.#parts = parts;
  }

  /** What is known, by session; the same map each time. */
  async entries(): Promise<ReadonlyMap<string, Decided>> {
    return await this.#load();
  }

  async add(decided: Decided): Promise<void> {
    const entries = await this.#load();
    if (!entries.has(decided.outcome.session)) this.#unsaved += 1;
    entries.set(decided.outcome.session, decided);
  }

  /** Drops what is not in `listed`, all sessions there are, and writes the file when it is worth it. */
  async tidy(listed: ReadonlySet<string>): Promise<void> {
    const entries = await this.#load();
    for (const id of entries.keys()) if (!listed.has(id)) entries.delete(id);
    if (this.#unsaved < Math.min(saveAtEntries, Math.max(1, entries.size * saveAtShare))) return;
    this.#unsaved = 0;
    await this.#save([...entries.values()]);
  }

  #load(): Promise<Map<string, Decided>> {
    this.#entries ??= this.#read();
    return this.#entries;
  }

  #path(): string | undefined {
    const { folder, repositoryId } = this.#parts;
    return folder && join(folder, `outcomes-${repositoryId}`);
  }

  async #read(): Promise<Map<string, Decided>> {
    const entries = new Map<string, Decided>();
    const path = this.#path();
    if (path === undefined) return entries;
    try {
      const file = await readFile(path);
      for (let at = 0, n = 0; at + 4 <= file.length; n += 1) {
        const end = at + 4 + file.readUInt32LE(at);
        for (const decided of this.#open(file.subarray(at + 4, end), n)) {
          entries.set(decided.outcome.session, decided);
        }
        at = end;
      }
    } catch (error) {
      // not made yet, or unreadable: everything is fetched again
      if (systemErrorCode(error) !== 'ENOENT') this.#tell('reading', error);
    }
    return entries;
  }

  #open(blob: Uint8Array, part: number): Decided[] {
    const where = `part ${part} of ${this.#path()}`;
    const wanted = { type: blobType.outcome, objectKey: partKey(part) };
    return JSON.parse(this.#parts.opener.open(blob, wanted, where).toString()) as Decided[];
  }

  async #save(all: readonly Decided[]): Promise<void> {
    const path = this.#path();
    if (path === undefined) return;
    const pieces: Uint8Array[] = [];
    for (let start = 0, n = 0; start < all.length; start += partEntries, n += 1) {
      const plain = Buffer.from(JSON.stringify(all.slice(start, start + partEntries)));
      const blob = this.#parts.sealer.sealObject(blobType.outcome, plain, partKey(n));
      const length = Buffer.alloc(4);
      length.writeUInt32LE(blob.length);
      pieces.push(length, blob);
    }
    try {
      await removeOldTemporaries(dirname(path));
      await replaceFile(path, Buffer.concat(pieces));
    } catch (error) {
      this.#tell('writing', error);
    }
  }

  #tell(doing: string, error: unknown): void {
    const { message } = toPrimaError(error, `${doing} the cache ${this.#path()}`);
    this.#parts.logger.debug(`${message}; outcomes are read from the repository instead`);
  }
}

/** No object of a repository has such a key, so that a part cannot be taken for one, nor one part for another. */
function partKey(part: number): string {
  return `local outcomes ${part}`;
}
