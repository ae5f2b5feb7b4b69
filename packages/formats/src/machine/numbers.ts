/** Numbers and names in texts from outside. */
import { FormatError } from '@prima/base';

/** A whole number from 0 to 2^53 - 1; undefined where the text is absent or blank. Raises `format`. */
export function parseWhole(text: string | undefined, what: string): number | undefined {
  const digits = text?.trim();
  if (digits === undefined || digits === '') return undefined;
  const value = /^\+?\d{1,16}$/.test(digits) ? Number(digits) : Number.NaN;
  if (!Number.isSafeInteger(value)) {
    throw new FormatError(`${what} is "${digits.slice(0, 80)}" where a whole number was wanted`);
  }
  return value;
}

/** The same with an upper limit, for what memory is spent on or loops run over. */
export function parseBelow(text: string | undefined, limit: number, what: string): number | undefined {
  const value = parseWhole(text, what);
  if (value !== undefined && value >= limit) {
    throw new FormatError(`${what} is ${value} where less than ${limit} was wanted`);
  }
  return value;
}

/** `a` × `b` where that is exact. Raises `format`. */
export function multiply(a: number, b: number, what: string): number {
  const product = a * b;
  if (!Number.isSafeInteger(product)) throw new FormatError(`${what} is ${a} × ${b} bytes, more than 2^53`);
  return product;
}

/** The UUID in lower case with dashes, whatever it is written with. Raises `format`. */
export function parseUuid(text: string | undefined, what: string): string | undefined {
  const trimmed = text?.trim();
  if (trimmed === undefined || trimmed === '') return undefined;
  const digits = trimmed.replaceAll(/[\s{}-]/g, '').toLowerCase();
  if (!/^[0-9a-f]{32}$/.test(digits)) throw new FormatError(`${what} is "${trimmed.slice(0, 80)}", no UUID`);
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** A MAC address in lower case with colons. Raises `format`. */
export function parseMac(text: string | undefined, what: string): string | undefined {
  const trimmed = text?.trim();
  if (trimmed === undefined || trimmed === '') return undefined;
  const digits = trimmed.replaceAll(/[:-]/g, '').toLowerCase();
  if (!/^[0-9a-f]{12}$/.test(digits)) {
    throw new FormatError(`${what} is "${trimmed.slice(0, 80)}", no MAC address`);
  }
  return digits.replaceAll(/..(?!$)/g, '$&:');
}

/** The one of `names` that `text` is in any case. */
export function oneOf<T extends string>(names: readonly T[], text: string | undefined): T | undefined {
  const wanted = text?.trim().toLowerCase();
  return names.find((name) => name.toLowerCase() === wanted);
}
