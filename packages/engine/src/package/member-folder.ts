/** The members of an archive as files that a virtual disk is made of. Nothing else can be reached through them. */
import { PrimaError } from '@prima/base';
import { openGrowingFile } from '@prima/block';
import type { DiskFile, DiskFolder } from '@prima/formats';

export interface Member {
  name: string;
  /** Of its first byte in the archive. */
  offset: number;
  size: number;
}

/** Closing it closes the archive; the files of it end then, too. */
export async function memberFolder(
  path: string,
  members: ReadonlyMap<string, Member>,
): Promise<DiskFolder & { close(): Promise<void> }> {
  const archive = await openGrowingFile(path);
  const cannot = async (): Promise<never> => {
    throw new PrimaError('unsupported', `${path}: members of an archive are not written`);
  };
  return {
    resolve: async (name) => {
      const plain = name.replace(/^\//, '');
      if (members.has(plain)) return `/${plain}`;
      throw new PrimaError('not-found', `${path} has no member ${JSON.stringify(name.slice(0, 120))}`);
    },
    open: async (name) => {
      const member = members.get(name.slice(1));
      if (!member) throw new PrimaError('not-found', `${path} has no member ${name}`);
      return slice(archive, member, `${path} (${member.name})`);
    },
    openForWriting: cannot,
    create: cannot,
    replace: cannot,
    remove: cannot,
    close: () => archive.close(),
  };
}

type Archive = Awaited<ReturnType<typeof openGrowingFile>>;

function slice(archive: Archive, { offset: start, size }: Member, name: string): DiskFile {
  return {
    name,
    size,
    extents: async function* ({ offset, length }, options) {
      for await (const extent of archive.extents({ offset: start + offset, length }, options))
        yield { ...extent, offset: extent.offset - start };
    },
    read: (offset, into, signal) => archive.read(start + offset, into, signal),
    close: async () => undefined,
  };
}
