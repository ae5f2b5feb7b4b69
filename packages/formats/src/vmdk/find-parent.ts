/** Finding the parent of a disk by the hint that the child has. */
import { PrimaError } from '@prima/base';
import type { DiskFolder } from './disk-file.ts';

/** VMware allows 32 snapshots in a chain; whoever has more has a circle, or a mistake. */
export const chainLimit = 255;

/** Of whom a disk is the child. */
export type ParentReference =
  | { by: 'cid'; cid: number; hint: string }
  | { by: 'generation'; generation: number; hint: string };

/** The path of the parent. Raises `not-found`, `refused`. */
export async function findParent(
  child: string,
  { hint }: ParentReference,
  folder: DiskFolder,
): Promise<string> {
  let failure: unknown;
  for (const name of parentNames(hint)) {
    try {
      return await folder.resolve(name, child);
    } catch (error) {
      if (!(error instanceof PrimaError) || !['not-found', 'refused'].includes(error.code)) throw error;
      if (failure === undefined || error.code === 'refused') failure = error;
    }
  }
  throw failure ?? new PrimaError('not-found', `${child} has a parent but does not name it`);
}

/** Where a parent may be, in the order to look: beside the child first. */
export function parentNames(hint: string): string[] {
  const isAbsolute = hint.startsWith('/') || /^[a-z]:[\\/]/i.test(hint);
  const base = hint.split(/[\\/]/).at(-1) ?? hint;
  return [...new Set(isAbsolute ? [base, hint] : [hint, base])].filter((name) => name !== '');
}
