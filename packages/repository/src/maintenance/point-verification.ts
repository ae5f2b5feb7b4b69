/** When what a restore point needs was last read: the verification ledger's entries of its packs. */
import type { Context } from '../context.ts';
import type { PointVerification } from '../contract.ts';
import type { Point } from '../point.ts';
import { RepositoryIndex } from '../index/repository-index.ts';
import { reachOf } from './check-reach.ts';
import { Ledger } from './ledger.ts';

/** Reads the point's pages, but no chunk. */
export async function pointVerification(
  context: Context,
  point: Point,
  signal?: AbortSignal,
): Promise<PointVerification> {
  const index = await RepositoryIndex.load(context);
  const ledger = await Ledger.load(context);
  const { packs, missing } = await reachOf({ context, index, points: [point] }, signal);
  const needed = [...packs].flatMap((number) => index.packs[number] ?? []);
  const { never, oldest } = ledger.figures(needed);
  return {
    packs: needed.length,
    never,
    missing: missing.size,
    ...(oldest === undefined ? {} : { oldest }),
  };
}
