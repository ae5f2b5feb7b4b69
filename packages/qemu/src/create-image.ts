/** Making empty image files. */
import { open, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { assert, throwIfAborted, toPrimaError } from '@prima/base';
import type { DiskFormat } from '@prima/formats';
import { type BlockToolOptions, qemuImg } from './block-tool.ts';

export interface CreateImageOptions extends BlockToolOptions {
  format: DiskFormat;
  /** Bytes, a multiple of 512. */
  size: number;
  /** Reads go there where the image has nothing of its own; qcow2 and vmdk only. It is named, not looked at. */
  backing?: { path: string; format: DiskFormat };
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
