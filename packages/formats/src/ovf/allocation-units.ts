/**
 * Units as OVF says them (DSP0004's programmatic units): `byte * 2^20`, `hertz * 10^6`; and the words that tools wrote before
 * there was a rule: `MegaBytes`, `GB`.
 */
import { FormatError } from '@prima/base';

const words: Readonly<Record<string, number>> = {
  byte: 1,
  bytes: 1,
  b: 1,
  hertz: 1,
  count: 1,
  kilobytes: 2 ** 10,
  kb: 2 ** 10,
  megabytes: 2 ** 20,
  mb: 2 ** 20,
  gigabytes: 2 ** 30,
  gb: 2 ** 30,
  terabytes: 2 ** 40,
  tb: 2 ** 40,
  mhz: 1e6,
};

/** How many bytes (or hertz) one unit is. Raises `format`. */
export function parseAllocationUnits(text: string, what: string): number {
  const [base = '', ...factors] = text
    .trim()
    .toLowerCase()
    .split(/\s*\*\s*/);
  let value = words[base] ?? Number.NaN;
  for (const factor of factors.slice(0, 8)) {
    const [, digits, power = '1'] = /^(\d{1,16})(?:\s*\^\s*(\d{1,2}))?$/.exec(factor) ?? [];
    value *= digits === undefined ? Number.NaN : Number(digits) ** Number(power);
  }
  if (!Number.isSafeInteger(value) || value === 0 || factors.length > 8) {
    throw new FormatError(
      `${what} is in "${text.slice(0, 80)}" where units such as "byte * 2^20" were wanted`,
    );
  }
  return value;
}
