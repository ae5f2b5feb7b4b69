/** Which pack holds which blob, as the committed index segments say it; all in memory. */
import { PrimaError } from '@prima/base';
import { type Context, getRecord, getSealed } from '../context.ts';
import { blobType } from '../format/blob.ts';
import { parseSegment, type Segment, type SegmentPack } from '../format/segment.ts';
import { type CommittedSession, listSessions, readOutcomes } from '../session/sessions.ts';
import { type BlobPlace, IdTable } from './id-table.ts';

export interface IndexedPack extends SegmentPack {
  /** About to be deleted by a collection: still readable, never deduplicated against. */
  isCondemned: boolean;
}

export interface Located extends BlobPlace {
  pack: number;
  in: IndexedPack;
}

export interface CondemnedList {
  session: string;
  packs: string[];
}

export class RepositoryIndex {
  readonly packs: IndexedPack[] = [];
  /** Keys of the segments that were read. */
  readonly segments: string[] = [];
  readonly #numbers = new Map<string, number>();
  #table = new IdTable();
  #bytes = 0;

  /** Distinct blobs. */
  get size(): number {
    return this.#table.size;
  }

  /** Memory of the table, bytes. */
  get bytes(): number {
    return this.#table.bytes + this.#bytes;
  }

  find(id: Uint8Array): Located | undefined {
    const place = this.#table.get(id);
    const pack = place && this.packs[place.pack];
    return place && pack ? { ...place, in: pack } : undefined;
  }

  /** True when a new restore point may rely on the stored blob. */
  mayShare(id: Uint8Array): boolean {
    const found = this.find(id);
    return found !== undefined && !found.in.isCondemned;
  }

  hasPack(name: string): boolean {
    return this.#numbers.has(name);
  }

  /**
   * Reads the index afresh. The order matters (see "Sessions" of the format): condemned lists
   * first, then the segments.
   */
  static async load(context: Context): Promise<RepositoryIndex> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await RepositoryIndex.#loadOnce(context);
      } catch (error) {
        // a collection replaced segments while we read them: start over
        const vanished = error instanceof PrimaError && error.code === 'not-found';
        if (!vanished || attempt >= 5) throw error;
      }
    }
  }

  static async #loadOnce(context: Context): Promise<RepositoryIndex> {
    const condemned = await readCondemned(context);
    const { keys, sessions } = await listSegments(context);
    const committed = await committedAmong(context, sessions);
    const superseded = new Set(committed.flatMap(({ outcome }) => outcome.superseded ?? []));
    const counted = new Set(committed.map(({ id }) => id));
    const segments: Segment[] = [];
    const index = new RepositoryIndex();
    for (const { key, session } of keys) {
      if (superseded.has(key)) continue;
      if (!counted.has(session)) {
        // an unfinished session's, unless a collection removed both it and its outcome since they were listed
        if (!(await context.store.stat(key))) throw missing(key);
        continue;
      }
      segments.push(await readSegment(context, key));
      index.segments.push(key);
    }
    index.#fill(segments, condemned);
    return index;
  }

  #fill(segments: readonly Segment[], condemned: ReadonlySet<string>): void {
    this.#table = new IdTable(segments.reduce((sum, segment) => sum + segment.count, 0));
    for (const segment of segments) {
      const numbers = segment.packs.map((pack) => this.#number(pack, condemned));
      for (let i = 0; i < segment.count; i += 1) {
        const id = segment.ids.subarray(i * 32, i * 32 + 32);
        const number = numbers[segment.places[i * 3] ?? 0] ?? 0;
        const known = this.find(id);
        if (known && (!known.in.isCondemned || this.packs[number]?.isCondemned)) continue;
        this.#table.set(id, number, segment.places[i * 3 + 1] ?? 0, segment.places[i * 3 + 2] ?? 0);
      }
    }
  }

  #number(pack: SegmentPack, condemned: ReadonlySet<string>): number {
    const known = this.#numbers.get(pack.name);
    if (known !== undefined) return known;
    const number = this.packs.length;
    this.packs.push({ ...pack, isCondemned: condemned.has(pack.name) });
    this.#numbers.set(pack.name, number);
    this.#bytes += 200;
    return number;
  }
}

function missing(key: string): PrimaError {
  return new PrimaError('not-found', `the index segment ${key} is gone`);
}

/** Names of all packs on any condemned list. */
async function readCondemned(context: Context): Promise<Set<string>> {
  const names = new Set<string>();
  for await (const { key } of context.store.list('condemned/')) {
    try {
      const list = (await getRecord(context, key, blobType.condemned)) as CondemnedList;
      for (const name of list.packs) names.add(name);
    } catch (error) {
      // deleted between listing and reading: that collection is over
      if (!(error instanceof PrimaError) || error.code !== 'not-found') throw error;
    }
  }
  return names;
}

export async function readSegment(context: Context, key: string): Promise<Segment> {
  const { plain } = await getSealed(context, key, blobType.segment);
  return parseSegment(plain, key);
}

async function listSegments(
  context: Context,
): Promise<{ keys: { key: string; session: string }[]; sessions: Set<string> }> {
  const keys: { key: string; session: string }[] = [];
  const sessions = new Set<string>();
  for await (const { key } of context.store.list('index/')) {
    const [, session] = /^index\/([0-9a-f]{32})-\d+$/.exec(key) ?? [];
    if (session === undefined) continue;
    keys.push({ key, session });
    sessions.add(session);
  }
  return { keys, sessions };
}

async function committedAmong(context: Context, sessions: ReadonlySet<string>): Promise<CommittedSession[]> {
  const entries = (await listSessions(context)).filter(({ id }) => sessions.has(id));
  return (await readOutcomes(context, entries)).filter(({ outcome }) => outcome.state === 'committed');
}
