/** A folder of virtual disks in which new files come up together, or not at all: see StagedFiles. */
import { dirname, resolve } from 'node:path';
import type { DiskFile, DiskFolder, WritableDiskFile } from '@prima/formats';
import type { StagedFile, StagedFiles } from '../restore/staged-files.ts';

/** Like `inner`, but what is made is in `staged`, found by the names that it will have. */
export function stagedFolder(inner: DiskFolder, staged: StagedFiles): DiskFolder {
  const files = new Map<string, StagedFile>();
  const now = (path: string) => files.get(path)?.temporary ?? path;
  return {
    resolve: async (name, beside) => {
      const path = resolve(dirname(beside), name);
      return files.has(path) ? path : inner.resolve(name, beside);
    },
    open: async (path): Promise<DiskFile> => inner.open(now(path)),
    openForWriting: async (path) => inner.openForWriting(now(path)),
    create: async (name, beside, size) => {
      const file = await staged.stage(name);
      const made = await inner.create(file.temporary, beside, size);
      files.set(file.path, file);
      return withPath(made, file.path);
    },
    replace: (path, body) => inner.replace(now(path), body),
    remove: (path) => inner.remove(now(path)),
  };
}

function withPath(file: WritableDiskFile, path: string): WritableDiskFile & { path: string } {
  return {
    path,
    name: file.name,
    get size() {
      return file.size;
    },
    extents: (range, options) => file.extents(range, options),
    read: (offset, into, signal) => file.read(offset, into, signal),
    write: (offset, from, signal) => file.write(offset, from, signal),
    zero: (range, signal) => file.zero(range, signal),
    resize: (size) => file.resize(size),
    allocate: (range) => file.allocate(range),
    flush: () => file.flush(),
    close: () => file.close(),
  };
}
