/**
 * A package's manifest (`.mf`, DSP0243 section 5.1): one line a file with its digest,
 *
 *   SHA256(web.ovf)= 5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03
 *
 * SHA1, SHA256 and SHA512; OpenSSL's spelling with spaces is read, too. A `.cert` signs the manifest; Prima keeps it with the
 * package and does not verify it: whom to trust is not in the package.
 */
import { createHash } from 'node:crypto';
import { FormatError } from '@prima/base';

export const manifestAlgorithms = ['sha1', 'sha256', 'sha512'] as const;
export type ManifestAlgorithm = (typeof manifestAlgorithms)[number];

export interface ManifestEntry {
  name: string;
  algorithm: ManifestAlgorithm;
  /** Lower case, hexadecimal. */
  digest: string;
}

export interface ManifestFinding {
  name: string;
  /** `wrong`: the digest differs. `missing`: listed, and not there. `unlisted`: there, and not listed. */
  state: 'right' | 'wrong' | 'missing' | 'unlisted';
  /** For people: what was found and what was wanted. */
  text: string;
}

const limitBytes = 1024 * 1024;
const digestLengths: Readonly<Record<ManifestAlgorithm, number>> = { sha1: 40, sha256: 64, sha512: 128 };

/** Raises `format` with the line's number. */
export function parseManifest(source: string | Uint8Array): ManifestEntry[] {
  const size = typeof source === 'string' ? source.length : source.byteLength;
  if (size > limitBytes) {
    throw new FormatError(`OVF manifest: ${size} bytes where at most ${limitBytes} were expected`);
  }
  const text = typeof source === 'string' ? source : Buffer.from(source).toString('utf8');
  const entries: ManifestEntry[] = [];
  const names = new Set<string>();
  for (const [index, line] of text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .entries()) {
    if (line.trim() === '') continue;
    const entry = parseLine(line);
    if (!entry || names.has(entry.name)) {
      const found = entry ? `${entry.name} a second time` : JSON.stringify(line.slice(0, 80));
      throw new FormatError(
        `OVF manifest, line ${index + 1}: ${found} where SHA256(file)= digest was wanted`,
        {
          details: { line: index + 1 },
        },
      );
    }
    names.add(entry.name);
    entries.push(entry);
  }
  return entries;
}

function parseLine(line: string): ManifestEntry | undefined {
  const match = /^\s*SHA-?(1|256|512)\s*\(([^\r\n]{1,1024})\)\s*=\s*([0-9a-f]{40,128})\s*$/i.exec(line);
  if (!match) return undefined;
  const [, bits, name = '', digest = ''] = match;
  const algorithm = manifestAlgorithms.find((known) => known === `sha${bits}`);
  if (!algorithm || digest.length !== digestLengths[algorithm]) return undefined;
  return { name, algorithm, digest: digest.toLowerCase() };
}

export function writeManifest(entries: readonly ManifestEntry[]): string {
  return entries
    .map(({ name, algorithm, digest }) => `${algorithm.toUpperCase()}(${name})= ${digest}\n`)
    .join('');
}

/** Digests of one file, fed piece by piece. */
export class ManifestDigest {
  readonly #hashes;

  constructor(algorithms: readonly ManifestAlgorithm[]) {
    this.#hashes = algorithms.map((algorithm) => ({ algorithm, hash: createHash(algorithm) }));
  }

  update(piece: Uint8Array): void {
    for (const { hash } of this.#hashes) hash.update(piece);
  }

  entries(name: string): ManifestEntry[] {
    return this.#hashes.map(({ algorithm, hash }) => ({
      name,
      algorithm,
      digest: hash.copy().digest('hex'),
    }));
  }
}

/** What a manifest says of the files that were found; the manifest and the certificate themselves are not in it. */
export function compareManifest(
  manifest: readonly ManifestEntry[],
  found: readonly ManifestEntry[],
): ManifestFinding[] {
  const names = new Set(found.map(({ name }) => name));
  const listed = new Set(manifest.map(({ name }) => name));
  const findings = manifest.map(({ name, algorithm, digest }): ManifestFinding => {
    const file = found.find((entry) => entry.name === name && entry.algorithm === algorithm);
    if (!file) return { name, state: 'missing', text: `${name} is in the manifest and not in the package` };
    const algorithmName = algorithm.toUpperCase();
    return file.digest === digest
      ? { name, state: 'right', text: `${name} has the ${algorithmName} of the manifest` }
      : {
          name,
          state: 'wrong',
          text: `${name} has ${algorithmName} ${file.digest}, the manifest says ${digest}`,
        };
  });
  const unlisted = [...names].filter((name) => !listed.has(name));
  return [
    ...findings,
    ...unlisted.map(
      (name): ManifestFinding => ({ name, state: 'unlisted', text: `${name} is not in the manifest` }),
    ),
  ];
}
