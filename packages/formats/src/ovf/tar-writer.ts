/** A tar archive, written from its beginning to its end: ustar, with pax headers for long names and base 256 for sizes from 8 GiB. */
import { IntegrityError, UserError } from '@prima/base';
import { tarPadding, writePax, writeTarHeader } from './tar-header.ts';
import { isMemberName } from './tar-reader.ts';

export interface NewTarMember {
  name: string;
  /** Exact: it comes before the bytes. */
  size: number;
  body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/** `modified` is in seconds since 1970. Raises `integrity` where a body has more or fewer bytes than its size says, `usage` for a name that is a path. */
export async function* writeTar(
  members: AsyncIterable<NewTarMember> | Iterable<NewTarMember>,
  modified = 0,
): AsyncGenerator<Uint8Array> {
  for await (const { name, size, body } of members) {
    yield tarMemberHeader(name, size, modified);
    let written = 0;
    for await (const piece of body) {
      written += piece.length;
      if (written > size) break;
      yield piece;
    }
    if (written !== size) {
      const found = written > size ? 'more bytes' : `${written} bytes`;
      throw new IntegrityError(`writing a tar archive: ${name} has ${found} where ${size} were announced`);
    }
    yield Buffer.alloc(tarPadding(size));
  }
  yield Buffer.alloc(tarEndBytes);
}

/** What stands before a member's bytes; how long that is depends on the name alone. Raises `usage` for a name that is a path. */
export function tarMemberHeader(name: string, size: number, modified: number): Buffer {
  if (!isMemberName(name)) {
    throw new UserError(
      'usage',
      `writing a tar archive: ${JSON.stringify(name)} is no file's name in one folder`,
    );
  }
  if (Buffer.byteLength(name) <= 100) return writeTarHeader({ name, size, type: '0', modified });
  const records = writePax({ path: name });
  return Buffer.concat([
    writeTarHeader({ name: 'pax-header', size: records.length, type: 'x', modified }),
    records,
    Buffer.alloc(tarPadding(records.length)),
    writeTarHeader({ name: `long-name-${name.length}`, size, type: '0', modified }),
  ]);
}

/** Ends an archive. */
export const tarEndBytes = 1024;
