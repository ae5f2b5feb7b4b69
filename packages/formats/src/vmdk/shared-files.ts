/**
 * A folder whose files are opened once, however many extents of a descriptor lie in them: a device of which each
 * partition is one, or a descriptor from outside that names a file 65,536 times.
 */
import type { Range } from '@prima/base';
import { type DiskFile, type DiskFolder, readOnlyFile, type WritableDiskFile } from './disk-file.ts';

interface Shared<F> {
  file: Promise<F>;
  users: number;
}

/** Each opened file has to be closed as if it were its own. */
export function sharingFolder(folder: DiskFolder): DiskFolder {
  const read = new Map<string, Shared<DiskFile>>();
  const written = new Map<string, Shared<WritableDiskFile>>();
  return {
    resolve: (name, beside) => folder.resolve(name, beside),
    open: (path) => share(read, path, { open: () => folder.open(path), view: readOnlyFile }),
    openForWriting: (path) =>
      share(written, path, { open: () => folder.openForWriting(path), view: writableView }),
    create: (name, beside, size) => folder.create(name, beside, size),
    replace: (path, body) => folder.replace(path, body),
    remove: (path) => folder.remove(path),
  };
}

async function share<F extends DiskFile>(
  files: Map<string, Shared<F>>,
  path: string,
  { open, view }: { open: () => Promise<F>; view: (file: F) => F },
): Promise<F> {
  const shared = files.get(path) ?? { file: open(), users: 0 };
  files.set(path, shared);
  shared.users += 1;
  const leave = () => {
    shared.users -= 1;
    if (shared.users === 0) files.delete(path);
    return shared.users === 0;
  };
  const file = await shared.file.catch((error: unknown) => {
    leave();
    throw error;
  });
  let closing: Promise<void> | undefined;
  const close = async () => {
    if (leave()) await file.close();
  };
  return Object.assign(view(file), { close: () => (closing ??= close()) });
}

function writableView(file: WritableDiskFile): WritableDiskFile {
  return Object.assign(readOnlyFile(file), {
    write: (offset: number, from: Uint8Array, signal?: AbortSignal) => file.write(offset, from, signal),
    zero: (range: Range, signal?: AbortSignal) => file.zero(range, signal),
    resize: (size: number) => file.resize(size),
    allocate: (range: Range) => file.allocate(range),
    flush: () => file.flush(),
  });
}
