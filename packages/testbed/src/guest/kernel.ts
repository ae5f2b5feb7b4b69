/**
 * Takes the ELF kernel out of a bzImage, so that QEMU starts it by PVH and the guest need not decompress it.
 * Linux, Documentation/x86/boot.rst ("payload_offset", "payload_length"):
 *   0x1f1 u8 setup sectors (0 means 4)   0x202 "HdrS" at 0x202   0x248 u32 payload offset   0x24c u32 length
 * The payload ends in the kernel's size (u32) unless it is gzip, which carries it itself.
 */
import { open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { FormatError, runProgram } from '@prima/base';

/** How a payload is packed, told by how it begins. */
const compressions = [
  { name: 'gzip', magic: '1f8b' },
  { name: 'xz', magic: 'fd377a585a00' },
  { name: 'lz4', magic: '02214c18' },
  { name: 'zstd', magic: '28b52ffd' },
] as const;

/** The compressed payload of a bzImage and what it is compressed with. Raises `format`. */
export function payloadOf(image: Uint8Array): {
  compression: (typeof compressions)[number]['name'];
  payload: Uint8Array;
} {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  if (image.length < 0x260 || view.getUint32(0x202) !== 0x48647253) {
    throw new FormatError('the kernel is not a bzImage: no "HdrS" at 0x202', { details: { offset: 0x202 } });
  }
  const setupSectors = view.getUint8(0x1f1) || 4;
  const offset = (setupSectors + 1) * 512 + view.getUint32(0x248, true);
  const length = view.getUint32(0x24c, true);
  if (length < 16 || offset + length > image.length) {
    throw new FormatError(
      `the kernel's payload (${offset}+${length}) lies outside of its ${image.length} bytes`,
    );
  }
  const payload = image.subarray(offset, offset + length);
  const start = Buffer.from(payload.subarray(0, 8)).toString('hex');
  const found = compressions.find(({ magic }) => start.startsWith(magic));
  if (!found) throw new FormatError(`the kernel's payload begins ${start}: gzip, xz, lz4 or zstd was wanted`);
  const trailer = found.name === 'gzip' ? 0 : 4;
  return { compression: found.name, payload: payload.subarray(0, length - trailer) };
}

/**
 * Writes the ELF kernel of the bzImage `source` to `target` (which appears when it is whole). lz4 and xz are
 * undone by the programs of these names. Raises `format`, `missing-program`.
 */
export async function extractKernel(source: string, target: string): Promise<void> {
  const { compression, payload } = payloadOf(await readFile(source));
  const packed = `${target}.${compression}`;
  const whole = `${target}.whole`;
  try {
    if (compression === 'gzip') await writeFile(whole, gunzipSync(payload));
    else if (compression === 'zstd') await writeFile(whole, zstdDecompressSync(payload));
    else {
      await writeFile(packed, payload);
      if (compression === 'lz4') await runProgram('lz4', ['-dqf', packed, whole]);
      else await runProgram('sh', ['-c', 'xz -dc <"$1" >"$2"', 'xz', packed, whole]);
    }
    await assertElf(whole);
    await rename(whole, target);
  } finally {
    await rm(packed, { force: true });
    await rm(whole, { force: true });
  }
}

async function assertElf(path: string): Promise<void> {
  await using file = await open(path);
  const { buffer } = await file.read(Buffer.alloc(4), 0, 4, 0);
  if (buffer.toString('latin1') !== '\x7fELF') {
    throw new FormatError(`the kernel's payload unpacked to something that is not ELF: ${path}`);
  }
}
