/** Which other files a disk file names: read by who asks what stands on a disk before that is changed. */
import { open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { toPrimaError } from '@prima/base';
import { parseQcow2Header, qcow2HeaderBytes } from './qcow2-header.ts';
import { isCowd } from './vmdk/cowd-header.ts';
import { isDescriptor } from './vmdk/descriptor.ts';
import { isHostedHeader } from './vmdk/hosted-header.ts';
import { type LinkText, readLinkText } from './vmdk/link-text.ts';
import { localFolder } from './vmdk/local-folder.ts';

export type NamedFiles =
  | { format: 'qcow2'; backingFile?: string; dataFile?: string }
  | { format: 'vmdk'; text: LinkText };

const qcow2Magic = 0x514649fb;

/**
 * Undefined for what is no such disk, is damaged, or has vanished: it names nobody. Raises `unsupported` for a version of its format
 * that is not known, and what keeps it from being read: it may name another file all the same.
 */
export async function namedFiles(path: string): Promise<NamedFiles | undefined> {
  try {
    const head = await firstBytes(path);
    if (head.length >= 4 && head.readUInt32BE(0) === qcow2Magic) {
      const { backingFile, dataFile } = parseQcow2Header(head);
      return { format: 'qcow2', backingFile, dataFile };
    }
    if (!isDescriptor(head) && !isHostedHeader(head) && !isCowd(head)) return undefined;
    return { format: 'vmdk', text: await readLinkText(path, localFolder([dirname(path)])) };
  } catch (error) {
    const failure = toPrimaError(error, `looking at ${path}`);
    if (failure.code === 'not-found' || failure.code === 'format') return undefined;
    throw failure;
  }
}

async function firstBytes(path: string): Promise<Buffer> {
  if (!(await stat(path)).isFile()) return Buffer.alloc(0); // opening a named pipe would wait
  await using file = await open(path, 'r');
  const { buffer, bytesRead } = await file.read(Buffer.alloc(qcow2HeaderBytes), 0, qcow2HeaderBytes, 0);
  return buffer.subarray(0, bytesRead);
}
