/** Checks of keys, prefixes and ranges that every store makes in the same words. */
import { assert, IntegrityError, StorageError } from '@prima/base';
import { keyPattern, type ObjectBody, type ObjectRange } from './object-store.ts';

const prefixPattern = /^(?:[A-Za-z0-9][A-Za-z0-9._-]*\/)*(?:[A-Za-z0-9][A-Za-z0-9._-]*)?$/;

/** Keys and prefixes are made by us, so a wrong one is our own mistake. */
export function assertKey(key: string): void {
  assert(keyPattern.test(key), `"${key}" is a key`);
}

export function assertPrefix(prefix: string): void {
  assert(prefix.length <= 200 && prefixPattern.test(prefix), `"${prefix}" is the beginning of a key`);
}

export function missingObject(key: string, url: string, cause?: unknown): StorageError {
  return new StorageError('not-found', `reading ${key} in ${url}: there is no such object`, {
    cause,
    details: { key },
  });
}

/** The error for deleting what the store itself keeps until `until` (milliseconds since 1970). */
export function retainedObject(key: string, url: string, until: number, cause?: unknown): StorageError {
  const date = new Date(until).toISOString();
  return new StorageError('refused', `deleting ${key} in ${url}: the store keeps it until ${date}`, {
    cause,
    details: { key, retainedUntil: date },
  });
}

/** The range to read of an object of `size` bytes: all of it without one. Raises `integrity` when it stands out. */
export function rangeWithin(
  object: { key: string; url: string; size: number },
  range: ObjectRange | undefined,
): ObjectRange {
  const { size } = object;
  if (range === undefined) return { offset: 0, length: size };
  const { offset, length } = range;
  const valid = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  assert(valid, `${offset}+${length} is a byte range`);
  if (offset + length > size) throw tooShort(object, { offset, length });
  return { offset, length };
}

/** The error for an object that ends before what is to be read of it. */
export function tooShort(
  object: { key: string; url: string; size: number },
  range: ObjectRange,
): IntegrityError {
  const { key, url, size } = object;
  const { offset, length } = range;
  return new IntegrityError(
    `reading ${key} in ${url}: bytes ${offset} to ${offset + length} are wanted, but the object has ${size}`,
    { details: { key, size, offset, length } },
  );
}

/** The pieces of a body. */
export function piecesOf(body: ObjectBody): readonly Uint8Array[] {
  return body instanceof Uint8Array ? [body] : body;
}

export function bodyLength(body: ObjectBody): number {
  return piecesOf(body).reduce((sum, piece) => sum + piece.length, 0);
}
