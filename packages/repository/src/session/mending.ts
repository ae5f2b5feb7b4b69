/**
 * What of a parent's disk cannot be read any more, so that a backup reads it from the source again, whatever
 * change tracking says. See "Damage" of the format.
 */
import { PrimaError, type Range } from '@prima/base';
import type { RootRef } from '../point.ts';
import type { PageRef } from '../format/page.ts';
import type { RepositoryIndex } from '../index/repository-index.ts';
import type { PageTree } from '../manifest/page-tree.ts';

export interface LostChunk extends Range {
  id: Uint8Array;
}

/** The parent of a tracked backup. */
export interface ParentDisk {
  /** One reference a leaf; below pages that cannot be read they refer to nothing. */
  leaves: PageRef[];
  /** Chunks that no place gives any more. */
  lost: LostChunk[];
  /** Ranges whose pages cannot be read. */
  hidden: Range[];
}

/**
 * Reads the parent's leaves and, only where blobs may be lost, all its pages. Raises what the store raises; pages
 * that are damaged are part of the answer.
 */
export async function readParent(
  { tree, index }: { tree: PageTree; index: RepositoryIndex },
  root: RootRef,
  size: number,
): Promise<ParentDisk> {
  const parent: ParentDisk = { leaves: [], lost: [], hidden: [] };
  const onError = (error: unknown, range: Range) => {
    if (!isIntegrity(error)) throw error;
    parent.hidden.push(range);
  };
  if (index.mayHaveLost()) {
    await tree.walk(root, size, {
      page: () => true,
      chunk: (id, range) => void (index.isLost(id) && parent.lost.push({ id, ...range })),
      onError,
    });
  }
  parent.leaves = await tree.leaves(root, size, onError);
  blank(parent);
  return parent;
}

export function isIntegrity(error: unknown): error is PrimaError {
  return error instanceof PrimaError && error.code === 'integrity';
}

/** A leaf whose page cannot be read begins without references; all of its range is read. */
function blank({ leaves, hidden }: ParentDisk): void {
  const starts = new Set(hidden.map(({ offset }) => offset));
  let offset = 0;
  for (const [number, leaf] of leaves.entries()) {
    if (starts.has(offset)) leaves[number] = { id: undefined, length: leaf.length };
    offset += leaf.length;
  }
}
