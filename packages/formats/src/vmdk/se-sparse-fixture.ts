/** A hand-made seSparse extent for tests, laid out as the one that ESX wrote (se-sparse.ts). */
import { sectorBytes } from './hosted-header.ts';

/** What a grain of 4 KiB is: its data, or the nibble of an entry without any (0 absent, 1 unmapped, 2 zeros). */
export type SeGrain = Uint8Array | 0 | 1 | 2;

const [volatileAt, journalHeaderAt, journalAt, directoryAt, tablesAt] = [1, 2, 0x800, 0x1000, 0x1800];
const [bitmapAt, backmapAt, grainsAt] = [0x2000, 0x2800, 0x3000];

/** @param grains the first grains of the disk, which has `capacity` sectors */
export function seSparseFile(capacity: number, grains: ReadonlyMap<number, SeGrain>): Buffer {
  const stored = [...grains].filter((entry): entry is [number, Uint8Array] => typeof entry[1] !== 'number');
  const bytes = Buffer.alloc((grainsAt + stored.length * 8) * sectorBytes);
  const header = [0xcafebabe, 0x200000001, capacity, 8, 64, 0, 0, 0, 0, 0];
  const places = [
    [volatileAt, 1],
    [journalHeaderAt, 2],
    [journalAt, 0x800],
    [directoryAt, 0x800],
    [tablesAt, 0x800],
    [bitmapAt, 0x800],
    [backmapAt, 0x800],
    [grainsAt, stored.length * 8],
  ];
  for (const [index, value] of [...header, ...places.flat()].entries()) {
    bytes.writeBigUInt64LE(BigInt(value), index * 8);
  }
  bytes.writeBigUInt64LE(0xcafecafen, volatileAt * sectorBytes);
  let next = 0;
  const tables = new Map<number, number>();
  for (const [grain, content] of grains) {
    const index = Math.floor(grain / 4096);
    const table = tables.get(index) ?? tables.size;
    if (!tables.has(index)) {
      tables.set(index, table);
      bytes.writeBigUInt64LE(0x1000000000000000n + BigInt(table), directoryAt * sectorBytes + index * 8);
    }
    const entry = (tablesAt + table * 64) * sectorBytes + (grain % 4096) * 8;
    bytes.writeBigUInt64LE(typeof content === 'number' ? BigInt(content) << 60n : 0n, entry);
    if (typeof content === 'number') continue;
    const number = next;
    next += 1;
    const split = (BigInt(number % 4096) << 48n) | BigInt(Math.floor(number / 4096));
    bytes.writeBigUInt64LE((3n << 60n) | split, entry);
    bytes.set(content, (grainsAt + number * 8) * sectorBytes);
  }
  return bytes;
}

/** The byte of the volatile header that says that changes are pending in the journal. */
export const seSparseReplayOffset = volatileAt * sectorBytes + 24;
