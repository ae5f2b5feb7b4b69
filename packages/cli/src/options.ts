/** Parsers of option values. What they refuse is a usage error that names the option. */
import { parseBytes } from '@prima/base';
import { InvalidArgumentError } from 'commander';
import type { MachineCreateRequest } from '@prima/api';

/** A whole number from 1. */
export function parseCount(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < 1) {
    throw new InvalidArgumentError('It must be a whole number from 1.');
  }
  return value;
}

/** `64M` → bytes, at least 1. */
export function parseSize(text: string): number {
  const bytes = sizeOf(text);
  if (bytes < 1) throw new InvalidArgumentError('It must be more than 0 bytes.');
  return bytes;
}

/** `64M` → bytes; `0` is allowed. */
export function parseSizeOrNone(text: string): number {
  return sizeOf(text);
}

/** `10M`, `1.5MiB/s` → bytes a second, at least 1. */
export function parseRate(text: string): number {
  return parseSize(text.replace(/\s*\/\s*s(?:ec)?\s*$/i, ''));
}

/** A zstd level, 1 … 19. */
export function parseLevel(text: string): number {
  const level = parseCount(text);
  if (level > 19) throw new InvalidArgumentError('It must be from 1 to 19.');
  return level;
}

/** A share above 0, at most 1. */
export function parseShare(text: string): number {
  const share = Number(text);
  if (text.trim() === '' || !(share > 0 && share <= 1)) {
    throw new InvalidArgumentError('It must be above 0 and at most 1, for example 0.8.');
  }
  return share;
}

const durationUnits: Partial<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `90s`, `10m`, `2h`, `30d` or plain seconds → milliseconds. 0 is allowed. */
export function parseDuration(text: string): number {
  const [, digits, unit = 's'] = /^(\d{1,9})([smhd])?$/.exec(text) ?? [];
  const factor = durationUnits[unit];
  if (digits === undefined || factor === undefined) {
    throw new InvalidArgumentError('It must be a time such as 90s, 10m, 2h or 30d.');
  }
  return Number(digits) * factor;
}

/** Collects the values of an option that may be given several times. */
export function collect(value: string, previous: readonly string[] | undefined): string[] {
  return [...(previous ?? []), value];
}

type DiskRequest = MachineCreateRequest['disks'][number];

/** `1G`, `1G:qcow2` → a new empty disk. Raw unless told. */
export function parseNewDisk(text: string): DiskRequest {
  const [, size = '', format = 'raw'] = /^([^:]*)(?::(.*))?$/.exec(text) ?? [];
  return { size: parseSize(size), format: diskFormat(format) };
}

/** `PATH`, `PATH:qcow2` → a disk that is a copy of a file, as it is or converted; a path may hold colons. */
export function parseDiskCopy(text: string): DiskRequest {
  const [, path = text, format] = /^(.+):(raw|qcow2)$/.exec(text) ?? [];
  if (path === '') throw new InvalidArgumentError('It must be PATH or PATH:FORMAT.');
  return { copyOf: path, ...(format === undefined ? {} : { format: diskFormat(format) }) };
}

function diskFormat(text: string): 'raw' | 'qcow2' {
  if (text === 'raw' || text === 'qcow2') return text;
  throw new InvalidArgumentError(`The format is raw or qcow2, not "${text}".`);
}

function sizeOf(text: string): number {
  try {
    return parseBytes(text);
  } catch (error) {
    throw new InvalidArgumentError(`${error instanceof Error ? error.message : String(error)}.`);
  }
}
