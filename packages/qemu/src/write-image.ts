/** Making image files, empty or with a device's content. */
import { randomBytes } from 'node:crypto';
import { link, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import {
  assert,
  PrimaError,
  type ProgressListener,
  RemoteError,
  syncFolder,
  systemErrorCode,
  temporaryPrefix,
  throwIfAborted,
  toPrimaError,
} from '@prima/base';
import { type BlockDevice, copyDevice } from '@prima/block';
import type { DiskFormat } from '@prima/formats';
import { type BlockToolOptions, qemuImg } from './block-tool.ts';
import { openWithQemu } from './image-device.ts';
import { exists } from './paths.ts';

export interface CreateImageOptions extends BlockToolOptions {
  format: DiskFormat;
  /** Bytes, a multiple of 512. */
  size: number;
  /** Reads go there where the image has nothing of its own; qcow2 and vmdk only. It is named, not looked at. */
  backing?: { path: string; format: DiskFormat };
}

/** `vmdk` is monolithicSparse. */
export type WriteFormat = 'qcow2' | 'vmdk' | 'vhdx' | 'vdi';

export interface WriteImageOptions {
  format: WriteFormat;
  /** Replaces a file that is there. Default false: raises `exists`. */
  overwrite?: boolean;
  /** For private folders. Default: the user's runtime folder. */
  runtimeFolder?: string;
  signal?: AbortSignal;
  onProgress?: ProgressListener;
}

export interface WrittenImage {
  /** Bytes read from the source, and bytes of data written. */
  read: number;
  written: number;
}

const formatOptions: Record<DiskFormat, string | undefined> = {
  raw: undefined,
  qcow2: 'compat=1.1',
  vmdk: 'subformat=monolithicSparse,adapter_type=lsilogic',
  vhdx: 'subformat=dynamic',
  vdi: 'static=off',
  vpc: 'subformat=dynamic,force_size=on',
};

/** Makes an empty image, mode 0600. Raises `exists` for a name that is taken; on failure nothing is left. */
export async function createImage(path: string, options: CreateImageOptions): Promise<void> {
  const { format, size, backing, signal, timeoutMs } = options;
  assert(Number.isSafeInteger(size) && size > 0 && size % 512 === 0, `image size ${size} is whole sectors`);
  const doing = `making ${path} (${format})`;
  throwIfAborted(signal, doing);
  const target = resolve(path);
  try {
    await (await open(target, 'wx', 0o600)).close(); // takes the name
  } catch (error) {
    throw toPrimaError(error, doing);
  }
  const how = formatOptions[format];
  const args = [
    'create',
    '-q',
    '-f',
    format,
    ...(how === undefined ? [] : ['-o', how]),
    // a running machine may have it open
    ...(backing ? ['-u', '-b', backing.path, '-F', backing.format] : []),
    '--',
    target,
    String(size),
  ];
  try {
    await qemuImg(args, doing, { signal, timeoutMs });
  } catch (error) {
    await rm(target, { force: true });
    throw error;
  }
}

/**
 * Writes what `source` holds to a new image file, durable when this resolves. It is written under a
 * temporary name beside it, which is removed on failure and cancellation. Raises `exists`, `no-space`,
 * `cancelled`, what the source raises, and what qemu-img and qemu-nbd raise.
 */
export async function writeImage(
  source: BlockDevice,
  path: string,
  options: WriteImageOptions,
): Promise<WrittenImage> {
  const target = resolve(path);
  const doing = `writing ${target} (${options.format})`;
  throwIfAborted(options.signal, doing);
  if (options.overwrite !== true) await assertFree(target);
  const name = `${temporaryPrefix}${basename(target)}-${randomBytes(6).toString('hex')}`;
  const temporary = join(dirname(target), name);
  try {
    const written = await fill(source, temporary, options);
    throwIfAborted(options.signal, doing);
    await publish(temporary, target, options.overwrite ?? false);
    return written;
  } catch (error) {
    await rm(temporary, { force: true });
    throw toPrimaError(error, doing);
  }
}

async function fill(source: BlockDevice, path: string, options: WriteImageOptions): Promise<WrittenImage> {
  const { format, signal, onProgress, runtimeFolder } = options;
  await createImage(path, { format, size: source.size, signal });
  const image = await openWithQemu(path, { format, writable: true, signal, runtimeFolder });
  try {
    if (image.size < source.size) {
      throw new RemoteError(`${path} was made with ${image.size} bytes where ${source.size} were wanted`);
    }
    const copied = await copyDevice(source, image, { targetIsZero: true, signal, onProgress });
    await image.flush();
    return copied;
  } finally {
    await image.close();
  }
}

async function assertFree(path: string): Promise<void> {
  if (!(await exists(path))) return;
  throw new PrimaError('exists', `${path} is there already; name another file, or force it to be replaced`, {
    details: { path },
  });
}

/** Durable, and by link(2) where nothing may be replaced: it fails where the name was taken meanwhile. */
async function publish(temporary: string, target: string, overwrite: boolean): Promise<void> {
  const handle = await open(temporary, 'r+');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
  if (overwrite) {
    await rename(temporary, target);
  } else {
    await linkOrRename(temporary, target);
  }
  await syncFolder(dirname(target));
}

async function linkOrRename(temporary: string, target: string): Promise<void> {
  try {
    await link(temporary, target);
    await rm(temporary);
  } catch (error) {
    const code = systemErrorCode(error) ?? '';
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(code)) throw error;
    await assertFree(target); // no links here (FAT, some network file systems): the best there is
    await rename(temporary, target);
  }
}
