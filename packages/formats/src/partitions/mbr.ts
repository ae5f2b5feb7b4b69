/**
 * The Master Boot Record and the extended boot records that continue it (as IBM and Microsoft have them; UEFI 2.10
 * section 5.2.1). One sector of 512 bytes, all numbers little-endian, addresses in sectors:
 *
 *   0    440  boot code            440  4  disk signature        444  2  reserved
 *   446  64   four entries         510  2  55 AA
 *   an entry: 0 status (80: active, else 00)   4 type   8 first sector u32   12 sectors u32   (the rest: CHS)
 *
 * An extended boot record has the same form. Its first entry is a logical partition, counted from the record itself;
 * its second is the next record, counted from the beginning of the extended partition.
 */
import { FormatError } from '@prima/base';

export interface MbrEntry {
  /** 0 to 3: the place in the sector. */
  slot: number;
  status: number;
  type: number;
  /** Sectors, as written: relative in an extended boot record. */
  firstSector: number;
  sectors: number;
}

export interface Mbr {
  /** Eight hex digits; undefined where it is zero. */
  diskId?: string;
  /** Those in use: with a type and a length. */
  entries: MbrEntry[];
}

export const mbrBytes = 512;
export const gptProtective = 0xee;
const entriesOffset = 446;
const entryBytes = 16;

/** @param bytes the first 512 bytes. Raises `format` when the mark at its end is missing or a status is none. */
export function parseMbr(bytes: Uint8Array): Mbr {
  if (bytes.length < mbrBytes) throw new FormatError(`a boot record has 512 bytes, not ${bytes.length}`);
  const sector = Buffer.from(bytes.buffer, bytes.byteOffset, mbrBytes);
  if (sector.readUInt16BE(510) !== 0x55aa) {
    throw new FormatError('a boot record ends with 55 AA', { details: { offset: 510 } });
  }
  const entries: MbrEntry[] = [];
  for (let slot = 0; slot < 4; slot += 1) {
    const at = entriesOffset + slot * entryBytes;
    const entry = {
      slot,
      status: sector.readUInt8(at),
      type: sector.readUInt8(at + 4),
      firstSector: sector.readUInt32LE(at + 8),
      sectors: sector.readUInt32LE(at + 12),
    };
    if ((entry.status & 0x7f) !== 0) {
      throw new FormatError(`entry ${slot + 1} of a boot record has the status 0x${hex(entry.status)}`, {
        details: { offset: at },
      });
    }
    if (entry.type !== 0 && entry.sectors !== 0) entries.push(entry);
  }
  const id = sector.readUInt32LE(440);
  return { ...(id !== 0 && { diskId: id.toString(16).padStart(8, '0') }), entries };
}

export function isExtended(type: number): boolean {
  return type === 0x05 || type === 0x0f || type === 0x85;
}

/** `0x83`. */
export function mbrTypeId(type: number): string {
  return `0x${hex(type)}`;
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}
