/** Which pack holds which blob, as the committed index segments say it; all in memory. */
import { inOrder, PrimaError } from '@prima/base';
import { type Context, getRecord, getSealed, idFromHex } from '../context.ts';
import { loadDamage } from '../damage/lists.ts';
import type { DamageRegister } from '../damage/register.ts';
import { blobType } from '../format/blob.ts';
import { parseSegment, type Segment, type SegmentEntry, type SegmentPack } from '../format/segment.ts';
import { type CommittedSession, listSessions, outcomeKey, readOutcomes } from '../session/sessions.ts';
import { type BlobPlace, IdTable } from './id-table.ts';

export interface IndexedPack extends SegmentPack {
  /** About to be deleted by a collection, or of a session that is lost: still readable, never deduplicated against. */
  isCondemned: boolean;
}

export interface Located extends BlobPlace {
  pack: number;
  in: IndexedPack;
  /** Known not to be readable there, and no better place is known. */
  isDamaged: boolean;
}

export interface LoadOptions {
  /** Raises where a segment or outcome cannot be read, instead of going on without it. Default false. */
  strict?: boolean;
  /** A session that has not ended, whose segments count all the same: what it has written so far. */
  also?: string;
  /** Told of segments that are left out because they cannot be read. */
  onBadSegment?: (key: string, error: PrimaError) => void;
}

export interface CondemnedList {
  session: string;
  packs: string[];
}

/** What an entry of a stored segment takes at least: its id does not compress. To size the table before reading. */
const storedEntryBytes = 36;
/** Segments that are fetched at once. */
const concurrency = 16;

export class RepositoryIndex {
  readonly packs: IndexedPack[] = [];
  /** Keys of the segments that were read, and how many entries each has. */
  readonly segments: string[] = [];
  readonly segmentCounts = new Map<string, number>();
  /** Checkpoints of backups that are under way or were interrupted, and are not released. */
  readonly checkpoints: CommittedSession[] = [];
  /** Segments that could not be read: what they say is not in the index. */
  readonly unreadable: string[] = [];
  /** Segments that are there although a collection has replaced them. */
  readonly replaced: string[] = [];
  readonly #damage: DamageRegister;
  /** Of each pack, the segments that speak of it. */
  readonly #segmentsOf: string[][] = [];
  readonly #numbers = new Map<string, number>();
  #table = new IdTable();
  /** Other places of blobs that are stored twice, for when the first turns out to be damaged. */
  readonly #second = new IdTable();
  #bytes = 0;

  private constructor(damage: DamageRegister) {
    this.#damage = damage;
  }

  /** Distinct blobs. */
  get size(): number {
    return this.#table.size;
  }

  /** Memory of the table, bytes. */
  get bytes(): number {
    return this.#table.bytes + this.#second.bytes + this.#bytes;
  }

  find(id: Uint8Array): Located | undefined {
    const first = this.#located(this.#table.get(id), id);
    if (!first?.isDamaged) return first;
    const second = this.#located(this.#second.get(id), id);
    return second && !second.isDamaged ? second : first;
  }

  #located(place: BlobPlace | undefined, id: Uint8Array): Located | undefined {
    const pack = place && this.packs[place.pack];
    if (!place || !pack) return undefined;
    return { ...place, in: pack, isDamaged: !this.#damage.isEmpty && this.#damage.has(pack.name, id) };
  }

  /** True when a new restore point may rely on the stored blob. */
  mayShare(id: Uint8Array): boolean {
    const found = this.find(id);
    return found !== undefined && !found.in.isCondemned && !found.isDamaged;
  }

  /** True when it was found that the blob is in no place, or in none from which it can be read. */
  isKnownLost(id: Uint8Array): boolean {
    return this.find(id)?.isDamaged ?? this.#damage.isMissing(id);
  }

  /** `isKnownLost`, or the index is not whole and the blob not in it. */
  isLost(id: Uint8Array): boolean {
    return this.find(id)?.isDamaged ?? (this.unreadable.length > 0 || this.#damage.isMissing(id));
  }

  /** Whether any blob may be lost. Reads all of the index where a whole pack is damaged. */
  mayHaveLost(): boolean {
    if (this.unreadable.length > 0) return true;
    if (this.#damage.isEmpty) return false;
    const { packs, missing } = this.#damage.all();
    for (const hex of missing.keys()) if (this.isLost(idFromHex(hex))) return true;
    const whole = new Set<number>();
    for (const [name, { ids }] of packs) {
      const number = this.#numbers.get(name);
      if (number === undefined) continue;
      if (ids === 'all') whole.add(number);
      else for (const hex of ids) if (this.isLost(idFromHex(hex))) return true;
    }
    return whole.size > 0 && this.#table.usesPacks(whole);
  }

  /** Keys of the segments that speak of the pack of this number. */
  segmentsOf(pack: number): readonly string[] {
    return this.#segmentsOf[pack] ?? [];
  }

  hasPack(name: string): boolean {
    return this.#numbers.has(name);
  }

  /**
   * Reads the index afresh. The order matters (see "Sessions" of the format): condemned lists
   * first, then the segments.
   */
  static async load(context: Context, options: LoadOptions = {}): Promise<RepositoryIndex> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await RepositoryIndex.#loadOnce(context, options);
      } catch (error) {
        // a collection replaced segments while we read them: start over
        const vanished = error instanceof PrimaError && error.code === 'not-found';
        if (!vanished || attempt >= 5) throw error;
      }
    }
  }

  static async #loadOnce(context: Context, options: LoadOptions): Promise<RepositoryIndex> {
    const [condemned] = await Promise.all([readCondemned(context), loadDamage(context)]);
    const { keys, sessions } = await listSegments(context);
    const damaged = new Map<string, PrimaError>();
    const committed = await committedAmong(context, sessions, options.strict ? undefined : damaged);
    const superseded = new Set(committed.flatMap(({ outcome }) => outcome.superseded ?? []));
    const counted = new Set(committed.map(({ id }) => id));
    // of one that is lost nobody knows whether its writer may still take its packs back
    const lost = new Set(committed.filter(({ outcome }) => outcome.state === 'lost').map(({ id }) => id));
    if (options.also !== undefined) counted.add(options.also);
    const index = new RepositoryIndex(context.damage);
    const wanted: typeof keys = [];
    for (const entry of keys) {
      if (superseded.has(entry.key)) {
        index.replaced.push(entry.key);
        continue;
      }
      const outcomeError = damaged.get(entry.session);
      if (outcomeError) index.#leaveOut(entry.key, outcomeError, { context, options });
      else if (counted.has(entry.session)) wanted.push(entry);
      // an unfinished session's, unless a collection removed both it and its outcome since they were listed
      else if (!(await context.store.stat(entry.key))) throw missing(entry.key);
    }
    index.checkpoints.push(
      ...committed.filter(
        ({ id, outcome, isForgotten }) => outcome.kind === 'checkpoint' && !isForgotten && !lost.has(id),
      ),
    );
    await index.#fill(wanted, { condemned, lost }, { context, options });
    return index;
  }

  /** Reads segments and puts them into the table as they come, so that never all of them are in memory. */
  async #fill(
    listed: readonly { key: string; size: number }[],
    { condemned, lost }: { condemned: Condemned; lost: ReadonlySet<string> },
    { context, options }: { context: Context; options: LoadOptions },
  ): Promise<void> {
    const bytes = listed.reduce((sum, { size }) => sum + size, 0);
    this.#table = new IdTable(Math.ceil(bytes / storedEntryBytes));
    const reading = inOrder(listed, concurrency, async ({ key }) => {
      try {
        return { key, segment: await readSegment(context, key) };
      } catch (error) {
        this.#leaveOut(key, error, { context, options });
        return undefined;
      }
    });
    for await (const read of reading) {
      if (!read) continue;
      this.segments.push(read.key);
      this.segmentCounts.set(read.key, read.segment.count);
      const isLost = lost.has(read.key.slice(6, 38));
      const unshared = isLost ? new Set(read.segment.packs.map(({ name }) => name)) : condemned;
      this.#add(read.key, read.segment, unshared);
    }
  }

  #add(key: string, segment: Segment, condemned: Condemned): void {
    const { ids, places } = segment;
    const numbers = segment.packs.map((pack) => this.#number(pack, condemned));
    for (const number of numbers) (this.#segmentsOf[number] ??= []).push(key);
    for (let i = 0; i < segment.count; i += 1) {
      const id = ids.subarray(i * 32, i * 32 + 32);
      const number = numbers[places[i * 3] ?? 0] ?? 0;
      const offset = places[i * 3 + 1] ?? 0;
      const length = places[i * 3 + 2] ?? 0;
      if (this.#table.has(id)) this.#addOther(id, { pack: number, offset, length });
      else this.#table.set(id, number, offset, length);
    }
  }

  /** Adds a pack that no segment speaks of: for finding out what is in it. */
  addPack(pack: SegmentPack, entries: readonly Pick<SegmentEntry, 'id' | 'offset' | 'length'>[]): void {
    const number = this.#number(pack, new Set());
    for (const { id, offset, length } of entries) {
      if (!this.#table.has(id)) this.#table.set(id, number, offset, length);
    }
  }

  /** Keeps the better of two places, and the other one as the second. */
  #addOther(id: Uint8Array, place: BlobPlace): void {
    const known = this.#located(this.#table.get(id), id);
    const added = this.#located(place, id);
    if (!known || !added || known.pack === added.pack) return;
    const [best, other] = rank(added) < rank(known) ? [added, known] : [known, added];
    this.#table.set(id, best.pack, best.offset, best.length);
    if (rank(other) < rank(this.#located(this.#second.get(id), id)))
      this.#second.set(id, other.pack, other.offset, other.length);
  }

  /** Going on without a segment costs deduplication, and what only it knows is read from the source again. */
  #leaveOut(
    key: string,
    error: unknown,
    { context, options }: { context: Context; options: LoadOptions },
  ): void {
    if (options.strict || !(error instanceof PrimaError) || error.code !== 'integrity') throw error;
    this.unreadable.push(key);
    if (options.onBadSegment) options.onBadSegment(key, error);
    else
      context.logger.warn(
        `${error.message}; what this index segment says is left out, until: prima check --rebuild-index`,
      );
  }

  #number(pack: SegmentPack, condemned: Condemned): number {
    const known = this.#numbers.get(pack.name);
    if (known !== undefined) return known;
    const number = this.packs.length;
    this.packs.push({ ...pack, isCondemned: condemned.has(pack.name) });
    this.#numbers.set(pack.name, number);
    this.#bytes += 200;
    return number;
  }
}

/** The lower, the better a place is. */
function rank(place: Located | undefined): number {
  return place ? (place.isDamaged ? 2 : 0) + (place.in.isCondemned ? 1 : 0) : 4;
}

function missing(key: string): PrimaError {
  return new PrimaError('not-found', `the index segment ${key} is gone`);
}

/** The packs that are on any condemned list. */
interface Condemned {
  has(pack: string): boolean;
}

const everyPack: Condemned = { has: () => true };

async function readCondemned(context: Context): Promise<Condemned> {
  const names = new Set<string>();
  let areAllKnown = true;
  for await (const { key } of context.store.list('condemned/')) {
    try {
      const list = (await getRecord(context, key, blobType.condemned)) as CondemnedList;
      for (const name of list.packs) names.add(name);
    } catch (error) {
      if (!(error instanceof PrimaError)) throw error;
      if (error.code === 'not-found') continue; // deleted between listing and reading: that collection is over
      if (error.code !== 'integrity') throw error;
      if (await isDecided(context, key.slice('condemned/'.length))) continue;
      context.logger.warn(
        `${error.message}; any pack may be on this list of a collection, so nothing that is stored is shared until the next collection`,
      );
      areAllKnown = false;
    }
  }
  return areAllKnown ? names : everyPack;
}

/** Whether the collection is over, so that who lists segments from now on sees what it left of them. */
async function isDecided({ store }: Context, session: string): Promise<boolean> {
  const listsLag = (store.settleMs ?? 0) > 0;
  return !listsLag && (await store.stat(outcomeKey(session))) !== undefined;
}

export async function readSegment(context: Context, key: string): Promise<Segment> {
  const { plain } = await getSealed(context, key, blobType.segment);
  return parseSegment(plain, key);
}

interface ListedSegment {
  key: string;
  session: string;
  /** Bytes as stored. */
  size: number;
}

async function listSegments(context: Context): Promise<{ keys: ListedSegment[]; sessions: Set<string> }> {
  const keys: ListedSegment[] = [];
  const sessions = new Set<string>();
  for await (const { key, size } of context.store.list('index/')) {
    const [, session] = /^index\/([0-9a-f]{32})-\d+$/.exec(key) ?? [];
    if (session === undefined) continue;
    keys.push({ key, session, size });
    sessions.add(session);
  }
  return { keys, sessions };
}

/** @param damaged takes the sessions whose outcome does not open; without it that is raised */
async function committedAmong(
  context: Context,
  sessions: ReadonlySet<string>,
  damaged: Map<string, PrimaError> | undefined,
): Promise<CommittedSession[]> {
  const entries = (await listSessions(context)).filter(({ id }) => sessions.has(id));
  const read = await readOutcomes(context, entries, damaged && ((id, error) => void damaged.set(id, error)));
  return read.filter(({ outcome }) => outcome.state !== 'aborted');
}
