/**
 * The log of roots: which restore points there must be. See "Log of roots" of the format. One object for each open
 * repository: it remembers how far it has read, and compares with what this installation saw before.
 */
import { IntegrityError, Mutex, PrimaError, RemoteError, Semaphore, toPrimaError } from '@prima/base';
import { type Context, putSigned } from '../context.ts';
import type { SeenHead, Trust } from '../contract.ts';
import { blobType } from '../format/blob.ts';
import {
  type Chain,
  chainOf,
  compare,
  emptyHead,
  follow,
  headAfter,
  logKey,
  type LogEntry,
  type LogHead,
  type LogRoot,
  type LogSlots,
  type LostRun,
  missingEntry,
  pointsBy,
  type ReadEntry,
  rootsOf,
} from './log-chain.ts';
import { readLogEntry } from './log-entry.ts';
import { digestOf } from './sessions.ts';

export interface WholeLog {
  entries: LogEntry[];
  /** How many restore points there should be. */
  points: number;
  /** Entries that are lost, and for which a repair stands. */
  runs: readonly LostRun[];
  /** Why it is not the log, or the continuation of the log, that this installation has seen before. */
  fault: string | undefined;
}

/** What is in the log, whatever it is worth. */
export interface LogSurvey {
  slots: LogSlots;
  seen: SeenHead | undefined;
}

type NewEntry = Required<Pick<LogEntry, 'session' | 'outcome'>> & { event: 'committed' | 'forgotten' };

const maxRaces = 1000;
const readAtOnce = 16;
/** So many entries may be missing in one place: a number far beyond the others is an invention. */
const maxGap = 1000;

const nameOf = ({ event, session }: LogRoot) => `${event} ${session}`;

export class RootLog {
  readonly #contextOf: () => Context;
  readonly #trust: Trust | undefined;
  readonly #turn = new Mutex();
  /** Events of the entries that were read or written here. */
  readonly #known = new Set<string>();
  #head: LogHead | undefined;
  #fault: string | undefined;
  #isKeySetOlder = false;
  #remembered = '';

  /** @param contextOf called later: the context has this log as a part */
  constructor(contextOf: () => Context, trust: Trust | undefined) {
    this.#contextOf = contextOf;
    this.#trust = trust;
  }

  /** How many restore points there should be at the least, as of the last look; undefined when it is not known. */
  get points(): number | undefined {
    return this.#fault === undefined ? this.#head?.points : undefined;
  }

  /**
   * Reads what was appended since the last look and verifies it, and at the first look that the newest entry which
   * this installation has seen is still there: two requests when there is nothing new.
   * @returns what is wrong with the log, if anything is; failures of the store are raised
   */
  async inspect(): Promise<string | undefined> {
    return await this.#turn.run(async () => {
      try {
        await this.#follow();
      } catch (error) {
        if (!isDamage(error)) throw error;
        this.#fault ??= error.message;
      }
      return this.#fault;
    });
  }

  /** Raises `refused` when the log is not what this installation has seen before. */
  async assertSound(doing: string): Promise<void> {
    const fault = await this.inspect();
    if (fault !== undefined) throw refusal(doing, fault);
  }

  /** True when the newest key set is older than one that this installation has seen: its data key may be known to others. */
  get isKeySetOlder(): boolean {
    return this.#isKeySetOlder;
  }

  /**
   * Appends an entry; when somebody else takes the number, tries the next. Does nothing when somebody has logged the same
   * since the last look, which the caller took before it made what is logged. Raises `integrity` when the log's end is damaged.
   * @returns the key of the entry; undefined when it is somebody else's
   */
  async append(event: NewEntry): Promise<string | undefined> {
    return await this.#appending(async (head) => {
      if (this.#known.has(nameOf(event))) return { key: undefined };
      const points = head.points + pointsBy(event.event);
      return (await this.#put(head, { ...event, points })) ? { key: logKey(head.seq + 1) } : undefined;
    });
  }

  /** Says in the log who signs from now on, unless it is said already. */
  async appendSigner(): Promise<void> {
    await this.#appending(async () => ({ key: undefined }));
  }

  /**
   * Creates the entry after `head`, the end of a log for whose lost entries it stands. False when somebody else has
   * appended meanwhile.
   */
  async appendRepair(
    head: LogHead,
    repair: Required<Pick<LogEntry, 'points' | 'lost' | 'roots'>>,
  ): Promise<boolean> {
    return await this.#turn.run(() => this.#put(head, { event: 'repaired', ...repair }));
  }

  /** Reads the whole log and checks its chain and signatures. Raises `integrity` at a gap or a broken link. */
  async readAll(): Promise<WholeLog> {
    return await this.#turn.run(async () => {
      const { slots, chain } = await this.#readWhole();
      const seen = await this.#seen();
      if (seen) this.#fault = this.#olderKeySet(seen) ?? compare(seen, slots, chain.runs);
      this.#head = chain.head;
      await this.#remember();
      const { entries, runs, head } = chain;
      return { entries, runs, points: head.points, fault: this.#fault };
    });
  }

  /** What is there, whether it is a log or not, and what this installation has seen of it. */
  async survey(): Promise<LogSurvey> {
    return await this.#turn.run(async () => ({ slots: await this.#slots(), seen: await this.#seen() }));
  }

  /** Takes the repository as it is for the newest state from now on. Raises `integrity` when the log itself is broken. */
  async accept(): Promise<void> {
    await this.#turn.run(async () => {
      const { head } = (await this.#readWhole()).chain;
      this.#head = head;
      this.#fault = undefined;
      this.#isKeySetOlder = false;
      await this.#trust?.save(this.#context.id, this.#seenOf(head));
    });
  }

  get #context(): Context {
    return this.#contextOf();
  }

  get #signers(): readonly string[] {
    return this.#context.keyring.keySet.signers;
  }

  async #follow(): Promise<void> {
    this.#head ??= await this.#begin();
    await this.#advance(this.#head);
    await this.#remember();
  }

  /** Where reading begins: at the entry that was seen last or, without one, at the last there is. */
  async #begin(): Promise<LogHead> {
    const seen = await this.#seen();
    if (seen) this.#fault ??= this.#olderKeySet(seen);
    if (!seen) return await this.#last();
    if (seen.seq === 0) return emptyHead(this.#signers);
    const found = await this.#readSeen(seen);
    if (found?.digest === seen.digest) return headAfter(seen, found);
    const { slots, chain } = await this.#readWhole();
    this.#fault ??= compare(seen, slots, chain.runs);
    return chain.head;
  }

  /**
   * The entry that was seen; where it seems to be gone, after the time that the store may need to show it. Undefined also
   * where it is damaged: then a repair may stand for it.
   */
  async #readSeen(seen: SeenHead): Promise<ReadEntry | undefined> {
    const { store, clock } = this.#context;
    const found = await this.#slot(seen.seq);
    if (!(found instanceof PrimaError)) return found;
    if (found.code !== 'not-found' || !store.settleMs) return undefined;
    await clock.sleep(store.settleMs);
    const later = await this.#slot(seen.seq);
    return later instanceof PrimaError ? undefined : later;
  }

  /** Reads on from `head` to the end. Where an entry cannot be followed, a repair may stand for it. */
  async #advance(from: LogHead): Promise<void> {
    let head = from;
    for (let count = 1; ; count = Math.min(readAtOnce, count * 2)) {
      const seqs = Array.from({ length: count }, (_, i) => head.seq + 1 + i);
      for (const next of await Promise.all(seqs.map((seq) => this.#slot(seq)))) {
        if (next instanceof PrimaError && next.code === 'not-found') return;
        const after = next instanceof PrimaError ? undefined : follow(head, next, this.#signers);
        if (!after || next instanceof PrimaError) return await this.#jump(head);
        head = after;
        this.#head = head;
        this.#learn([next.entry]);
      }
    }
  }

  /** To the end of the whole log, of which `from` must be a part. */
  async #jump(from: LogHead): Promise<void> {
    const { slots, chain } = await this.#readWhole();
    this.#fault ??= compare(from, slots, chain.runs);
    this.#head = chain.head;
  }

  /** The last entry, without those before it. */
  async #last(): Promise<LogHead> {
    let last: string | undefined;
    for await (const { key } of this.#context.store.list('log/', { namesOnly: true, fresh: true }))
      last = key;
    if (last === undefined) return emptyHead(this.#signers);
    const read = await readLogEntry(this.#context, Number(last.slice(4)));
    return headAfter(read, read);
  }

  async #readWhole(): Promise<{ slots: LogSlots; chain: Chain }> {
    const slots = await this.#slots();
    const chain = chainOf(slots, this.#signers);
    this.#learn(chain.entries);
    return { slots, chain };
  }

  /** Everything that is under `log/`, by number. */
  async #slots(): Promise<LogSlots> {
    let last = 0;
    for await (const { key } of this.#context.store.list('log/', { namesOnly: true, fresh: true })) {
      const seq = Number(key.slice(4));
      if (key !== logKey(seq) || seq > last + maxGap + 1) {
        throw new IntegrityError(
          `the log of roots has ${key} where ${logKey(last + 1)} should be; nobody who writes to this repository made it: remove it from the storage`,
        );
      }
      last = seq;
    }
    const limit = new Semaphore(readAtOnce);
    const numbers = Array.from({ length: last }, (_, index) => index + 1);
    const slots = await Promise.all(numbers.map((seq) => limit.run(() => this.#slot(seq))));
    return slots.map((slot, index) =>
      slot instanceof PrimaError && slot.code === 'not-found' ? missingEntry(index + 1) : slot,
    );
  }

  /** The entry, or why there is none: it is not there, or does not open. Raises what else the store raises. */
  async #slot(seq: number): Promise<ReadEntry | PrimaError> {
    try {
      return await readLogEntry(this.#context, seq);
    } catch (error) {
      if (isDamage(error) || (error instanceof PrimaError && error.code === 'not-found')) return error;
      throw error;
    }
  }

  #learn(entries: readonly LogEntry[]): void {
    for (const root of rootsOf(entries)) this.#known.add(nameOf(root));
  }

  /** Tries `put` at the end of the log until it gives something, and says before who signs if that has changed. */
  async #appending(
    put: (head: LogHead) => Promise<{ key: string | undefined } | undefined>,
  ): Promise<string | undefined> {
    return await this.#turn.run(async () => {
      for (let race = 0; race < maxRaces; race += 1) {
        const head = this.#head ?? (await this.#begin());
        this.#head = head;
        const successor = this.#successor(head);
        if (successor === undefined) {
          const done = await put(head);
          if (done) {
            await this.#remember();
            return done.key;
          }
        } else {
          const { points } = head;
          if (await this.#put(head, { event: 'signer', signer: successor, points })) continue;
        }
        await this.#advance(this.#head);
      }
      throw new RemoteError('the log of roots is being written by too many others; try again', {
        retryable: true,
      });
    });
  }

  /** Who signs after the one whom the log knows; undefined when that is this process. Raises `wrong-key` when that is over. */
  #successor(head: LogHead): string | undefined {
    const own = this.#context.keyring.signer().publicKey;
    if (head.signer === own) return undefined;
    const signers = this.#signers;
    const at = signers.indexOf(head.signer);
    if (at < signers.indexOf(own)) return signers[at + 1];
    throw new PrimaError(
      'wrong-key',
      'the root key was replaced since the repository was opened; open it again, with a key that still fits',
    );
  }

  async #put(head: LogHead, event: Omit<LogEntry, 'seq' | 'previous' | 'time'>): Promise<boolean> {
    const { store, clock } = this.#context;
    const seq = head.seq + 1;
    // who knows the log only to a gap must not fill it
    if (await store.stat(logKey(seq + 1), { fresh: true })) {
      if (await store.stat(logKey(seq), { fresh: true })) return false;
      throw missingEntry(seq);
    }
    const { event: name, ...rest } = event;
    const time = new Date(clock.now()).toISOString();
    const entry: LogEntry = { seq, previous: head.digest, event: name, ...rest, time };
    const { result, stored } = await putSigned(this.#context, logKey(seq), blobType.logEntry, entry);
    if (result === 'exists') return false;
    this.#head = { seq, points: entry.points, digest: digestOf(stored), signer: entry.signer ?? head.signer };
    this.#learn([entry]);
    return true;
  }

  /** Writes down how far the log was seen; never goes back, whatever another process has written. */
  async #remember(): Promise<void> {
    if (!this.#trust || this.#fault !== undefined || !this.#head) return;
    const own = this.#seenOf(this.#head);
    if (JSON.stringify(own) === this.#remembered) return;
    const other = await this.#seen();
    if (this.#fault !== undefined) return; // what is there is damaged: a person decides
    const isNewer = !other || own.seq > other.seq || (own.seq === other.seq && own.keySet > other.keySet);
    if (isNewer) await this.#save(this.#trust, { ...own, keySet: Math.max(own.keySet, other?.keySet ?? 0) });
    this.#remembered = JSON.stringify(own);
  }

  /** What was remembered; where that is damaged, so is everything that rests on it. */
  async #seen(): Promise<SeenHead | undefined> {
    try {
      return await this.#trust?.load(this.#context.id);
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.#fault ??= error.message;
      return undefined;
    }
  }

  /** A home that cannot be written keeps nobody from working; what was remembered before goes on to count. */
  async #save(trust: Trust, seen: SeenHead): Promise<void> {
    const { id, logger } = this.#context;
    try {
      await trust.save(id, seen);
    } catch (error) {
      const { message } = toPrimaError(error, 'remembering the newest entry of the log');
      logger.warn(`${message}; a rollback to before it would not be noticed`);
    }
  }

  #seenOf({ seq, digest, signer }: LogHead): SeenHead {
    return { keySet: this.#context.keyring.keySet.number, seq, digest, signer };
  }

  #olderKeySet(seen: SeenHead): string | undefined {
    const { number } = this.#context.keyring.keySet;
    this.#isKeySetOlder = number < seen.keySet;
    if (!this.#isKeySetOlder) return undefined;
    return `the repository was rolled back: its newest key set is number ${number}, this computer has seen number ${seen.keySet}`;
  }
}

/** `prima check` says the same where it finds a fault. */
export function refusal(doing: string, fault: string): PrimaError {
  return new PrimaError(
    'refused',
    `${doing}: ${fault}; nothing was done. Find out why; if it is right (the storage was restored from a copy), accept it with: prima check --accept-head`,
  );
}

/** `wrong-key`: of an epoch that is in none of the key sets that are there. */
function isDamage(error: unknown): error is PrimaError {
  return error instanceof PrimaError && ['integrity', 'format', 'wrong-key'].includes(error.code);
}
