/** What a collection does about objects that the store itself keeps from being deleted. See "Locks" of the format. */
import { forEachBounded, formatBytes, PrimaError } from '@prima/base';
import type { Context } from '../context.ts';
import { packKey } from '../format/pack.ts';
import { longestKept } from '../session/retaining.ts';
import { type ListedPack, planOf } from './collect-plan.ts';
import type { Survey } from './survey.ts';

/** Requests to the store at once. */
const concurrency = 16;

/** Packs that a collection would delete or rewrite if the store did not keep them, by name with their end. */
export async function keptPacks(
  context: Context,
  now: Survey,
  listed: ReadonlyMap<string, ListedPack>,
): Promise<ReadonlyMap<string, number>> {
  const kept = new Map<string, number>();
  if (!context.store.retention) return kept;
  const unbounded = { total: Number.POSITIVE_INFINITY, round: Number.POSITIVE_INFINITY };
  const { dead, rewrite, orphans } = planOf(now, listed, unbounded);
  await forEachBounded([...dead, ...rewrite, ...orphans], concurrency, async (name) => {
    const pack = listed.get(name);
    const until = pack && (await retainedUntil(context, packKey(pack.kind, name)));
    if (until !== undefined) kept.set(name, until);
  });
  return kept;
}

/** Says what is not freed because the store keeps it. */
export function notesOnKept(
  now: Survey,
  listed: ReadonlyMap<string, ListedPack>,
  kept: ReadonlyMap<string, number>,
): string[] {
  if (kept.size === 0) return [];
  let bytes = 0;
  for (const name of kept.keys()) bytes += listed.get(name)?.size ?? 0;
  for (const [number, { name }] of now.index.packs.entries()) {
    if (kept.has(name)) bytes -= now.livePerPack[number] ?? 0;
  }
  const last = new Date(Math.max(...kept.values())).toISOString();
  const what = kept.size === 1 ? '1 pack holds' : `${kept.size} packs hold`;
  return [
    `${what} ${formatBytes(bytes)} that no point needs, and cannot be freed yet: the store keeps them, the last until ${last}`,
  ];
}

/** Until when the longest-locked point is kept, milliseconds since 1970. */
export function longestLock({ kept, outcomes }: Survey): number {
  return longestKept(kept.flatMap(({ id }) => outcomes.get(id) ?? []));
}

/** Until when the store keeps `key`; undefined when it does not, or the object is gone. */
export async function retainedUntil(context: Context, key: string): Promise<number | undefined> {
  try {
    return await context.store.retention?.retainedUntil(key);
  } catch (error) {
    if (error instanceof PrimaError && error.code === 'not-found') return undefined;
    throw error;
  }
}
