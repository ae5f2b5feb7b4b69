/**
 * Tables of a sparse extent in memory, as many as a bound allows: what is clean and was not used for the longest time
 * goes first, so that memory does not depend on the size of the disk.
 */

export interface TableCacheOptions<T> {
  /** Tables that are kept; dirty ones are kept beyond it, which their owner has to bound. */
  limit: number;
  /** Reads a table, and may give more that it came by. */
  load: (index: number, signal?: AbortSignal) => Promise<Map<number, T>>;
}

export class TableCache<T> {
  readonly #tables = new Map<number, T>();
  readonly #loading = new Map<number, Promise<T>>();
  readonly #pinned = new Set<number>();
  readonly #options: TableCacheOptions<T>;
  #last: { index: number; table: T } | undefined;

  constructor(options: TableCacheOptions<T>) {
    this.#options = options;
  }

  /** The table if it is here; most accesses are to the one of the access before. */
  peek(index: number): T | undefined {
    if (this.#last?.index === index) return this.#last.table;
    const table = this.#tables.get(index);
    if (table === undefined) return undefined;
    this.#tables.delete(index);
    this.#tables.set(index, table);
    this.#last = { index, table };
    return table;
  }

  async get(index: number): Promise<T> {
    const here = this.peek(index);
    if (here !== undefined) return here;
    // without the caller's signal: others may wait for the same table
    const running = this.#loading.get(index) ?? this.#load(index).finally(() => this.#loading.delete(index));
    this.#loading.set(index, running);
    return running;
  }

  async #load(index: number): Promise<T> {
    const found = await this.#options.load(index);
    for (const [other, table] of found) {
      if (other !== index && !this.#tables.has(other) && !this.#loading.has(other)) this.put(other, table);
    }
    const table = this.peek(index) ?? found.get(index);
    if (table === undefined) throw new Error(`table ${index} was not loaded`);
    this.put(index, table);
    return table;
  }

  put(index: number, table: T): void {
    this.#tables.delete(index);
    this.#tables.set(index, table);
    this.#last = { index, table };
    for (const oldest of this.#tables.keys()) {
      if (this.#tables.size - this.#pinned.size <= this.#options.limit) break;
      if (!this.#pinned.has(oldest) && oldest !== index) this.#tables.delete(oldest);
    }
  }

  /** Keeps a table, which is here, until it is released: it was changed and is not in the file yet. */
  pin(index: number): void {
    this.#pinned.add(index);
  }

  release(index: number): void {
    this.#pinned.delete(index);
  }
}
