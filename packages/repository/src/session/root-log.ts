/**
 * The log of roots: which restore points there must be. See "Log of roots" of the format. One object for each open
 * repository: it remembers how far it has read, and compares with what this installation saw before.
 */
import { IntegrityError, Mutex, PrimaError, RemoteError, Semaphore, toPrimaError } from '@prima/base';
import { type Context, getSealed, putSigned } from '../context.ts';
import type { SeenHead, Trust } from '../contract.ts';
import { signerOf } from '../crypto/signature.ts';
import { blobType } from '../format/blob.ts';
import { parseJson } from '../format/json.ts';
import { digestOf, unlessGone } from './sessions.ts';

export interface LogEntry {
  seq: number;
  previous: string;
  /** How many restore points there should be after this. */
  points: number;
  event: 'committed' | 'forgotten' | 'signer';
  /** Not of a `signer`, like `outcome`. */
  session: string;
  outcome: string;
  /** Of a `signer`: the public key of who signs from here on. */
  signer?: string;
  time: string;
}

/** The end of the log, as far as it was read. */
interface LogHead {
  seq: number;
  /** Of the stored bytes of the entry. */
  digest: string;
  points: number;
  /** Who signs the next entry. */
  signer: string;
}

export interface WholeLog {
  entries: LogEntry[];
  /** Why it is not the log, or the continuation of the log, that this installation has seen before. */
  fault: string | undefined;
}

interface ReadEntry {
  entry: LogEntry;
  signer: string;
  digest: string;
}

type NewEntry = Pick<LogEntry, 'event' | 'session' | 'outcome'>;

const start = '0'.repeat(64);
const maxRaces = 1000;
const readAtOnce = 16;

export const logKey = (seq: number) => `log/${String(seq).padStart(10, '0')}`;
const nameOf = ({ event, session }: Pick<LogEntry, 'event' | 'session'>) => `${event} ${session}`;

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
    return await this.#turn.run(async () => {
      for (let race = 0; race < maxRaces; race += 1) {
        const head = this.#head ?? (await this.#begin());
        this.#head = head;
        if (this.#known.has(nameOf(event))) return undefined;
        if (await this.#put(head, event)) {
          await this.#remember();
          return logKey(head.seq + 1);
        }
        await this.#advance(head);
      }
      throw new RemoteError('the log of roots is being written by too many others; try again', {
        retryable: true,
      });
    });
  }

  /** Reads the whole log and checks its chain and signatures. Raises `integrity` at a gap or a broken link. */
  async readAll(): Promise<WholeLog> {
    return await this.#turn.run(async () => {
      const { read, head } = await this.#readWhole();
      for (const { entry } of read) this.#known.add(nameOf(entry));
      const seen = await this.#seen();
      if (seen) this.#fault = this.#olderKeySet(seen) ?? compare(seen, read[seen.seq - 1]?.digest, head.seq);
      this.#head = head;
      await this.#remember();
      return { entries: read.map(({ entry }) => entry), fault: this.#fault };
    });
  }

  /** Takes the repository as it is for the newest state from now on. Raises `integrity` when the log itself is broken. */
  async accept(): Promise<void> {
    await this.#turn.run(async () => {
      const { head } = await this.#readWhole();
      this.#head = head;
      this.#fault = undefined;
      this.#isKeySetOlder = false;
      await this.#trust?.save(this.#context.id, this.#seenOf(head));
    });
  }

  get #context(): Context {
    return this.#contextOf();
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
    if (!seen || seen.seq === 0) return seen ? this.#empty() : await this.#last();
    const found = await this.#readSeen(seen);
    if (found?.digest === seen.digest) return headAfter(found, seen.signer);
    const last = await this.#last();
    this.#fault ??= compare(seen, found?.digest, last.seq);
    return last;
  }

  /** The entry that was seen; where it seems to be gone, after the time that the store may need to show it. */
  async #readSeen(seen: SeenHead): Promise<ReadEntry | undefined> {
    const { store, clock } = this.#context;
    const found = await unlessGone(this.#read(seen.seq));
    if (found || !store.settleMs) return found;
    await clock.sleep(store.settleMs);
    return await unlessGone(this.#read(seen.seq));
  }

  /** Reads on from `head` to the end. */
  async #advance(from: LogHead): Promise<void> {
    let head = from;
    for (let count = 1; ; count = Math.min(readAtOnce, count * 2)) {
      const seqs = Array.from({ length: count }, (_, i) => head.seq + 1 + i);
      const read = await Promise.all(seqs.map((seq) => unlessGone(this.#read(seq))));
      for (const next of read) {
        if (!next) return;
        head = follow(head, next);
        this.#head = head;
        this.#known.add(nameOf(next.entry));
      }
    }
  }

  /** The last entry, without those before it. */
  async #last(): Promise<LogHead> {
    let last: string | undefined;
    for await (const { key } of this.#context.store.list('log/', { namesOnly: true, fresh: true }))
      last = key;
    if (last === undefined) return this.#empty();
    const read = await this.#read(Number(last.slice(4)));
    return headAfter(read, read.signer);
  }

  async #readWhole(): Promise<{ read: ReadEntry[]; head: LogHead }> {
    const keys: string[] = [];
    for await (const { key } of this.#context.store.list('log/', { namesOnly: true, fresh: true })) {
      const wanted = logKey(keys.length + 1);
      if (key !== wanted) throw new IntegrityError(`the log of roots has ${key} where ${wanted} should be`);
      keys.push(key);
    }
    const limit = new Semaphore(readAtOnce);
    const read = await Promise.all(keys.map((_, index) => limit.run(() => this.#read(index + 1))));
    return { read, head: read.reduce(follow, this.#empty()) };
  }

  async #read(seq: number): Promise<ReadEntry> {
    const key = logKey(seq);
    const { plain, stored } = await getSealed(this.#context, key, blobType.logEntry, { fresh: true });
    const text = plain.toString();
    const { signers } = this.#context.keyring.keySet;
    const signer = signerOf(text, { repositoryId: this.#context.id, objectKey: key }, signers);
    const entry = parseJson(text, key) as unknown as LogEntry;
    if (signer === undefined || entry.seq !== seq) {
      throw new IntegrityError(
        `${key} was not signed by a writer of this repository: the log of roots was tampered with`,
      );
    }
    return { entry, signer, digest: digestOf(stored) };
  }

  async #put(head: LogHead, event: NewEntry): Promise<boolean> {
    const entry: LogEntry = {
      seq: head.seq + 1,
      previous: head.digest,
      points: pointsAfter(head.points, event.event),
      ...event,
      time: new Date(this.#context.clock.now()).toISOString(),
    };
    const { result, stored } = await putSigned(this.#context, logKey(entry.seq), blobType.logEntry, entry);
    if (result === 'exists') return false;
    const { points, seq } = entry;
    this.#head = { seq, points, digest: digestOf(stored), signer: head.signer };
    this.#known.add(nameOf(event));
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

  #empty(): LogHead {
    const [signer = ''] = this.#context.keyring.keySet.signers;
    return { seq: 0, digest: start, points: 0, signer };
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

function pointsAfter(points: number, event: LogEntry['event']): number {
  return points + (event === 'committed' ? 1 : event === 'forgotten' ? -1 : 0);
}

/** The head after `next`, which must continue `head`. */
function follow(head: LogHead, next: ReadEntry): LogHead {
  const { entry } = next;
  const fits =
    entry.seq === head.seq + 1 &&
    entry.previous === head.digest &&
    entry.points === pointsAfter(head.points, entry.event) &&
    next.signer === head.signer;
  if (fits) return headAfter(next, head.signer);
  throw new IntegrityError(
    `${logKey(entry.seq)} does not follow the entry before it: the log of roots was tampered with`,
  );
}

function headAfter({ entry, digest }: ReadEntry, signer: string): LogHead {
  return { seq: entry.seq, digest, points: entry.points, signer: entry.signer ?? signer };
}

/** Says what is wrong when the entry that was seen is not there. */
function compare(seen: SeenHead, digest: string | undefined, length: number): string | undefined {
  if (seen.seq === 0 || digest === seen.digest) return undefined;
  if (digest === undefined) {
    return `the repository was rolled back or its log was cut: the log had ${seen.seq} entries when this computer last saw it, now it has ${length}`;
  }
  return `the repository was rolled back, or its log written anew: entry ${seen.seq} of the log is not the one that this computer has seen`;
}
