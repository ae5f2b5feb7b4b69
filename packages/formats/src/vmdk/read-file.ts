/** Reading a piece of a file that may be shorter. */
import type { DiskFile } from './disk-file.ts';

/** Up to `length` bytes from `offset` on: fewer where the file ends. */
export async function readUpTo(file: DiskFile, offset: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(Math.max(0, Math.min(length, file.size - offset)));
  if (bytes.length > 0) await file.read(offset, bytes);
  return bytes;
}
