/**
 * The header of a qcow2 file (docs/interop/qcow2.txt of QEMU), as far as it names other files: what is
 * opened together with an image must be known before anything opens it.
 *
 *   0 magic "QFI\xFB"   4 version   8 backing_file_offset u64   16 backing_file_size u32   24 size u64
 *   72 incompatible_features u64   100 header_length u32   then extensions: u32 type, u32 length, data
 *   padded to 8 (all big-endian; 72 and on from version 3)
 */
import { FormatError } from '@prima/base';

export interface Qcow2Header {
  version: 2 | 3;
  /** Virtual size, bytes. */
  size: number;
  /** As written: a path, relative to the image's folder, or something else that QEMU understands. */
  backingFile?: string;
  /** QEMU's name of the backing file's format; absent in old images. */
  backingFormat?: string;
  /** True when the data lies in another file. */
  hasDataFile: boolean;
  dataFile?: string;
}

/** Enough of the file for `parseQcow2Header`. */
export const qcow2HeaderBytes = 64 * 1024;

const magic = 0x514649fb;
const dataFileBit = 1n << 2n;
const extensionEnd = 0;
const extensionBackingFormat = 0xe2792aca;
const extensionDataFile = 0x44415441;
/** The specification's limit for the backing file's name. */
const longestName = 1023;
const mostExtensions = 64;

/** @param bytes the beginning of the file. Raises `format` with the offset. */
export function parseQcow2Header(bytes: Uint8Array): Qcow2Header {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  need(view, 0, 72, 'a qcow2 header');
  if (view.readUInt32BE(0) !== magic) throw broken('the magic QFI is missing', 0);
  const version = view.readUInt32BE(4);
  if (version !== 2 && version !== 3) throw broken(`version is ${version} where 2 or 3 was wanted`, 4);
  if (version === 3) need(view, 72, 32, 'the header of version 3');
  const features = version === 3 ? view.readBigUInt64BE(72) : 0n;
  const headerLength = version === 3 ? view.readUInt32BE(100) : 72;
  if (headerLength < 72 || headerLength > view.length) throw broken(`header_length is ${headerLength}`, 100);
  const extensions = parseExtensions(view, headerLength);
  return {
    version,
    size: safeNumber(view, 24),
    backingFile: backingFile(view),
    backingFormat: extensions.get(extensionBackingFormat),
    hasDataFile: (features & dataFileBit) !== 0n,
    dataFile: extensions.get(extensionDataFile),
  };
}

function backingFile(view: Buffer): string | undefined {
  const offset = safeNumber(view, 8);
  if (offset === 0) return undefined;
  const length = view.readUInt32BE(16);
  if (length > longestName) throw broken(`the backing file's name has ${length} bytes`, 16);
  need(view, offset, length, "the backing file's name");
  return view.toString('utf8', offset, offset + length);
}

/** The extensions that hold text, by type. */
function parseExtensions(view: Buffer, start: number): Map<number, string> {
  const found = new Map<number, string>();
  let offset = start;
  for (let count = 0; count < mostExtensions && offset + 8 <= view.length; count += 1) {
    const type = view.readUInt32BE(offset);
    const length = view.readUInt32BE(offset + 4);
    if (type === extensionEnd) return found;
    need(view, offset + 8, length, `header extension 0x${type.toString(16)}`);
    if (type === extensionBackingFormat || type === extensionDataFile) {
      found.set(type, view.toString('utf8', offset + 8, offset + 8 + length));
    }
    offset += 8 + Math.ceil(length / 8) * 8;
  }
  throw broken('the header extensions do not end', offset);
}

function need(view: Buffer, offset: number, length: number, what: string): void {
  if (offset + length <= view.length) return;
  throw broken(`${what} needs ${length} bytes, the first ${view.length} bytes end before`, offset);
}

function safeNumber(view: Buffer, offset: number): number {
  const value = view.readBigUInt64BE(offset);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw broken(`the value ${value} is too large`, offset);
  return Number(value);
}

function broken(what: string, offset: number): FormatError {
  return new FormatError(`qcow2 header: ${what} (offset ${offset})`, { details: { offset } });
}
