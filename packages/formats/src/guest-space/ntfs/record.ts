/**
 * File records of NTFS and their attributes (Microsoft's driver documentation, FILE_RECORD_SEGMENT_HEADER,
 * ATTRIBUTE_RECORD_HEADER, MULTI_SECTOR_HEADER; the Linux-NTFS documentation), little-endian. A record:
 *
 *   0 "FILE"   4 offset, 6 number of update sequence values   20 first attribute   22 flags: 1 in use   24 bytes in use
 *   32 base record, 0 in a base record   44 own number
 *
 * An attribute: 0 type (FFFFFFFF: the end), 4 length, 8 nonresident, 9 length and 10 offset of its name, 12 flags
 * (1 compressed, 4000 encrypted, 8000 sparse), then resident: 16 length, 20 offset; or nonresident: 16 first VCN,
 * 32 offset of the runs, 48 size, 56 initialised size.
 */
import { FormatError } from '@prima/base';

export interface Attribute {
  type: number;
  name: string;
  flags: number;
  /** The whole of it, when it is resident. */
  value?: Buffer;
  /** Where it is, when it is not. */
  runs?: Run[];
  firstVcn: number;
  size: number;
  initialized: number;
}

/** Clusters of an attribute; a sparse run has no `cluster`. */
export interface Run {
  cluster?: number;
  length: number;
}

export const attributeType = {
  attributeList: 0x20,
  fileName: 0x30,
  volumeInformation: 0x70,
  data: 0x80,
  indexRoot: 0x90,
  indexAllocation: 0xa0,
} as const;

const mostAttributes = 256;
const mostRuns = 65_536;
const stride = 512;

/**
 * Checks the update sequence of a record of several sectors, and puts back the bytes that it stands for. Raises
 * `format` when a sector was not written together with the others. Changes `bytes`.
 */
export function applyFixups(bytes: Buffer, magic: string, what: string): Buffer {
  if (bytes.toString('latin1', 0, 4) !== magic) throw new FormatError(`${what} does not begin with ${magic}`);
  const [offset, count] = [bytes.readUInt16LE(4), bytes.readUInt16LE(6)];
  const strides = Math.floor(bytes.length / stride);
  if (count !== strides + 1 || offset < 8 || offset % 2 !== 0 || offset + count * 2 > stride - 2) {
    throw new FormatError(`${what} has an impossible update sequence`, { details: { offset: 4 } });
  }
  const check = bytes.readUInt16LE(offset);
  for (let i = 0; i < strides; i += 1) {
    const end = (i + 1) * stride - 2;
    if (bytes.readUInt16LE(end) !== check) {
      throw new FormatError(`${what} was written in part`, { details: { offset: end } });
    }
    bytes.writeUInt16LE(bytes.readUInt16LE(offset + 2 + i * 2), end);
  }
  return bytes;
}

/** The attributes of a base record that is in use. Raises `format`. Changes `bytes` (fixups). */
export function parseFileRecord(bytes: Buffer, number: number): Attribute[] {
  const what = `file record ${number}`;
  applyFixups(bytes, 'FILE', what);
  const [used, first] = [bytes.readUInt32LE(24), bytes.readUInt16LE(20)];
  if ((bytes.readUInt16LE(22) & 1) === 0) throw new FormatError(`${what} is not in use`);
  if (bytes.readBigUInt64LE(32) !== 0n) throw new FormatError(`${what} is a part of another`);
  if (used > bytes.length || first < 42 || first > used)
    throw new FormatError(`${what} has impossible sizes`);
  const attributes: Attribute[] = [];
  let at = first;
  while (at + 4 <= used && bytes.readUInt32LE(at) !== 0xffff_ffff) {
    const length = at + 16 <= used ? bytes.readUInt32LE(at + 4) : 0;
    if (length < 24 || length % 8 !== 0 || at + length > used || attributes.length === mostAttributes) {
      throw new FormatError(`${what} has a broken attribute`, { details: { offset: at } });
    }
    attributes.push(parseAttribute(bytes.subarray(at, at + length), `an attribute of ${what}`));
    at += length;
  }
  return attributes;
}

function parseAttribute(bytes: Buffer, what: string): Attribute {
  const [nameLength, nameOffset] = [bytes.readUInt8(9), bytes.readUInt16LE(10)];
  if (nameLength > 0 && nameOffset + nameLength * 2 > bytes.length)
    throw new FormatError(`${what} has a broken name`);
  const common = {
    type: bytes.readUInt32LE(0),
    name: nameLength === 0 ? '' : bytes.toString('utf16le', nameOffset, nameOffset + nameLength * 2),
    flags: bytes.readUInt16LE(12),
  };
  if (bytes.readUInt8(8) === 0) {
    const [length, offset] = [bytes.readUInt32LE(16), bytes.readUInt16LE(20)];
    if (offset + length > bytes.length) throw new FormatError(`${what} stands out of its record`);
    const value = bytes.subarray(offset, offset + length);
    return { ...common, value, firstVcn: 0, size: length, initialized: length };
  }
  if (bytes.length < 64) throw new FormatError(`${what} is too short`);
  return {
    ...common,
    runs: parseRuns(bytes.subarray(Math.min(bytes.readUInt16LE(32), bytes.length)), what),
    firstVcn: Number(bytes.readBigUInt64LE(16)),
    size: Number(bytes.readBigUInt64LE(48)),
    initialized: Number(bytes.readBigUInt64LE(56)),
  };
}

/**
 * Data runs: a byte with the sizes of two numbers (low nibble: of the length; high nibble: of the distance from the run
 * before, signed, absent in a sparse run), the numbers, and so on up to a zero byte. Raises `format`.
 */
export function parseRuns(bytes: Buffer, what: string): Run[] {
  const runs: Run[] = [];
  let cluster = 0;
  let at = 0;
  for (;;) {
    const header = bytes[at];
    if (header === undefined || runs.length === mostRuns)
      throw new FormatError(`the runs of ${what} do not end`);
    if (header === 0) return runs;
    const [lengthBytes, distanceBytes] = [header & 0xf, header >> 4];
    const next = at + 1 + lengthBytes + distanceBytes;
    if (lengthBytes === 0 || lengthBytes > 6 || distanceBytes > 6 || next > bytes.length) {
      throw new FormatError(`a run of ${what} is broken`, { details: { offset: at } });
    }
    const length = bytes.readUIntLE(at + 1, lengthBytes);
    if (distanceBytes > 0) cluster += bytes.readIntLE(at + 1 + lengthBytes, distanceBytes);
    if (length === 0 || cluster < 0)
      throw new FormatError(`a run of ${what} is nowhere`, { details: { offset: at } });
    runs.push(distanceBytes === 0 ? { length } : { cluster, length });
    at = next;
  }
}
