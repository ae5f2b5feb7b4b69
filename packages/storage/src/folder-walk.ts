/**
 * The objects below a folder in the order of their keys, for every store that keeps objects as files. Folders
 * are read ahead of the caller, several at once and in order: a store is often thousands of small folders.
 */
import { assert, throwIfAborted } from '@prima/base';
import { keyPattern, type ObjectInfo } from './object-store.ts';

export interface WalkOptions {
  signal?: AbortSignal | undefined;
  /** How many folders of one level are read ahead of the one that is given out. Default 16. */
  ahead?: number;
}

const defaultAhead = 16;

/** What a folder holds, as its reader found it. */
export type FolderEntry = { folder: string } | ObjectInfo;

/**
 * Reads one folder: its objects and folders, in any order. `folder` is a key's beginning up to and with a `/`,
 * or empty for the root; `wanted` says of a key, or of a folder with its `/`, whether the caller asks for it.
 * A folder that is not there is empty.
 */
export type FolderReader = (
  folder: string,
  wanted: (keyOrFolder: string) => boolean,
) => Promise<FolderEntry[]>;

/** The objects whose key begins with `prefix`, ascending. What vanishes meanwhile is left out. */
export async function* walkFolders(
  read: FolderReader,
  prefix: string,
  { signal, ahead = defaultAhead }: WalkOptions = {},
): AsyncGenerator<ObjectInfo> {
  const start = prefix.slice(0, prefix.lastIndexOf('/') + 1);
  const wanted = (name: string) =>
    (name.startsWith(prefix) || (name.endsWith('/') && prefix.startsWith(name))) &&
    keyPattern.test(name.endsWith('/') ? name.slice(0, -1) : name);
  const sorted = async (folder: string) => (await read(folder, wanted)).sort(byKey);
  const levels: Level[] = [];
  try {
    throwIfAborted(signal, `listing ${prefix}`);
    levels.push(new Level(await sorted(start), sorted, ahead));
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      const entry = level.take();
      if (entry === undefined) levels.pop();
      else if ('folder' in entry) levels.push(new Level(await level.nextFolder(), sorted, ahead));
      else yield entry;
      throwIfAborted(signal, `listing ${prefix}`);
    }
  } finally {
    await Promise.all(levels.map((level) => level.settled())); // nothing is under way when this ends
  }
}

/** One folder on the way down, with those of its folders that are being read ahead. */
class Level {
  readonly #entries: readonly FolderEntry[];
  readonly #read: (folder: string) => Promise<FolderEntry[]>;
  readonly #aheadLimit: number;
  #next = 0;
  readonly #ahead: Promise<FolderEntry[]>[] = [];
  #nextAhead = 0;

  constructor(
    entries: readonly FolderEntry[],
    read: (folder: string) => Promise<FolderEntry[]>,
    aheadLimit: number,
  ) {
    this.#entries = entries;
    this.#read = read;
    this.#aheadLimit = aheadLimit;
  }

  take(): FolderEntry | undefined {
    this.#readAhead();
    const entry = this.#entries[this.#next];
    this.#next += 1;
    return entry;
  }

  /** The entries of the folder that `take` has just given. */
  async nextFolder(): Promise<FolderEntry[]> {
    const reading = this.#ahead.shift();
    assert(reading, 'a folder is read before it is entered');
    return reading;
  }

  async settled(): Promise<void> {
    await Promise.allSettled(this.#ahead);
  }

  #readAhead(): void {
    for (
      ;
      this.#ahead.length < this.#aheadLimit && this.#nextAhead < this.#entries.length;
      this.#nextAhead += 1
    ) {
      const entry = this.#entries[this.#nextAhead];
      if (entry === undefined || !('folder' in entry)) continue;
      const reading = this.#read(entry.folder);
      reading.catch(() => undefined); // raised to who takes it; nobody does when the caller has stopped
      this.#ahead.push(reading);
    }
  }
}

/** Folders with their `/`, so that they sort as their keys do: the file `a-b` comes before what is in `a/`. */
function byKey(a: FolderEntry, b: FolderEntry): number {
  const left = 'folder' in a ? a.folder : a.key;
  const right = 'folder' in b ? b.folder : b.key;
  return left < right ? -1 : left > right ? 1 : 0;
}
