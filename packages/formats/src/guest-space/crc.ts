/**
 * The checksums of file systems that Node has not: CRC-32C (Castagnoli; RFC 3720 appendix B.4) and the CRC-16 with the
 * polynomial 0x8005 that ext4 calls crc16, both reflected. Raw: who needs the usual inversions does them.
 */

/** Eight tables, so that eight bytes go in one step. */
const tables = castagnoliTables();

function castagnoliTables(): Uint32Array[] {
  const all = Array.from({ length: 8 }, () => new Uint32Array(256));
  const [first = new Uint32Array(256)] = all;
  for (let byte = 0; byte < 256; byte += 1) {
    let value = byte;
    for (let bit = 0; bit < 8; bit += 1) value = (value >>> 1) ^ ((value & 1) * 0x82f63b78);
    first[byte] = value;
  }
  for (let byte = 0; byte < 256; byte += 1) {
    for (let k = 1; k < 8; k += 1) {
      const before = all[k - 1]?.[byte] ?? 0;
      (all[k] ?? first)[byte] = (before >>> 8) ^ (first[before & 0xff] ?? 0);
    }
  }
  return all;
}

/** @param crc what the bytes before gave; 0xffffffff at the beginning */
export function crc32c(crc: number, bytes: Uint8Array): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = tables as [
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
  ];
  let value = crc >>> 0;
  let at = 0;
  const get = (table: Uint32Array, index: number) => table[index] ?? 0;
  for (; at + 8 <= bytes.length; at += 8) {
    value ^=
      byteAt(bytes, at) |
      (byteAt(bytes, at + 1) << 8) |
      (byteAt(bytes, at + 2) << 16) |
      (byteAt(bytes, at + 3) << 24);
    value =
      get(t7, value & 0xff) ^
      get(t6, (value >>> 8) & 0xff) ^
      get(t5, (value >>> 16) & 0xff) ^
      get(t4, value >>> 24) ^
      get(t3, byteAt(bytes, at + 4)) ^
      get(t2, byteAt(bytes, at + 5)) ^
      get(t1, byteAt(bytes, at + 6)) ^
      get(t0, byteAt(bytes, at + 7));
  }
  for (; at < bytes.length; at += 1) value = (value >>> 8) ^ get(t0, (value ^ byteAt(bytes, at)) & 0xff);
  return value >>> 0;
}

function byteAt(bytes: Uint8Array, index: number): number {
  return bytes[index] ?? 0;
}

/** @param crc what the bytes before gave; 0xffff at the beginning */
export function crc16(crc: number, bytes: Uint8Array): number {
  let value = crc;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit += 1) value = (value >>> 1) ^ ((value & 1) * 0xa001);
  }
  return value;
}
