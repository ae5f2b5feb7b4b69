/** What a file says of itself and of other files: which kind of disk it is, its descriptor, its parent. */
import { FormatError } from '@prima/base';
import { cowdHeaderBytes, isCowd, parseCowdHeader } from './cowd-header.ts';
import { descriptorLimitBytes, isDescriptor, parseDescriptor, type VmdkDescriptor } from './descriptor.ts';
import type { DiskFile, DiskFolder } from './disk-file.ts';
import type { ParentReference } from './find-parent.ts';
import { readEmbeddedDescriptor } from './hosted-extent.ts';
import { isHostedHeader } from './hosted-header.ts';
import type { ExtentFormat } from './open-extent.ts';
import { readUpTo } from './read-file.ts';
import { isSeSparse } from './se-sparse.ts';

export interface LinkText {
  path: string;
  /** How the file itself begins. */
  format: ExtentFormat | 'descriptor';
  /** Absent for files without one. */
  descriptor?: VmdkDescriptor;
  /** Of a redo log without descriptor. */
  generation?: number;
  parent?: ParentReference;
}

/** Named so, a file is flat whatever its guest has written to its beginning. */
const flatName = /(?:\.dsk|-flat\.vmdk)$/i;

/** @param path as the folder resolved it. Raises `format` with the offset. */
export async function readLinkText(path: string, folder: DiskFolder): Promise<LinkText> {
  const file = await folder.open(path);
  try {
    const head = await readUpTo(file, 0, cowdHeaderBytes);
    const format = formatOf(path, head);
    if (format === 'cowd') return { path, format, ...cowdParent(head, path) };
    const text = format === 'descriptor' ? await readText(file) : undefined;
    const bytes = format === 'hosted' ? await readEmbeddedDescriptor(file) : text;
    if (bytes === undefined) return { path, format };
    const descriptor = parseDescriptor(bytes, path);
    return { path, format, descriptor, parent: parentOf(descriptor, path) };
  } finally {
    await file.close();
  }
}

function formatOf(path: string, bytes: Buffer): LinkText['format'] {
  if (flatName.test(path)) return 'flat';
  if (isDescriptor(bytes)) return 'descriptor';
  if (isHostedHeader(bytes)) return 'hosted';
  if (isCowd(bytes)) return 'cowd';
  return isSeSparse(bytes) ? 'seSparse' : 'flat';
}

async function readText(file: DiskFile): Promise<Buffer> {
  if (file.size <= descriptorLimitBytes) return readUpTo(file, 0, file.size);
  throw new FormatError(
    `${file.name} begins as a descriptor but has ${file.size} bytes, where ${descriptorLimitBytes} are the most`,
    { details: { path: file.name, offset: descriptorLimitBytes } },
  );
}

function parentOf(descriptor: VmdkDescriptor, path: string): ParentReference | undefined {
  const { parentCid, parentFileNameHint } = descriptor;
  if (parentCid === undefined) return undefined;
  if (parentFileNameHint !== undefined) return { by: 'cid', cid: parentCid, hint: parentFileNameHint };
  throw new FormatError(`${path} has a parent (parentCID) but does not name it (parentFileNameHint)`, {
    details: { path, offset: 0 },
  });
}

function cowdParent(head: Buffer, path: string): Pick<LinkText, 'generation' | 'parent'> {
  const { generation, parent } = parseCowdHeader(head, path);
  if (parent === undefined) return { generation };
  return { generation, parent: { by: 'generation', generation: parent.generation, hint: parent.fileName } };
}
