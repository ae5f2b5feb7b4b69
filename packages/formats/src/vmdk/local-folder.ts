/** Virtual disks in the file system: files below the folders that the caller allows, and nothing else. */
import { realpath, rm, stat } from 'node:fs/promises';
import { dirname, isAbsolute, join, resolve, sep } from 'node:path';
import { PrimaError, replaceFile, syncFolder, systemErrorCode, toPrimaError } from '@prima/base';
import { type GrowingFile, openGrowingFile } from '@prima/block';
import { type DiskFile, type DiskFolder, readOnlyFile, type WritableDiskFile } from './disk-file.ts';

/**
 * The files below `roots`. A name in a descriptor comes from outside: it is followed through symbolic links first
 * and refused when it then lies below none of them.
 */
export function localFolder(roots: readonly string[]): DiskFolder {
  return new LocalFolder(roots);
}

class LocalFolder implements DiskFolder {
  readonly #roots: readonly string[];
  #real: Promise<readonly string[]> | undefined;

  constructor(roots: readonly string[]) {
    this.#roots = roots;
  }

  async resolve(name: string, beside: string): Promise<string> {
    const path = place(name, beside);
    try {
      const real = await realpath(path);
      await this.#assertInside(real, name, beside);
      return real;
    } catch (error) {
      // what is not there is no secret inside the roots, and none of the asker's business outside
      if (systemErrorCode(error) === 'ENOENT') await this.#assertInside(path, name, beside);
      throw toPrimaError(error, `looking for ${name}, which ${beside} names`);
    }
  }

  async #assertInside(path: string, name: string, beside: string): Promise<void> {
    this.#real ??= Promise.all(this.#roots.map((root) => realpath(root)));
    const roots = await this.#real;
    if (roots.some((root) => path.startsWith(root.endsWith(sep) ? root : root + sep))) return;
    throw new PrimaError(
      'refused',
      `${beside} names the file ${name}, which is ${path}: outside of ${roots.join(', ')}. A descriptor may come from ` +
        'anywhere, so only files below these folders are opened; allow its folder if it is meant',
      { details: { path, roots } },
    );
  }

  async open(path: string): Promise<DiskFile> {
    await assertFile(path);
    return readOnlyFile(named(await openGrowingFile(path)));
  }

  async openForWriting(path: string): Promise<WritableDiskFile> {
    await assertFile(path);
    return named(await openGrowingFile(path, { writable: true }));
  }

  async create(name: string, beside: string, size: number): Promise<WritableDiskFile & { path: string }> {
    const path = place(name, beside);
    const folder = await realpath(dirname(path)).catch((error: unknown) => {
      throw toPrimaError(error, `creating ${path}`);
    });
    await this.#assertInside(join(folder, 'x'), name, beside);
    return named(await openGrowingFile(path, { create: { size } }));
  }

  async replace(path: string, body: Uint8Array): Promise<void> {
    try {
      const { mode } = await stat(path);
      await replaceFile(path, body, mode % 0o1000);
    } catch (error) {
      throw toPrimaError(error, `replacing ${path}`);
    }
  }

  async remove(path: string): Promise<void> {
    try {
      await rm(path, { force: true });
      await syncFolder(dirname(path));
    } catch (error) {
      throw toPrimaError(error, `removing ${path}`);
    }
  }
}

function place(name: string, beside: string): string {
  if (name === '' || name.includes('\0')) {
    throw new PrimaError(
      'refused',
      `${beside} names a file ${JSON.stringify(name)}, which is no name of a file`,
    );
  }
  return isAbsolute(name) ? resolve(name) : resolve(dirname(beside), name);
}

/** Opening a named pipe would wait for whoever writes to it. */
async function assertFile(path: string): Promise<void> {
  const info = await stat(path).catch((error: unknown) => {
    throw toPrimaError(error, `opening ${path}`);
  });
  if (info.isFile() || info.isBlockDevice()) return;
  throw new PrimaError('unsupported', `${path} is neither a file nor a block device`);
}

function named(file: GrowingFile): GrowingFile & { name: string } {
  return Object.assign(file, { name: file.path });
}
