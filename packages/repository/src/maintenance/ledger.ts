/** The verification ledger of a repository: when each pack was last read. Losing it costs nothing but time. */
import { PrimaError } from '@prima/base';
import { type Context, getSealed, putSealed } from '../context.ts';
import type { VerificationFigures } from '../contract.ts';
import { blobType } from '../format/blob.ts';
import { type LedgerEntry, ledgerEntries, parseLedger, writeLedger } from '../format/ledger.ts';
import { deleteUnlessKept, newSessionId, unlessGone } from '../session/sessions.ts';

const dayMs = 86_400_000;
const reportedDays = [1, 7, 30, 90];
/** With more objects than this, a check merges them. */
const maxObjects = 16;

export class Ledger {
  readonly #context: Context;
  readonly #newest = new Map<string, LedgerEntry>();
  readonly #added: LedgerEntry[] = [];
  /** Keys of the objects that were read. */
  readonly #keys: string[] = [];
  /** Objects that do not open. */
  readonly unreadable: { key: string; error: PrimaError }[] = [];

  private constructor(context: Context) {
    this.#context = context;
  }

  static async load(context: Context): Promise<Ledger> {
    const ledger = new Ledger(context);
    const keys: string[] = [];
    for await (const { key } of context.store.list('verified/', { namesOnly: true })) keys.push(key);
    for (const key of keys) await ledger.#read(key);
    return ledger;
  }

  /** When the pack was last read and found good, milliseconds since 1970; 0 for never. */
  verified(name: string): number {
    const entry = this.#newest.get(name);
    return entry?.isGood ? entry.time * 1000 : 0;
  }

  /** Notes that the pack was read now. */
  add(name: string, isGood: boolean): void {
    const entry = { name, time: Math.floor(this.#context.clock.now() / 1000), isGood };
    this.#newest.set(name, entry);
    this.#added.push(entry);
  }

  /** Stores what was added; packs that are not in `packs` are forgotten when objects are merged. */
  async save(packs: readonly { name: string }[]): Promise<void> {
    const isFull = this.#keys.length >= maxObjects || this.unreadable.length > 0;
    if (this.#added.length === 0 && !isFull) return;
    if (!isFull) {
      await this.#write(this.#added);
      return;
    }
    await this.#write(packs.flatMap(({ name }) => this.#newest.get(name) ?? []));
    for (const key of [...this.#keys, ...this.unreadable.map(({ key }) => key)]) {
      await deleteUnlessKept(this.#context, key);
    }
  }

  figures(packs: readonly { name: string }[]): VerificationFigures {
    const now = this.#context.clock.now();
    const times = packs.map(({ name }) => this.verified(name));
    const never = times.filter((time) => time === 0).length;
    const oldest = times.reduce((least, time) => (time > 0 && time < least ? time : least), Infinity);
    const within = reportedDays.map((days) => ({
      days,
      packs: times.filter((time) => time > 0 && now - time <= days * dayMs).length,
    }));
    const isKnown = Number.isFinite(oldest);
    return { never, within, ...(isKnown ? { oldest: new Date(oldest).toISOString() } : {}) };
  }

  async #read(key: string): Promise<void> {
    try {
      const read = await unlessGone(getSealed(this.#context, key, blobType.ledger));
      if (!read) return;
      const latest = Math.ceil(this.#context.clock.now() / 1000);
      for (const entry of parseLedger(read.plain, key)) {
        const known = this.#newest.get(entry.name);
        if (entry.time <= latest && (!known || known.time <= entry.time)) this.#newest.set(entry.name, entry);
      }
      this.#keys.push(key);
    } catch (error) {
      if (!(error instanceof PrimaError) || error.code !== 'integrity') throw error;
      this.unreadable.push({ key, error });
    }
  }

  async #write(entries: readonly LedgerEntry[]): Promise<void> {
    for (let at = 0; at < entries.length; at += ledgerEntries) {
      const key = `verified/${newSessionId(this.#context.clock.now())}`;
      const part = writeLedger(entries.slice(at, at + ledgerEntries));
      await putSealed(this.#context, key, blobType.ledger, part);
    }
  }
}
