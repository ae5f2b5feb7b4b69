/** Reading packs to verify them, and finding out what of a damaged one is lost. */
import { forEachBounded, MiB, PrimaError, type ProgressListener, toPrimaError } from '@prima/base';
import { type Context, hexOf, openBlob } from '../context.ts';
import { assertReachable, isDamage } from '../damage/lists.ts';
import type { DamageEntry } from '../damage/register.ts';
import { parseBlobHeader } from '../format/blob.ts';
import { packHeader, packKey } from '../format/pack.ts';
import type { SegmentEntry, SegmentPack } from '../format/segment.ts';
import { readSegment } from '../index/repository-index.ts';
import { ChunkPool } from '../pool/chunk-pool.ts';
import { unlessGone } from '../session/sessions.ts';
import { verifyPack } from '../pool/verify-pack.ts';

/** Memory for packs that are being read or verified, bytes. */
const readBytes = 256 * MiB;
/** Why a pack that is missing is damaged. */
export const packIsGone = 'the pack is not there';

/** Packs whose index entries are held at once. */
const examinedAtOnce = 256;

export interface PackReading {
  bytesRead: number;
  /** Names of packs that were read and are good. */
  good: string[];
  /** Packs that are not as they were written, or so it seems. */
  suspects: Set<string>;
  /** Packs that are out of reach. */
  unreachable: { pack: SegmentPack; error: PrimaError }[];
}

/** Reads whole packs, one large read each, and verifies them on worker threads. Raises `cancelled`. */
export async function readPacks(
  context: Context,
  packs: readonly SegmentPack[],
  options: { signal?: AbortSignal | undefined; onProgress?: ProgressListener | undefined },
): Promise<PackReading> {
  const reading: PackReading = { bytesRead: 0, good: [], suspects: new Set(), unreachable: [] };
  if (packs.length === 0) return reading;
  const total = packs.reduce((sum, { size }) => sum + size, 0);
  const largest = packs.reduce((most, { size }) => Math.max(most, size), 1);
  const { keys, chunkSize, workers, threads: reserve } = context;
  const pool = new ChunkPool({ keys, chunkSize, reserve, ...(workers === undefined ? {} : { workers }) });
  const verify = async (pack: SegmentPack, signal: AbortSignal) => {
    const fault = await faultOf(context, pack, { pool, signal });
    if (fault instanceof PrimaError) reading.unreachable.push({ pack, error: fault });
    else if (fault === undefined) reading.good.push(pack.name);
    else reading.suspects.add(pack.name);
    reading.bytesRead += pack.size;
    options.onProgress?.({ phase: 'checking packs', done: reading.bytesRead, total });
  };
  const atOnce = Math.max(2, Math.min(pool.threadCount + 1, Math.floor(readBytes / largest)));
  try {
    await forEachBounded(packs, atOnce, verify, options.signal);
  } finally {
    await pool.close();
  }
  return reading;
}

/** What is wrong with the pack, undefined for nothing, or the error for which it could not be looked at. */
async function faultOf(
  context: Context,
  pack: SegmentPack,
  { pool, signal }: { pool: ChunkPool; signal: AbortSignal },
): Promise<string | PrimaError | undefined> {
  const where = packKey(pack.kind, pack.name);
  let bytes: Uint8Array;
  try {
    bytes = await context.store.get(where, undefined, { signal });
  } catch (error) {
    const failure = toPrimaError(error, `reading ${where}`);
    if (failure.code === 'cancelled') throw failure;
    return isDamage(failure) || failure.code === 'not-found' ? failure.message : failure;
  }
  await context.keyring.learnEpochOf(bytes.subarray(packHeader.length));
  return await pool.verify(bytes, { name: pack.name, where });
}

export interface Examination {
  damage: DamageEntry[];
  /** Packs that turned out to be good. */
  good: SegmentPack[];
  unreachable: { pack: SegmentPack; error: PrimaError }[];
}

/** Reads suspect packs once more, and tries each blob that the index has in them. */
export async function examine(
  context: Context,
  { segments, suspects }: { segments: readonly string[]; suspects: readonly SegmentPack[] },
): Promise<Examination> {
  const found: Examination = { damage: [], good: [], unreachable: [] };
  if (suspects.length > 0) await assertReachable(context, 'checking packs');
  for (let at = 0; at < suspects.length; at += examinedAtOnce) {
    const part = new Map(suspects.slice(at, at + examinedAtOnce).map((pack) => [pack.name, pack]));
    const entries = await entriesIn(context, segments, part);
    for (const [name, pack] of part)
      await examineOne(context, { pack, entries: entries.get(name) ?? [] }, found);
  }
  return found;
}

/** The blobs that the segments have in these packs. */
async function entriesIn(
  context: Context,
  segments: readonly string[],
  packs: ReadonlyMap<string, SegmentPack>,
): Promise<Map<string, SegmentEntry[]>> {
  const found = new Map<string, SegmentEntry[]>();
  for (const key of segments) {
    const segment = await unlessGone(readSegment(context, key));
    if (!segment) continue; // a collection replaced it: then the check begins again
    const wanted = segment.packs.map(({ name }) => packs.has(name));
    if (!wanted.includes(true)) continue;
    for (let i = 0; i < segment.count; i += 1) {
      const [pack = 0, offset = 0, length = 0] = segment.places.subarray(i * 3, i * 3 + 3);
      const name = segment.packs[pack]?.name;
      if (name === undefined || !wanted[pack]) continue;
      const entry = { id: segment.ids.slice(i * 32, i * 32 + 32), pack, offset, length };
      const others = found.get(name);
      if (others) others.push(entry);
      else found.set(name, [entry]);
    }
  }
  return found;
}

async function examineOne(
  context: Context,
  { pack, entries }: { pack: SegmentPack; entries: readonly SegmentEntry[] },
  found: Examination,
): Promise<void> {
  const { kind, name } = pack;
  const where = packKey(kind, name);
  try {
    const bytes = await wholePack(context, where);
    if (bytes === undefined) {
      found.damage.push({ pack: name, kind, ids: 'all', why: packIsGone });
      return;
    }
    if (bytes !== 'unreadable') {
      for (const { offset } of entries) await context.keyring.learnEpochOf(bytes.subarray(offset));
    }
    const fault =
      bytes === 'unreadable'
        ? 'it cannot be read as a whole'
        : verifyPack(context.opener, bytes, { name, where });
    if (fault === undefined) {
      found.good.push(pack);
      return;
    }
    const bad = await badBlobs(context, entries, { bytes, where });
    const [first] = bad;
    const why = first
      ? `${bad.length} of ${entries.length} blobs cannot be read; the first: ${first.why}`
      : `${fault}; all blobs in it can be read`;
    const isAll = bad.length === entries.length && bad.length > 0;
    found.damage.push({ pack: name, kind, ids: isAll ? 'all' : bad.map(({ id }) => id), why });
  } catch (error) {
    found.unreachable.push({ pack, error: toPrimaError(error, `reading ${where}`) });
  }
}

/** The bytes, undefined when the pack is not there. Raises where it is out of reach. */
async function wholePack(context: Context, key: string): Promise<Uint8Array | 'unreadable' | undefined> {
  try {
    return await context.store.get(key, undefined, { fresh: true });
  } catch (error) {
    if (error instanceof PrimaError && error.code === 'not-found') return undefined;
    if (isDamage(error)) return 'unreadable';
    throw error;
  }
}

async function badBlobs(
  context: Context,
  entries: readonly SegmentEntry[],
  { bytes, where }: { bytes: Uint8Array | 'unreadable'; where: string },
): Promise<{ id: string; why: string }[]> {
  const bad: { id: string; why: string }[] = [];
  for (const { id, offset, length } of entries) {
    const place = `${where} at ${offset}`;
    try {
      const range = { offset, length };
      const blob =
        bytes === 'unreadable'
          ? await context.store.get(where, range, { fresh: true })
          : bytes.subarray(offset, offset + length);
      const { type } = parseBlobHeader(blob, place);
      await openBlob(context, blob, { type, id }, place);
    } catch (error) {
      if (!isDamage(error)) throw error;
      bad.push({ id: hexOf(id), why: toPrimaError(error, place).message });
    }
  }
  return bad;
}
