/** The object `config`: see the format. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { FormatError, IntegrityError, KiB, MiB, PrimaError } from '@prima/base';
import { parseJson } from './crypto/keys.ts';

export interface Config {
  id: string;
  created: string;
  chunkSize: number;
  level: number;
  readBack: boolean;
  /** How long points are locked at least. */
  lockSeconds?: number;
}

const format = 'prima-repository';
const version = 1;

export function writeConfig(config: Config, configKey: Uint8Array): string {
  const members = { format, version, compression: 'zstd', ...config };
  return JSON.stringify({ ...members, mac: macOf(members, configKey) });
}

/** The members of a config, bounded but not yet authenticated: see `verifyConfig`. */
export function parseConfig(text: string): { config: Config; members: Record<string, unknown> } {
  const members = parseJson(text, "the repository's config");
  if (members['format'] !== format)
    throw new FormatError('this is not a Prima repository: its config has another format');
  if (typeof members['version'] === 'number' && members['version'] > version) {
    throw new PrimaError(
      'newer-version',
      `the repository has format ${members['version']}, this Prima reads up to ${version}; update Prima`,
    );
  }
  const { id, created, chunkSize, level, readBack, lockSeconds } = members;
  const sound =
    members['version'] === version &&
    members['compression'] === 'zstd' &&
    typeof id === 'string' &&
    /^[0-9a-f]{32}$/.test(id) &&
    typeof created === 'string' &&
    isChunkSize(chunkSize) &&
    isLevel(level) &&
    typeof readBack === 'boolean' &&
    (lockSeconds === undefined || isLockSeconds(lockSeconds));
  if (!sound) throw new FormatError("the repository's config has missing or out-of-range members");
  const lock = lockSeconds === undefined ? {} : { lockSeconds };
  return { config: { id, created, chunkSize, level, readBack, ...lock }, members };
}

/** Raises `integrity` when somebody without the key changed the config. */
export function verifyConfig(members: Record<string, unknown>, configKey: Uint8Array): void {
  const { mac, ...rest } = members;
  const wanted = Buffer.from(macOf(rest, configKey), 'hex');
  const found = Buffer.from(typeof mac === 'string' ? mac : '', 'hex');
  if (found.length !== wanted.length || !timingSafeEqual(found, wanted)) {
    throw new IntegrityError("the repository's config was changed by somebody without its key");
  }
}

export function isChunkSize(value: unknown): value is number {
  const isPower = typeof value === 'number' && Number.isInteger(Math.log2(value));
  return isPower && value >= 256 * KiB && value <= 4 * MiB;
}

/** At most ten years: every point of the repository is kept so long, whatever happens. */
export function isLockSeconds(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 && value <= 3653 * 86_400;
}

export function isLevel(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 19;
}

function macOf(members: Record<string, unknown>, configKey: Uint8Array): string {
  const sorted = Object.fromEntries(Object.entries(members).sort(([a], [b]) => (a < b ? -1 : 1)));
  return createHmac('sha256', configKey).update(JSON.stringify(sorted)).digest('hex');
}
