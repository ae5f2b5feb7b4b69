/** Steps that change what a VMDK says of itself: a descriptor's text, or the name of the parent in a redo log without one. */
import { randomBytes } from 'node:crypto';
import { open, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { alignUp, PrimaError, temporaryPrefix, toPrimaError, UserError } from '@prima/base';
import {
  cowdParentNameBytes,
  cowdParentNameOffset,
  hostedHeaderBytes,
  type LinkText,
  parseHostedHeader,
  sectorBytes,
  type VmdkDescriptor,
  writeDescriptor,
} from '@prima/formats';
import { type FileStep, identityOf } from '../file-steps.ts';
import type { JournalEntry } from '../journal.ts';

/** A new file beside `path` that holds `body`; durable, and gone with the entry unless a step uses it. */
export async function temporaryFile(
  path: string,
  body: Uint8Array,
  { entry, mode }: { entry: JournalEntry; mode: number },
): Promise<{ path: string; file: string }> {
  const name = `${temporaryPrefix}${basename(path).slice(0, 60)}-${randomBytes(4).toString('hex')}`;
  const temporary = join(dirname(path), name);
  await entry.intend({ kind: 'temporary', path: temporary });
  try {
    await using handle = await open(temporary, 'wx', mode);
    await handle.writeFile(body);
    await handle.sync();
  } catch (error) {
    throw toPrimaError(error, `writing ${temporary}`);
  }
  return { path: temporary, file: await identityOf(temporary) };
}

/** The step after which the disk at `link.path` says what `changed` does. */
export async function descriptorStep(
  link: LinkText,
  changed: VmdkDescriptor,
  entry: JournalEntry,
): Promise<FileStep> {
  const { path, format } = link;
  const body = writeDescriptor(changed);
  if (format !== 'descriptor') return embeddedStep(path, body);
  const { mode } = await stat(path);
  return { kind: 'replace', ...(await temporaryFile(path, body, { entry, mode: mode % 0o1000 })), to: path };
}

async function embeddedStep(path: string, body: Buffer): Promise<FileStep> {
  await using handle = await open(path, 'r');
  const read = async (offset: number, length: number) => {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, offset);
    return buffer.subarray(0, bytesRead);
  };
  const { descriptorOffset, descriptorSize } = parseHostedHeader(await read(0, hostedHeaderBytes), path);
  const offset = descriptorOffset * sectorBytes;
  const old = await read(offset, descriptorSize * sectorBytes);
  if (body.length > old.length) {
    throw new PrimaError(
      'no-space',
      `${path} has room for a descriptor of ${old.length} bytes, and the changed one has ${body.length}; convert the disk`,
    );
  }
  const fresh = Buffer.concat([body, Buffer.alloc(old.length - body.length)]);
  return bytesStep(path, await identityOf(path), { offset, old, fresh });
}

/** The step after which the redo log at `path` names its parent so. */
export async function parentNameStep(path: string, name: string): Promise<FileStep> {
  const bytes = Buffer.from(name);
  if (bytes.length >= cowdParentNameBytes) {
    throw new UserError(
      'usage',
      `${path} has room for ${cowdParentNameBytes - 1} bytes of its parent's name, not ${bytes.length}`,
    );
  }
  await using handle = await open(path, 'r');
  const end = cowdParentNameOffset + cowdParentNameBytes;
  const { buffer: old } = await handle.read({ buffer: Buffer.alloc(alignUp(end, sectorBytes)), position: 0 });
  const fresh = Buffer.from(old);
  fresh.fill(0, cowdParentNameOffset, end);
  bytes.copy(fresh, cowdParentNameOffset);
  return bytesStep(path, await identityOf(path), { offset: 0, old, fresh });
}

function bytesStep(
  path: string,
  file: string,
  { offset, old, fresh }: { offset: number; old: Buffer; fresh: Buffer },
): FileStep {
  return { kind: 'bytes', path, file, offset, old: old.toString('base64'), new: fresh.toString('base64') };
}
