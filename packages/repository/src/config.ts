/** The object `config`: see the format. */
import { FormatError, KiB, MiB, PrimaError } from '@prima/base';
import { type RecordSigner, verifyRecord } from './crypto/signature.ts';
import { parseJson } from './format/json.ts';

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

export const configKey = 'config';

/** The config as it is stored: signed JSON. */
export function writeConfig(config: Config, signer: RecordSigner): string {
  const members = { format, version, compression: 'zstd', ...config };
  return signer.write(members, { repositoryId: config.id, objectKey: configKey });
}

/** The members of a config, bounded but not yet authenticated: see `verifyConfig`. */
export function parseConfig(text: string): Config {
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
  return { id, created, chunkSize, level, readBack, ...lock };
}

/** Raises `integrity` when the stored config is not as a writer of the repository made it. */
export function verifyConfig(text: string, repositoryId: string, signers: readonly string[]): void {
  verifyRecord(text, { repositoryId, objectKey: configKey }, signers);
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
