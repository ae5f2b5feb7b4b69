/**
 * One header of a tar archive: ustar (POSIX.1-1988), with what GNU and pax (POSIX.1-2001) added for long names and large files.
 *
 *   0   100  name                  124  12  size, octal; or base-256: first byte 0x80, big-endian
 *   100   8  mode, octal           136  12  modified, seconds, octal
 *   108   8  uid, octal            148   8  checksum: sum of all bytes with this field as spaces
 *   116   8  gid, octal            156   1  type: 0 or NUL file, x pax for the next, g pax for all, L long name
 *   257   6  "ustar" NUL or space  345 155  prefix: prefix/name (ustar only)
 */
import { FormatError } from '@prima/base';

export const tarBlockBytes = 512;

export interface TarHeader {
  name: string;
  size: number;
  /** One character. */
  type: string;
}

/** Undefined for a block of zeros, two of which end an archive. Raises `format`. */
export function parseTarHeader(block: Uint8Array, offset: number): TarHeader | undefined {
  const bytes = Buffer.from(block.buffer, block.byteOffset, tarBlockBytes);
  if (bytes.every((byte) => byte === 0)) return undefined;
  const fail = (found: string): never => {
    throw new FormatError(`tar archive, byte ${offset}: ${found}`, { details: { offset } });
  };
  const checksum = octal(bytes.subarray(148, 156));
  const sum = checksumOf(bytes);
  if (checksum !== sum) fail(`the header's checksum is ${checksum ?? 'no number'}, its bytes give ${sum}`);
  const size = sizeOf(bytes.subarray(124, 136));
  if (size === undefined) return fail('the size is no number below 2^53');
  const isUstar = bytes.subarray(257, 263).toString('latin1') === 'ustar\0';
  const prefix = isUstar ? text(bytes.subarray(345, 500)) : '';
  const name = text(bytes.subarray(0, 100));
  const type = bytes[156] === 0 ? '0' : String.fromCharCode(bytes[156] ?? 0);
  return { name: prefix === '' ? name : `${prefix}/${name}`, size, type };
}

export interface NewTarHeader extends TarHeader {
  /** Seconds since 1970. */
  modified: number;
}

/** `name` is at most 100 bytes; sizes from 8 GiB are written in base 256. */
export function writeTarHeader({ name, size, type, modified }: NewTarHeader): Buffer {
  const bytes = Buffer.alloc(tarBlockBytes);
  const number = (value: number, at: number, length: number) =>
    bytes.write(value.toString(8).padStart(length - 1, '0'), at, length - 1, 'latin1');
  bytes.write(name, 0, 100, 'utf8');
  number(0o644, 100, 8);
  number(0, 108, 8);
  number(0, 116, 8);
  if (size < 8 ** 11) number(size, 124, 12);
  else {
    bytes[124] = 0x80;
    bytes.writeBigUInt64BE(BigInt(size), 128);
  }
  number(modified, 136, 12);
  bytes.write(type, 156, 1, 'latin1');
  bytes.write('ustar\x0000', 257, 8, 'latin1');
  number(checksumOf(bytes), 148, 7);
  bytes[155] = 0x20;
  return bytes;
}

/** What fills the last block of `size` bytes. */
export function tarPadding(size: number): number {
  return (tarBlockBytes - (size % tarBlockBytes)) % tarBlockBytes;
}

/** A pax header's records: `21 path=a/long/name\n`, the number being the record's length in bytes. Raises `format`. */
export function parsePax(body: Uint8Array): Map<string, string> {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const records = new Map<string, string>();
  let at = 0;
  while (at < bytes.length) {
    const space = bytes.indexOf(0x20, at);
    const digits = bytes.subarray(at, space < 0 ? at : space).toString('latin1');
    const length = /^\d{1,7}$/.test(digits) ? Number(digits) : 0;
    const record = bytes.subarray(space + 1, at + length);
    const equals = record.indexOf(0x3d);
    if (length === 0 || at + length > bytes.length || equals < 1 || record.at(-1) !== 0x0a) {
      throw new FormatError(`tar archive: byte ${at} of a pax header begins no record`, {
        details: { offset: at },
      });
    }
    records.set(
      record.subarray(0, equals).toString('utf8'),
      record.subarray(equals + 1, -1).toString('utf8'),
    );
    at += length;
  }
  return records;
}

export function writePax(records: Readonly<Record<string, string>>): Buffer {
  const lines = Object.entries(records).map(([key, value]) => {
    const rest = Buffer.byteLength(` ${key}=${value}\n`);
    let length = rest + String(rest).length;
    if (rest + String(length).length !== length) length = rest + String(length).length;
    return `${length} ${key}=${value}\n`;
  });
  return Buffer.from(lines.join(''));
}

function checksumOf(bytes: Uint8Array): number {
  let sum = 8 * 0x20;
  for (let at = 0; at < tarBlockBytes; at += 1) if (at < 148 || at >= 156) sum += bytes[at] ?? 0;
  return sum;
}

function octal(field: Buffer): number | undefined {
  const digits = field.toString('latin1').replaceAll('\0', ' ').trim();
  return /^[0-7]{1,12}$/.test(digits) ? Number.parseInt(digits, 8) : undefined;
}

function sizeOf(field: Buffer): number | undefined {
  if (field[0] !== 0x80) return octal(field);
  if (field.subarray(1, 4).some((byte) => byte !== 0)) return undefined;
  const value = field.readBigUInt64BE(4);
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : undefined;
}

function text(field: Buffer): string {
  const end = field.indexOf(0);
  return field.subarray(0, end < 0 ? field.length : end).toString('utf8');
}
