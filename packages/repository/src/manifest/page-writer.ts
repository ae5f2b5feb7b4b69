/** Builds the pages above a list of leaves. */
import type { RootRef } from '../point.ts';
import { hexOf } from '../context.ts';
import { type Page, pageFanout, type PageRef, rootLevel } from '../format/page.ts';

/** Stores a page (or finds that it is stored) and gives its id. */
export type StorePage = (page: Page) => Promise<Uint8Array>;

/** A reference to a page with these references: a zero reference where all of them are. */
export async function storeRefs(level: number, refs: PageRef[], store: StorePage): Promise<PageRef> {
  const length = refs.reduce((sum, ref) => sum + ref.length, 0);
  const isZero = refs.every((ref) => ref.id === undefined);
  return { id: isZero ? undefined : await store({ level, refs }), length };
}

/** Builds all levels above the leaves of a disk of `size` bytes and gives its root. */
export async function storeTree(
  leaves: PageRef[],
  size: number,
  chunkSize: number,
  store: StorePage,
): Promise<RootRef> {
  let refs = leaves;
  for (let level = 1; level <= rootLevel(size, chunkSize); level += 1) {
    const above: PageRef[] = [];
    for (let i = 0; i < refs.length; i += pageFanout) {
      above.push(await storeRefs(level, refs.slice(i, i + pageFanout), store));
    }
    refs = above;
  }
  const id = refs[0]?.id;
  return id ? { id: hexOf(id), zero: false } : { id: '0'.repeat(64), zero: true };
}
