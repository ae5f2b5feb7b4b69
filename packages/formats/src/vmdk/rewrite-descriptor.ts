/** Changing the descriptor of a disk that is there: in its own file, or inside of a hosted sparse one. */
import { FormatError, PrimaError } from '@prima/base';
import type { VmdkDescriptor } from './descriptor.ts';
import { writeDescriptor } from './descriptor-write.ts';
import { type DiskFile, type DiskFolder, isWritableFile } from './disk-file.ts';
import { readEmbeddedDescriptor } from './hosted-extent.ts';
import { sectorBytes } from './hosted-header.ts';
import { readLinkText } from './link-text.ts';
import { readUpTo } from './read-file.ts';

/**
 * Replaces the descriptor of the disk at `path` (as the folder resolved it) by what `change` makes of it, durably. Where
 * nothing changes nothing is written. Raises `format` for a file without one, `no-space` where it does not fit.
 */
export async function rewriteDescriptor(
  path: string,
  folder: DiskFolder,
  change: (descriptor: VmdkDescriptor) => VmdkDescriptor,
): Promise<void> {
  const { descriptor, format } = await readLinkText(path, folder);
  if (!descriptor) {
    throw new FormatError(`${path} has no descriptor that could be changed`, {
      details: { path, offset: 0 },
    });
  }
  const text = writeDescriptor(change(descriptor));
  if (text.equals(writeDescriptor(descriptor))) return;
  if (format === 'descriptor') return folder.replace(path, text);
  const file = await folder.openForWriting(path);
  try {
    await replaceEmbedded(file, text);
  } finally {
    await file.close();
  }
}

/** Only the sectors that change, so that a crash leaves the old text or the new one: a CID is in one sector. */
export async function replaceEmbedded(file: DiskFile, text: Buffer): Promise<void> {
  const old = await readEmbeddedDescriptor(file);
  if (old === undefined || !isWritableFile(file) || text.length > old.length) {
    throw new PrimaError(
      'no-space',
      `${file.name} has no room for its changed descriptor of ${text.length} bytes`,
    );
  }
  const padded = Buffer.concat([text, Buffer.alloc(old.length - text.length)]);
  const head = await readUpTo(file, 0, sectorBytes);
  const start = Number(head.readBigUInt64LE(28)) * sectorBytes;
  for (let at = 0; at < padded.length; at += sectorBytes) {
    const sector = padded.subarray(at, at + sectorBytes);
    if (!sector.equals(old.subarray(at, at + sectorBytes))) await file.write(start + at, sector);
  }
  await file.flush();
}
