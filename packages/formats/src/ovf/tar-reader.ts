/** A tar archive, read from its beginning to its end without seeking: ustar, GNU and pax, flat, with files only. */
import { FormatError } from '@prima/base';
import { parsePax, parseTarHeader, type TarHeader, tarBlockBytes, tarPadding } from './tar-header.ts';

export interface TarMember {
  /** A name in this folder, no path. */
  name: string;
  size: number;
  /** Of its first byte in the archive. */
  offset: number;
  /** Once; what is not read is skipped when the next member is asked for. */
  body: AsyncIterable<Uint8Array>;
}

/** Of pax and long-name headers. */
const limitHeaderBytes = 64 * 1024;
const limitMembers = 10_000;

/**
 * The members, one after the other. Raises `format` for what is no archive, is cut, has a folder or link, or a name that leads
 * elsewhere; what `source` raises passes through.
 */
export async function* readTar(source: AsyncIterable<Uint8Array>): AsyncGenerator<TarMember> {
  const bytes = new ForwardBytes(source);
  try {
    for (let count = 0; ; count += 1) {
      if (count > limitMembers) throw new FormatError(`tar archive: more than ${limitMembers} members`);
      const header = await nextFile(bytes);
      if (!header) return;
      const { name, size } = header;
      const { offset } = bytes;
      const end = offset + size;
      yield { name, size, offset, body: bytes.until(end, name) };
      await bytes.skipTo(end + tarPadding(size), name);
    }
  } finally {
    await bytes.close();
  }
}

/** The next header of a file, with what headers before it say about it. */
async function nextFile(bytes: ForwardBytes): Promise<TarHeader | undefined> {
  let longName: string | undefined;
  let size: number | undefined;
  for (;;) {
    const at = bytes.offset;
    const block = await bytes.block();
    const header = block && parseTarHeader(block, at);
    if (!header) return undefined;
    if (header.type === 'x' || header.type === 'g' || header.type === 'L' || header.type === 'K') {
      const body = await headerBody(bytes, header, at);
      if (header.type === 'L') longName = body.toString('utf8').replace(/\0.*$/s, '');
      if (header.type !== 'x') continue;
      const records = parsePax(body);
      longName = records.get('path') ?? longName;
      size = paxSize(records.get('size')) ?? size;
    } else {
      return {
        ...header,
        name: checkName(longName ?? header.name, header.type, at),
        size: size ?? header.size,
      };
    }
  }
}

async function headerBody(bytes: ForwardBytes, { size }: TarHeader, at: number): Promise<Buffer> {
  if (size > limitHeaderBytes) {
    throw new FormatError(`tar archive, byte ${at}: a header of ${size} bytes`, { details: { offset: at } });
  }
  const pieces: Uint8Array[] = [];
  for await (const piece of bytes.until(bytes.offset + size, 'a header')) pieces.push(Buffer.from(piece));
  await bytes.skipTo(bytes.offset + tarPadding(size), 'a header');
  return Buffer.concat(pieces);
}

function paxSize(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value))
    throw new FormatError(`tar archive: a pax header says that a size is "${text.slice(0, 40)}"`);
  return value;
}

function checkName(written: string, type: string, offset: number): string {
  const name = written.replace(/^\.\//, '');
  const details = { offset, name };
  if (type !== '0' && type !== '7') {
    throw new FormatError(
      `tar archive, byte ${offset}: ${JSON.stringify(name.slice(0, 80))} is of type ${JSON.stringify(type)}, no file`,
      { details },
    );
  }
  if (!isMemberName(name)) {
    throw new FormatError(
      `tar archive, byte ${offset}: the member ${JSON.stringify(written.slice(0, 80))} would lie outside the folder`,
      { details },
    );
  }
  return name;
}

/** A file's name in this folder: no path, and nothing that some system takes for one. */
export function isMemberName(name: string): boolean {
  return (
    name !== '' && name !== '.' && name !== '..' && !/[/\\\0]/.test(name) && Buffer.byteLength(name) <= 255
  );
}

/** Bytes that come once, in pieces of any size. */
class ForwardBytes {
  offset = 0;
  readonly #source: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array(0);
  #isAtEnd = false;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** At most `length` bytes, empty at the end. */
  async #some(length: number): Promise<Uint8Array> {
    while (this.#rest.length === 0 && !this.#isAtEnd) {
      const next = await this.#source.next();
      if (next.done) this.#isAtEnd = true;
      else this.#rest = next.value;
    }
    const piece = this.#rest.subarray(0, length);
    this.#rest = this.#rest.subarray(piece.length);
    this.offset += piece.length;
    return piece;
  }

  /** 512 bytes; undefined at the end, where some writers leave out the blocks of zeros. */
  async block(): Promise<Uint8Array | undefined> {
    const block = Buffer.alloc(tarBlockBytes);
    let filled = 0;
    while (filled < tarBlockBytes) {
      const piece = await this.#some(tarBlockBytes - filled);
      if (piece.length === 0) break;
      block.set(piece, filled);
      filled += piece.length;
    }
    if (filled === 0) return undefined;
    if (filled < tarBlockBytes) this.#cut('a header');
    return block;
  }

  /** The bytes up to `end`. */
  async *until(end: number, name: string): AsyncGenerator<Uint8Array> {
    while (this.offset < end) {
      const piece = await this.#some(end - this.offset);
      if (piece.length === 0) this.#cut(name);
      yield piece;
    }
  }

  async skipTo(end: number, name: string): Promise<void> {
    while (this.offset < end) {
      if ((await this.#some(end - this.offset)).length === 0) this.#cut(name);
    }
  }

  async close(): Promise<void> {
    await this.#source.return?.();
  }

  #cut(name: string): never {
    throw new FormatError(`tar archive: it ends at byte ${this.offset}, within ${name}`, {
      details: { offset: this.offset },
    });
  }
}
