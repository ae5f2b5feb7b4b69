/** Which files in a disk's folder stand on it or on its logs: what would change if the disk did. */
import { open, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { toPrimaError } from '@prima/base';
import { parseQcow2Header, qcow2HeaderBytes } from '../qcow2-header.ts';
import { isCowd } from '../vmdk/cowd-header.ts';
import { isDescriptor } from '../vmdk/descriptor.ts';
import { isHostedHeader } from '../vmdk/hosted-header.ts';
import { readLinkText } from '../vmdk/link-text.ts';
import { localFolder } from '../vmdk/local-folder.ts';

export interface Dependant {
  /** File names in the folder. */
  file: string;
  parent: string;
}

/** Named like a redo log of `disk`: of ESX 2 (`.REDO`), or of later ones (`.REDO_Ab12Cd`). */
export function isLogName(name: string, disk: string): boolean {
  const stem = disk.replace(/\.[^.]+$/, '');
  if (name.endsWith('.tmp')) return false;
  return (name.startsWith(`${disk}.REDO`) || name.startsWith(`${stem}.REDO`)) && !name.endsWith('.redo.json');
}

/**
 * The file's parent by its base name; undefined when it has none, is no disk, is damaged, or has vanished. Raises what keeps it from being
 * read: it may be a child all the same.
 */
async function parentNameOf(path: string): Promise<string | undefined> {
  try {
    const head = await firstBytes(path);
    if (head.length >= 4 && head.readUInt32BE(0) === 0x514649fb) {
      const { backingFile } = parseQcow2Header(head);
      return backingFile === undefined ? undefined : lastPart(backingFile);
    }
    if (!isDescriptor(head) && !isHostedHeader(head) && !isCowd(head)) return undefined;
    const { parent } = await readLinkText(path, localFolder([join(path, '..')]));
    return parent && lastPart(parent.hint);
  } catch (error) {
    const { code } = toPrimaError(error, `looking at ${path}`);
    if (code === 'not-found' || code === 'format' || code === 'unsupported') return undefined;
    throw error;
  }
}

/** The files of `names` in `folder` that have one of `parents` as their parent. Damaged files are nobody's child. */
export async function findDependants(
  folder: string,
  names: readonly string[],
  parents: ReadonlySet<string>,
): Promise<Dependant[]> {
  const found: Dependant[] = [];
  for (const file of names) {
    if (file.startsWith('.')) continue;
    const parent = await parentNameOf(join(folder, file));
    if (parent !== undefined && parents.has(parent)) found.push({ file, parent });
  }
  return found;
}

async function firstBytes(path: string): Promise<Buffer> {
  if (!(await stat(path)).isFile()) return Buffer.alloc(0); // opening a named pipe would wait
  await using file = await open(path, 'r');
  const { buffer, bytesRead } = await file.read(Buffer.alloc(qcow2HeaderBytes), 0, qcow2HeaderBytes, 0);
  return buffer.subarray(0, bytesRead);
}

function lastPart(name: string): string {
  return basename(name.replaceAll('\\', '/'));
}
