/** Cursors of pages: where the page before ended, opaque to callers; and words that are looked for. */
import { UserError } from '@prima/base';

function cursorOf(...parts: readonly string[]): string {
  return Buffer.from(JSON.stringify(parts)).toString('base64url');
}

/** Its parts; none without a cursor. Raises `usage` for one that is not ours. */
export function readCursor(cursor: string | undefined, parts: number): string[] {
  if (cursor === undefined) return [];
  try {
    const read: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString());
    if (Array.isArray(read) && read.length === parts && read.every((part) => typeof part === 'string'))
      return read;
  } catch {
    // told below
  }
  throw new UserError('usage', 'this cursor is not one; begin with the first page');
}

/** Wildcards of LIKE stand for nothing but themselves where they cannot be escaped alike in both databases. */
export const likeWords = (text: string): string => text.replaceAll(/[%_]/g, '_');

/** A page of `found`, which were asked for with one more than `limit`: by it the page knows whether there is another. */
export function pageOf<Row>(
  found: readonly Row[],
  limit: number,
  placeOf: (last: Row) => readonly string[],
): { rows: readonly Row[]; next: { next?: string } } {
  const rows = found.slice(0, limit);
  const last = rows.at(-1);
  return { rows, next: found.length > limit && last ? { next: cursorOf(...placeOf(last)) } : {} };
}
