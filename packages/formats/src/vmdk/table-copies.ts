/**
 * Two copies of a grain table that differ, made one. A crash between the two leaves entries that only one has; damage
 * leaves zeros or noise. An entry that can be true goes before one that cannot, one that names a grain before one that
 * names none. Where both could be true nothing can tell which is, so nothing is made of them.
 */

/** Entries of a sector: what a disk loses or tears at once. */
const sectorEntries = 128;

/** `doubtful`: it can be true, but not together with another one of which the same is known. */
export type EntryTrust = 'sound' | 'doubtful' | 'impossible';

export interface CopiesCheck {
  /** Of an entry that is neither 0 nor, where it stands for zeros, 1. */
  trust: (which: 0 | 1, at: number, entry: number) => EntryTrust;
  zeroEntries: boolean;
}

export type MergedCopies = { merged: Uint32Array; different: number } | { refused: string };

/** @param copies the one that is read first */
export function mergeCopies([first, second]: [Uint32Array, Uint32Array], check: CopiesCheck): MergedCopies {
  const merged = Uint32Array.from(first);
  let different = 0;
  for (let start = 0; start < merged.length; start += sectorEntries) {
    const end = Math.min(merged.length, start + sectorEntries);
    const noise = [
      isNoise(first, 0, { start, end }, check),
      isNoise(second, 1, { start, end }, check),
    ] as const;
    for (let at = start; at < end; at += 1) {
      const pair = [first[at] ?? 0, second[at] ?? 0] as const;
      if (pair[0] === pair[1]) continue;
      different += 1;
      const chosen = chooseEntry(pair, at, { ...check, noise });
      if (chosen === undefined) {
        return {
          refused: `entry ${at} is ${pair[0]} in one and ${pair[1]} in the other, and neither is known to be true`,
        };
      }
      merged[at] = chosen;
    }
  }
  return { merged, different };
}

interface Choice extends CopiesCheck {
  noise: readonly [boolean, boolean];
}

function chooseEntry(
  [first, second]: readonly [number, number],
  at: number,
  { trust, zeroEntries, noise }: Choice,
): number | undefined {
  const namesGrain = (entry: number) => entry > 1 || (entry === 1 && !zeroEntries);
  const trustIn = (which: 0 | 1, entry: number) =>
    noise[which] ? 'impossible' : namesGrain(entry) ? trust(which, at, entry) : 'sound';
  const trusts = [trustIn(0, first), trustIn(1, second)];
  if (trusts.includes('doubtful')) return undefined;
  if (trusts[0] !== trusts[1]) return trusts[0] === 'sound' ? first : second;
  if (trusts[0] === 'impossible') return undefined;
  if (first === 0) return second;
  if (second === 0) return first;
  // zeros over a grain or a grain over zeros: what is read now stays
  return namesGrain(first) && namesGrain(second) ? undefined : first;
}

/** True when most of what a sector of a table names cannot be. */
function isNoise(
  table: Uint32Array,
  which: 0 | 1,
  { start, end }: { start: number; end: number },
  { trust, zeroEntries }: CopiesCheck,
): boolean {
  let [named, impossible] = [0, 0];
  for (let at = start; at < end; at += 1) {
    const entry = table[at] ?? 0;
    if (entry === 0 || (entry === 1 && zeroEntries)) continue;
    named += 1;
    if (trust(which, at, entry) === 'impossible') impossible += 1;
  }
  return impossible * 2 > named;
}
