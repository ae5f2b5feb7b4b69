/** The damaged lists of a repository: reading, writing, and putting new ones in the place of old. */
import { PrimaError, StorageError, toPrimaError } from '@prima/base';
import { type Context, getSealed, parseRecord, putRecord } from '../context.ts';
import { blobType } from '../format/blob.ts';
import { newSessionId, unlessGone } from '../session/sessions.ts';
import type { DamageEntry } from './register.ts';

export type DamageFinder = 'check' | 'read' | 'backup' | 'collection';

export interface DamagedList {
  id: string;
  time: string;
  by: DamageFinder;
  entries: DamageEntry[];
}

export interface StoredLists {
  lists: { key: string; list: DamagedList }[];
  /** Lists that do not open. */
  unreadable: { key: string; error: PrimaError }[];
}

/** Ids in one list at most. */
const listIds = 65_536;

/** Reads all damaged lists. Raises only what the store raises. */
export async function readDamagedLists(
  context: Context,
  options: { fresh?: boolean } = {},
): Promise<StoredLists> {
  const stored: StoredLists = { lists: [], unreadable: [] };
  const keys: string[] = [];
  for await (const { key } of context.store.list('damaged/', { namesOnly: true, ...options })) keys.push(key);
  for (const key of keys) {
    try {
      const read = await unlessGone(getSealed(context, key, blobType.damaged, options));
      if (read) stored.lists.push({ key, list: parseRecord(read.plain, key) as DamagedList });
    } catch (error) {
      if (!(error instanceof PrimaError) || error.code !== 'integrity') throw error;
      stored.unreadable.push({ key, error });
    }
  }
  return stored;
}

/** Reads the lists into the context's register; those that do not open are said and ignored. */
export async function loadDamage(context: Context): Promise<void> {
  const { lists, unreadable } = await readDamagedLists(context);
  for (const { key, error } of unreadable) {
    context.logger.warn(`the damaged list ${key} cannot be read and is ignored: ${error.message}`);
  }
  context.damage.setRecorded(lists.flatMap(({ list }) => list.entries));
}

/** Creates lists with these entries; their keys. */
export async function writeDamagedLists(
  context: Context,
  by: DamageFinder,
  entries: readonly DamageEntry[],
): Promise<string[]> {
  const keys: string[] = [];
  for (const part of partsOf(entries)) {
    const now = context.clock.now();
    const id = newSessionId(now);
    const list: DamagedList = { id, time: new Date(now).toISOString(), by, entries: part };
    await putRecord(context, `damaged/${id}`, blobType.damaged, list);
    keys.push(`damaged/${id}`);
  }
  return keys;
}

/**
 * Records what was found since the last time. A store that cannot be written keeps nobody from reading: then
 * it is only said.
 */
export async function recordDamage(context: Context, by: DamageFinder): Promise<void> {
  const entries = context.damage.unrecorded();
  if (entries.length === 0) return;
  try {
    await writeDamagedLists(context, by, entries);
    context.damage.setRecorded([...context.damage.all().entries()]);
  } catch (error) {
    const { message } = toPrimaError(error, 'recording damage');
    context.logger.warn(
      `damage was found that could not be recorded for the next backup to mend: ${message}`,
    );
  }
}

/**
 * Raises when the store is not there at all, so that nobody takes an unmounted folder for lost packs.
 * @param doing what was being read
 */
export async function assertReachable(context: Context, doing: string): Promise<void> {
  if (await context.store.stat('config', { fresh: true })) return;
  throw new StorageError(
    'io',
    `${doing}: ${context.store.url} holds no repository any more; is it mounted and complete?`,
    { retryable: true },
  );
}

/** Whether an error that came twice says that the stored bytes are bad, rather than that they are out of reach. */
export function isDamage(error: unknown): boolean {
  if (!(error instanceof PrimaError)) return false;
  return error.code === 'integrity' || (error.code === 'io' && !error.retryable);
}

function* partsOf(entries: readonly DamageEntry[]): Generator<DamageEntry[]> {
  let part: DamageEntry[] = [];
  let room = listIds;
  for (const entry of entries) {
    const ids = entry.ids === 'all' ? ['all'] : entry.ids;
    for (let at = 0; at < ids.length; at += listIds) {
      const piece = ids.slice(at, at + listIds);
      if (piece.length > room) {
        yield part;
        part = [];
        room = listIds;
      }
      part.push({ ...entry, ids: entry.ids === 'all' ? 'all' : piece });
      room -= piece.length;
    }
  }
  if (part.length > 0) yield part;
}
