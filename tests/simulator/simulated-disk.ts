/**
 * A file system below a store, as LocalStore uses it (packages/storage/src/local-store.ts, packages/base/src/durable-file.ts):
 * the bytes of a file are synced before its name is linked; then others see it; and it is durable only when its
 * folder was synced, too. A power loss takes away names that were not synced.
 *
 * Not modelled: the making of folders, which LocalStore syncs before it puts anything into them.
 */
import type { Random } from '@prima/base';

export interface StoredObject {
  bytes: Uint8Array;
  modified: number;
}

/** A change of a folder that a power loss may take back. */
interface NameChange {
  key: string;
  /** Undefined: the name was removed. */
  object: StoredObject | undefined;
}

export interface DiskOptions {
  /**
   * The file system keeps the order of changes, as those with one journal do (ext4, XFS): what is lost is the end of it.
   * Otherwise any change that was not synced by its own folder may be lost alone. Default true.
   */
  isOrdered?: boolean;
  /** Bytes are never synced: of what was linked in the last moments, a part may be there after a power loss. */
  linksBeforeSync?: boolean;
  /** Nothing is synced: names last only when the journal happens to be written. */
  ignoresSync?: boolean;
}

export class SimulatedDisk {
  readonly #options: DiskOptions;
  #names = new Map<string, StoredObject>();
  #durable = new Map<string, StoredObject>();
  #journal: NameChange[] = [];

  /** @param base what is there, durably, at the beginning; it is not changed */
  constructor(options: DiskOptions = {}, base?: SimulatedDisk) {
    this.#options = options;
    if (base) {
      this.#names = new Map(base.#names);
      this.#durable = new Map(base.#names);
    }
  }

  get isOrdered(): boolean {
    return this.#options.isOrdered !== false;
  }

  get(key: string): StoredObject | undefined {
    return this.#names.get(key);
  }

  /** Keys that begin with `prefix` and come after `after`, ascending. */
  keys(prefix: string, after = ''): string[] {
    return [...this.#names.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
  }

  /** Gives a name to bytes; false when it is taken. Not durable yet. */
  link(key: string, object: StoredObject): boolean {
    if (this.#names.has(key)) return false;
    this.#names.set(key, object);
    this.#journal.push({ key, object });
    return true;
  }

  unlink(key: string): void {
    if (this.#names.delete(key)) this.#journal.push({ key, object: undefined });
  }

  /** Makes the names in the folder of `key` durable, and where the order is kept, all that was done before. */
  syncFolder(key: string): void {
    if (this.#options.ignoresSync) return;
    const folder = folderOf(key);
    const isSynced = (change: NameChange) => this.isOrdered || folderOf(change.key) === folder;
    for (const change of this.#journal) if (isSynced(change)) this.#makeDurable(change);
    this.#journal = this.#journal.filter((change) => !isSynced(change));
  }

  /** What is left after a power loss at this moment; `random` says how much had reached the disk by itself. */
  losePower(random: Random, now: number): void {
    const written = random.below(this.#journal.length + 1);
    for (const [index, change] of this.#journal.entries()) {
      const isKept = this.#options.isOrdered !== false ? index < written : random.below(2) === 0;
      if (isKept) this.#makeDurable(change);
    }
    this.#journal = [];
    if (this.#options.linksBeforeSync) this.#tear(random, now);
    this.#names = new Map(this.#durable);
  }

  /** The system writes what it is not asked to sync half a minute later. */
  #tear(random: Random, now: number): void {
    for (const [key, object] of this.#durable) {
      if (now - object.modified > 30_000 || random.below(2) === 0) continue;
      const bytes = object.bytes.subarray(0, random.below(object.bytes.length + 1));
      this.#durable.set(key, { ...object, bytes });
    }
  }

  #makeDurable({ key, object }: NameChange): void {
    if (object) this.#durable.set(key, object);
    else this.#durable.delete(key);
  }
}

function folderOf(key: string): string {
  return key.slice(0, key.lastIndexOf('/') + 1);
}
