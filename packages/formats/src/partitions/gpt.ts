/**
 * The GUID partition table (UEFI 2.10 section 5.3). All numbers little-endian, addresses in sectors of 512 or 4096 bytes.
 * The header, in sector 1 and again in the last one:
 *
 *   0  8  "EFI PART"              8  4  revision 0x00010000      12 4  header's size, 92 or more
 *   16 4  CRC-32 of the header, with this field 0                20 4  reserved
 *   24 8  own sector              32 8  the other header's       40 8  first usable   48 8  last usable
 *   56 16 disk GUID               72 8  sector of the entries    80 4  their number   84 4  size of one, 128 × 2^n
 *   88 4  CRC-32 of the entries
 *
 * An entry: 0 type GUID, 16 unique GUID, 32 first sector, 40 last sector (inclusive), 48 attributes (bit 2: bootable by
 * a BIOS), 56 name, 36 characters UTF-16LE.
 */
import { crc32 } from 'node:zlib';
import { FormatError, MiB } from '@prima/base';
import { noGuid, parseGuid } from './guid.ts';

export interface GptHeader {
  ownSector: number;
  otherSector: number;
  firstUsable: number;
  lastUsable: number;
  diskId: string;
  entriesSector: number;
  entryCount: number;
  entryBytes: number;
  entriesCrc: number;
}

export interface GptEntry {
  /** From 1. */
  index: number;
  type: string;
  uuid: string;
  firstSector: number;
  lastSector: number;
  attributes: bigint;
  name: string;
}

/** Entries that are read at most; the usual 128 take 16 KiB. */
const mostEntriesBytes = MiB;
const headerBytes = 92;

/** @param sector the whole sector that the header is in. Raises `format` with the offset in it. */
export function parseGptHeader(sector: Uint8Array, ownSector: number): GptHeader {
  const bytes = Buffer.from(sector.buffer, sector.byteOffset, sector.byteLength);
  if (bytes.length < headerBytes) throw new FormatError(`a GPT header has 92 bytes, not ${bytes.length}`);
  if (bytes.toString('latin1', 0, 8) !== 'EFI PART') fail(0, 'it does not begin with "EFI PART"');
  const size = bytes.readUInt32LE(12);
  if (size < headerBytes || size > bytes.length)
    fail(12, `a header of ${size} bytes in a sector of ${bytes.length}`);
  const whole = Buffer.from(bytes.subarray(0, size));
  whole.writeUInt32LE(0, 16);
  if (crc32(whole) !== bytes.readUInt32LE(16)) fail(16, 'its checksum is wrong');
  const header: GptHeader = {
    ownSector: sectorNumber(bytes, 24),
    otherSector: sectorNumber(bytes, 32),
    firstUsable: sectorNumber(bytes, 40),
    lastUsable: sectorNumber(bytes, 48),
    diskId: parseGuid(bytes, 56),
    entriesSector: sectorNumber(bytes, 72),
    entryCount: bytes.readUInt32LE(80),
    entryBytes: bytes.readUInt32LE(84),
    entriesCrc: bytes.readUInt32LE(88),
  };
  if (header.ownSector !== ownSector)
    fail(24, `it calls itself sector ${header.ownSector}, not ${ownSector}`);
  const { entryBytes, entryCount } = header;
  if (entryBytes < 128 || !Number.isInteger(Math.log2(entryBytes / 128)))
    fail(84, `entries of ${entryBytes} bytes`);
  if (entryCount * entryBytes > mostEntriesBytes) fail(80, `${entryCount} entries of ${entryBytes} bytes`);
  return header;
}

/** @param entries exactly `entryCount * entryBytes` bytes. Raises `format`. */
export function parseGptEntries(entries: Uint8Array, header: GptHeader): GptEntry[] {
  const { entryCount, entryBytes } = header;
  if (entries.length !== entryCount * entryBytes) {
    throw new FormatError(`${entryCount} GPT entries of ${entryBytes} bytes are not ${entries.length} bytes`);
  }
  const bytes = Buffer.from(entries.buffer, entries.byteOffset, entries.byteLength);
  if (crc32(bytes) !== header.entriesCrc) throw new FormatError('the checksum of the GPT entries is wrong');
  const found: GptEntry[] = [];
  for (let i = 0; i < entryCount; i += 1) {
    const at = i * entryBytes;
    const type = parseGuid(bytes, at);
    if (type === noGuid) continue;
    found.push({
      index: i + 1,
      type,
      uuid: parseGuid(bytes, at + 16),
      firstSector: sectorNumber(bytes, at + 32),
      lastSector: sectorNumber(bytes, at + 40),
      attributes: bytes.readBigUInt64LE(at + 48),
      name: bytes.toString('utf16le', at + 56, at + 128).replace(/\0.*$/s, ''),
    });
  }
  return found;
}

function sectorNumber(bytes: Buffer, offset: number): number {
  const value = bytes.readBigUInt64LE(offset);
  // so that a sector's byte offset stays below 2^53 with sectors of 4096 bytes
  if (value >= 1n << 41n) fail(offset, `the sector number ${value}`);
  return Number(value);
}

function fail(offset: number, found: string): never {
  throw new FormatError(`reading a GPT at byte ${offset}: ${found}`, { details: { offset } });
}
