/** Rewriting: what lives in packs that go is copied to new ones, and segments are written without the old. */
import { inOrder, throwIfAborted } from '@prima/base';
import { type Context, openBlob } from '../context.ts';
import { parseBlobHeader } from '../format/blob.ts';
import type { PackKind } from '../format/pack.ts';
import { packedBytes } from '../format/pack-builder.ts';
import type { SegmentEntry, SegmentPack } from '../format/segment.ts';
import { IdSet } from '../index/id-table.ts';
import { BlobReader } from '../index/blob-reader.ts';
import { type Located, readSegment, type RepositoryIndex } from '../index/repository-index.ts';
import { packLimit, type PackSink, uniqueBlobBytes } from '../session/pack-sink.ts';
import type { Survey } from './survey.ts';

/** Which packs go: `dead` without, `rewrite` after their live blobs were copied. */
export interface Going {
  dead: ReadonlySet<string>;
  rewrite: ReadonlySet<string>;
}

interface Copy {
  id: Uint8Array;
  from: Located;
}

export interface NewSegments {
  /** Packs and entries of the superseded segments that stay. */
  packs: SegmentPack[];
  entries: SegmentEntry[];
  superseded: string[];
  /** What is to be copied, in the order in which it is laid into packs. */
  copies: Copy[];
}

/** Blobs or segments that are fetched at once. */
const concurrency = 8;
/** Segments of at most so many entries are merged when there are so many of them. */
const smallEntries = 8192;
const manySmall = 32;

/** Goes through the segments that name packs that go, or whose session is removed. */
export async function planSegments(context: Context, now: Survey, going: Going): Promise<NewSegments> {
  const plan: NewSegments = { packs: [], entries: [], superseded: [], copies: [] };
  const leaving = new Set(now.forgotten.map(({ id }) => id));
  const goes = (name: string) => going.dead.has(name) || going.rewrite.has(name);
  const copied = new IdSet();
  const merged = toBeMerged(now);
  const read = async (key: string) => ({ key, segment: await readSegment(context, key) });
  for await (const { key, segment } of inOrder(now.index.segments, concurrency, read)) {
    const isTouched = segment.packs.some(({ name }) => goes(name)) || leaving.has(key.slice(6, 38));
    if (!isTouched && !merged.has(key)) continue;
    plan.superseded.push(key);
    const numbers = segment.packs.map((pack) => (goes(pack.name) ? -1 : plan.packs.push(pack) - 1));
    for (let i = 0; i < segment.count; i += 1) {
      const id = segment.ids.slice(i * 32, i * 32 + 32);
      const [at = 0, offset = 0, length = 0] = segment.places.subarray(i * 3, i * 3 + 3);
      const number = numbers[at] ?? -1;
      if (number >= 0) {
        plan.entries.push({ id, pack: number, offset, length });
        continue;
      }
      const from = now.index.find(id);
      const isNeeded = from && going.rewrite.has(from.in.name) && now.live.has(id);
      if (isNeeded && copied.add(id)) plan.copies.push({ id, from });
    }
  }
  // only along with others: a collection that has nothing else to do leaves things as they are
  if (plan.superseded.length > 0) plan.superseded = [...new Set([...plan.superseded, ...emptySegments(now)])];
  return plan;
}

/** Those by which collections said that nothing is left of what they superseded. */
function emptySegments(now: Survey): string[] {
  return now.index.segments.filter((key) => now.index.segmentCounts.get(key) === 0);
}

/**
 * Segments that are so small, and so many, that one of them all is better: whoever opens the repository reads each. Those of
 * checkpoints stay: they say what the checkpoint keeps.
 */
function toBeMerged(now: Survey): ReadonlySet<string> {
  const small = now.index.segments.filter((key) => {
    const isCheckpoint = now.outcomes.get(key.slice(6, 38))?.outcome.kind === 'checkpoint';
    return !isCheckpoint && (now.index.segmentCounts.get(key) ?? 0) <= smallEntries;
  });
  return new Set(small.length >= manySmall ? small : []);
}

/** Bytes of the packs that `copies` will fill. */
export function copiedBytes(context: Context, copies: readonly Copy[]): number {
  const kinds: PackKind[] = ['data', 'meta'];
  const sizes = kinds.map((kind) => {
    const lengths = copies.filter(({ from }) => from.in.kind === kind).map(({ from }) => from.length);
    return packedBytes(lengths, packLimit(context, kind), uniqueBlobBytes);
  });
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** Copies blobs, each opened and checked on the way: damage is not carried on, but noted, and raised as `integrity`. */
export async function copyBlobs(
  context: Context,
  { index, copies }: { index: RepositoryIndex; copies: readonly Copy[] },
  options: { sink: PackSink; signal?: AbortSignal | undefined; onCopied: (bytes: number) => void },
): Promise<void> {
  const { sink, signal, onCopied } = options;
  const blobs = new BlobReader(context, index);
  const fetch = async ({ id, from }: Copy) => {
    throwIfAborted(signal, 'collecting');
    return await blobs.read(
      id,
      async (blob, where) => {
        const { type, plainLength } = parseBlobHeader(blob, where);
        await openBlob(context, blob, { type, id }, where);
        return { blob: new Uint8Array(blob), kind: from.in.kind, entry: { id, type, plainLength } };
      },
      signal,
    );
  };
  let done = 0;
  for await (const { blob, kind, entry } of inOrder(copies, concurrency, fetch)) {
    await sink.copy(kind, entry, blob);
    done += blob.length;
    onCopied(done);
  }
}
