/**
 * Where each blob is, in 28 bytes an entry at a load of at most 0.88: an open-addressing hash table
 * in one typed array. The key is the first 16 bytes of the 32-byte id; ids are keyed HMACs, so two
 * that agree in 128 bits do not occur by chance and cannot be made without the key.
 */
import { assert } from '@prima/base';

const words = 7; // four of the id, then pack, offset, length
const empty = 0xffff_ffff;
const load = 0.88;
const largeTable = 1_000_000;

export interface BlobPlace {
  /** Number of the pack in the owner's list. */
  pack: number;
  offset: number;
  length: number;
}

export class IdTable {
  #cells: Uint32Array;
  #capacity: number;
  #size = 0;

  /** @param expected entries that fit without growing */
  constructor(expected = 0) {
    this.#capacity = capacityFor(expected);
    this.#cells = newCells(this.#capacity);
  }

  get size(): number {
    return this.#size;
  }

  /** Memory held, bytes. */
  get bytes(): number {
    return this.#cells.byteLength;
  }

  get(id: Uint8Array): BlobPlace | undefined {
    const cell = this.#find(keyOf(id));
    const pack = this.#cells[cell + 4] ?? empty;
    if (pack === empty) return undefined;
    return { pack, offset: this.#cells[cell + 5] ?? 0, length: this.#cells[cell + 6] ?? 0 };
  }

  has(id: Uint8Array): boolean {
    return this.#cells[this.#find(keyOf(id)) + 4] !== empty;
  }

  /** Whether any entry is in one of these packs. Looks at all entries. */
  usesPacks(packs: ReadonlySet<number>): boolean {
    for (let cell = 0; cell < this.#cells.length; cell += words) {
      const pack = this.#cells[cell + 4] ?? empty;
      if (pack !== empty && packs.has(pack)) return true;
    }
    return false;
  }

  /** Adds or replaces. */
  set(id: Uint8Array, pack: number, offset: number, length: number): void {
    assert(pack < empty, 'a pack number fits');
    if (this.#size + 1 > this.#capacity * load) this.#grow();
    const key = keyOf(id);
    const cell = this.#find(key);
    if (this.#cells[cell + 4] === empty) this.#size += 1;
    this.#cells.set(key, cell);
    this.#cells[cell + 4] = pack;
    this.#cells[cell + 5] = offset;
    this.#cells[cell + 6] = length;
  }

  /** Index of the cell that holds the key, or of the empty one where it would go. */
  #find(key: Uint32Array): number {
    const cells = this.#cells;
    const [a = 0, b = 0, c = 0, d = 0] = key;
    let slot = Math.floor((a / 2 ** 32) * this.#capacity);
    for (;;) {
      const cell = slot * words;
      if (cells[cell + 4] === empty) return cell;
      if (cells[cell] === a && cells[cell + 1] === b && cells[cell + 2] === c && cells[cell + 3] === d)
        return cell;
      slot = slot + 1 === this.#capacity ? 0 : slot + 1;
    }
  }

  #grow(): void {
    const old = this.#cells;
    const factor = this.#size < largeTable ? 1.5 : 1.12; // where room matters more than copying now and then
    this.#capacity = capacityFor(Math.max(1024, Math.ceil(this.#size * factor)));
    this.#cells = newCells(this.#capacity);
    for (let cell = 0; cell < old.length; cell += words) {
      if (old[cell + 4] === empty) continue;
      this.#cells.set(old.subarray(cell, cell + words), this.#find(old.subarray(cell, cell + 4)));
    }
  }
}

/** Set of ids, for marking; as small as the table allows. */
export class IdSet {
  readonly #table: IdTable;

  constructor(expected = 0) {
    this.#table = new IdTable(expected);
  }

  get size(): number {
    return this.#table.size;
  }

  has(id: Uint8Array): boolean {
    return this.#table.has(id);
  }

  /** Returns false when it was there already. */
  add(id: Uint8Array): boolean {
    if (this.#table.has(id)) return false;
    this.#table.set(id, 0, 0, 0);
    return true;
  }
}

const keyWords = new Uint32Array(4);
const keyBytes = new Uint8Array(keyWords.buffer);

/** The returned view is valid until the next call. */
function keyOf(id: Uint8Array): Uint32Array {
  for (let i = 0; i < 16; i += 1) keyBytes[i] = id[i] ?? 0;
  return keyWords;
}

function capacityFor(entries: number): number {
  return Math.max(64, Math.ceil(entries / load) + 1);
}

function newCells(capacity: number): Uint32Array {
  return new Uint32Array(capacity * words).fill(empty);
}
