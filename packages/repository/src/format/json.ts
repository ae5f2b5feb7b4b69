/** JSON from outside. */
import { FormatError } from '@prima/base';

/** Parses JSON that must be an object. Raises `format`. */
export function parseJson(text: string, where: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new FormatError(`${where} is not JSON`, { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new FormatError(`${where} is not a JSON object`);
  }
  return value as Record<string, unknown>;
}

/** True for `bytes` bytes as lower-case hex digits. */
export function isHex(value: unknown, bytes: number): value is string {
  return typeof value === 'string' && value.length === bytes * 2 && /^[0-9a-f]*$/.test(value);
}

/** True for a whole number from `low` to `high`. */
export function isWithin(value: unknown, low: number, high: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= low && value <= high;
}
