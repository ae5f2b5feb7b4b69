/** What was used lately, bounded. */

/** Counts names; the ones that were not counted for longest are forgotten. */
export class RecentNames {
  readonly #limit: number;
  readonly #counts = new Map<string, number>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  has(name: string): boolean {
    return this.#counts.has(name);
  }

  /** How often the name has been added, this time included. */
  add(name: string): number {
    const count = (this.#counts.get(name) ?? 0) + 1;
    this.#counts.delete(name);
    this.#counts.set(name, count);
    const [oldest] = this.#counts.keys();
    if (this.#counts.size > this.#limit && oldest !== undefined) this.#counts.delete(oldest);
    return count;
  }
}

/** Keeps byte arrays of up to `limitBytes` together; those not used for longest go first. */
export class RecentBytes {
  readonly #limit: number;
  readonly #entries = new Map<string, Uint8Array>();
  #total = 0;

  constructor(limitBytes: number) {
    this.#limit = limitBytes;
  }

  get(name: string): Uint8Array | undefined {
    const bytes = this.#entries.get(name);
    if (bytes) this.set(name, bytes);
    return bytes;
  }

  set(name: string, bytes: Uint8Array): void {
    this.delete(name);
    if (bytes.length > this.#limit) return;
    this.#entries.set(name, bytes);
    this.#total += bytes.length;
    for (const oldest of this.#entries.keys()) {
      if (this.#total <= this.#limit) break;
      this.delete(oldest);
    }
  }

  delete(name: string): void {
    this.#total -= this.#entries.get(name)?.length ?? 0;
    this.#entries.delete(name);
  }
}
