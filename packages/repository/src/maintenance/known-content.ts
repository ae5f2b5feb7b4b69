/**
 * What is known elsewhere of objects that are lost: in this computer's catalogue of outcomes, in the cache of a remote store, in other
 * copies of the storage. Everything is opened and verified as if it came from the repository itself.
 */
import type { ObjectStore } from '@prima/storage';
import type { Context } from '../context.ts';
import { noDigest, type ReadEntry } from '../session/log-chain.ts';
import type { Decided } from '../session/outcome-catalogue.ts';
import { readLogEntry } from '../session/log-entry.ts';
import { isUnreadable, readOutcome } from '../session/read-outcome.ts';

export class KnownContent {
  readonly #context: Context;
  readonly #copies: readonly Context[];

  /** @param context with the store as it is used otherwise: with its cache */
  constructor(context: Context, copies: readonly ObjectStore[]) {
    this.#context = context;
    this.#copies = copies.map((store) => ({ ...context, store }));
  }

  /**
   * The outcome of a session as it was.
   * @param digests those that the log knows; undefined: it does not know the session, and any is right that is signed
   */
  async outcome(id: string, digests: ReadonlySet<string> | undefined): Promise<Decided | undefined> {
    const fits = (found: Decided | undefined) =>
      found && found.outcome.state !== 'lost' && (digests?.has(found.digest) ?? true) ? found : undefined;
    const remembered = fits((await this.#context.catalogue.entries()).get(id));
    if (remembered) return remembered;
    for (const copy of [this.#context, ...this.#copies]) {
      const found = fits(await unlessUnreadable(readOutcome(copy, id)));
      if (found) return found;
    }
    return undefined;
  }

  /** The entry of the log as it was stored, `digest` being the SHA-256 that it must have. */
  async logEntry(seq: number, digest: string): Promise<(ReadEntry & { stored: Uint8Array }) | undefined> {
    if (digest === noDigest) return undefined;
    for (const copy of this.#copies) {
      const found = await unlessUnreadable(readLogEntry(copy, seq));
      if (found?.digest === digest) return found;
    }
    return undefined;
  }
}

async function unlessUnreadable<T>(read: Promise<T>): Promise<T | undefined> {
  try {
    return await read;
  } catch (error) {
    if (isUnreadable(error)) return undefined;
    throw error;
  }
}
