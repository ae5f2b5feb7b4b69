/** The file of a backup of Prima's own state: sealed frames of compressed lines. See docs/format/self-backup.md. */
import { argon2, createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { createZstdCompress, createZstdDecompress } from 'node:zlib';
import { type FileHandle, open } from 'node:fs/promises';
import { compose, Readable } from 'node:stream';
import {
  FormatError,
  IntegrityError,
  KiB,
  MiB,
  PrimaError,
  UserError,
  writeAt,
  throwIfAborted,
} from '@prima/base';
import { z } from 'zod';

const magic = Buffer.from('PRIMASB1');
const headerBytesAtMost = 64 * KiB;
const frameBytes = MiB;
const tagBytes = 16;
const lineLengthAtMost = 64 * MiB;
const derive = promisify(argon2);
/** As a repository's passphrase slots: 64 MiB, three passes, four lanes. */
const cost = { memory: 64 * 1024, passes: 3, parallelism: 4 };
const costAtMost = { memory: 1024 * 1024, passes: 16, parallelism: 16 };

const Header = z.object({
  created: z.iso.datetime(),
  prima: z.string().max(100),
  schema: z.string().max(200),
  database: z.enum(['sqlite', 'postgres']),
  salt: z.base64().length(44),
  kdf: z
    .object({
      name: z.literal('argon2id'),
      memory: z.int().min(8).max(costAtMost.memory),
      passes: z.int().min(1).max(costAtMost.passes),
      parallelism: z.int().min(1).max(costAtMost.parallelism),
    })
    .nullable(),
});
export type Header = z.infer<typeof Header>;

const Line = z.union([
  z.object({ table: z.string(), columns: z.array(z.string()) }),
  z.array(z.union([z.string(), z.number(), z.null()])),
  z.object({ file: z.string(), mode: z.int(), base64: z.base64() }),
  z.object({ end: z.object({ rows: z.int(), files: z.int() }) }),
]);
export type Line = z.infer<typeof Line>;

/**
 * Writes the archive into the empty file; not synced.
 * @param passphrase undefined: anybody can read it
 * @returns its length, bytes
 */
export async function writeArchive(
  file: FileHandle,
  about: Omit<Header, 'salt' | 'kdf'>,
  content: { passphrase: string | undefined; lines: AsyncIterable<Line>; signal: AbortSignal },
): Promise<number> {
  const { passphrase, lines, signal } = content;
  const salt = randomBytes(32).toString('base64');
  const header: Header = {
    ...about,
    salt,
    kdf: passphrase === undefined ? null : { name: 'argon2id', ...cost },
  };
  const start = headed(Buffer.from(JSON.stringify(header)));
  const seal = frameCipher(await keyOf(header, passphrase), start);
  const text = async function* () {
    for await (const line of lines) {
      throwIfAborted(signal, 'writing the backup');
      yield `${JSON.stringify(line)}\n`;
    }
  };
  const packed = compose(Readable.from(text()), createZstdCompress()) as AsyncIterable<Buffer>;
  let at = 0;
  const put = async (bytes: Uint8Array) => {
    await writeAt(file, bytes, at);
    at += bytes.length;
  };
  await put(start);
  let number = 0;
  for await (const { plain, isLast } of inFrames(packed)) {
    await put(seal(plain, number, isLast));
    number += 1;
  }
  return at;
}

export interface Archive {
  header: Header;
  /** All lines, from the first on; each call reads the file anew. Raises `integrity`, `format`. */
  lines(): AsyncGenerator<Line>;
}

/**
 * Opens the file's header and derives its key. Raises `format`, `newer-version`, `wrong-key` (when lines are read: `integrity`), `usage`.
 * @param passphrase asked for only where the archive is encrypted
 */
export async function openArchive(
  path: string,
  passphrase: () => Promise<string>,
  signal: AbortSignal,
): Promise<Archive> {
  const file = await open(path, 'r');
  try {
    const start = await readStart(file, path);
    const header = parseHeader(start.subarray(magic.length + 4), path);
    const key = await keyOf(header, header.kdf === null ? undefined : await passphrase());
    const unseal = frameOpener(key, start);
    await checkFirstFrame({ path, offset: start.length, unseal, isEncrypted: header.kdf !== null });
    return { header, lines: () => linesOf(framesOf({ path, offset: start.length, unseal }), path, signal) };
  } finally {
    await file.close();
  }
}

function headed(json: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(json.length);
  return Buffer.concat([magic, length, json]);
}

async function readStart(file: FileHandle, path: string): Promise<Buffer> {
  const fixed = Buffer.alloc(magic.length + 4);
  const { bytesRead } = await file.read(fixed, 0, fixed.length, 0);
  if (bytesRead < fixed.length || !fixed.subarray(0, 6).equals(magic.subarray(0, 6)))
    throw new FormatError(`${path} is no backup of Prima's own state`);
  if (!fixed.subarray(0, magic.length).equals(magic))
    throw new PrimaError('newer-version', `${path} was written by a newer version of Prima; update this one`);
  const length = fixed.readUInt32BE(magic.length);
  if (length > headerBytesAtMost)
    throw new FormatError(`${path}: its header is said to have ${length} bytes`);
  const start = Buffer.alloc(fixed.length + length);
  const whole = await file.read(start, 0, start.length, 0);
  if (whole.bytesRead < start.length) throw new FormatError(`${path} is cut off in its header`);
  return start;
}

function parseHeader(json: Buffer, path: string): Header {
  try {
    return Header.parse(JSON.parse(json.toString()));
  } catch (error) {
    throw new FormatError(`${path}: its header is damaged`, { cause: error });
  }
}

async function keyOf({ salt, kdf }: Header, passphrase: string | undefined): Promise<Uint8Array> {
  const nonce = Buffer.from(salt, 'base64');
  if (kdf === null)
    return createHash('sha256').update('prima self backup, not encrypted').update(nonce).digest();
  if (passphrase === undefined || passphrase === '')
    throw new UserError('usage', 'the backup is encrypted; give its passphrase');
  const { memory, passes, parallelism } = kdf;
  const message = Buffer.from(passphrase.normalize('NFC'));
  return derive('argon2id', { message, nonce, memory, passes, parallelism, tagLength: 32 });
}

function nonceOf(number: number, isLast: boolean): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeBigUInt64BE(BigInt(number));
  nonce[11] = isLast ? 1 : 0;
  return nonce;
}

type Seal = (plain: Uint8Array, number: number, isLast: boolean) => Buffer;
/** The plain bytes, or undefined where it does not open as that. */
type Unseal = (sealed: Uint8Array, number: number, isLast: boolean) => Buffer | undefined;

function frameCipher(key: Uint8Array, start: Uint8Array): Seal {
  const about = createHash('sha256').update(start).digest();
  return (plain, number, isLast) => {
    const cipher = createCipheriv('aes-256-gcm', key, nonceOf(number, isLast)).setAAD(about);
    const sealed = Buffer.concat([
      Buffer.alloc(4),
      cipher.update(plain),
      cipher.final(),
      cipher.getAuthTag(),
    ]);
    sealed.writeUInt32BE(sealed.length - 4);
    return sealed;
  };
}

function frameOpener(key: Uint8Array, start: Uint8Array): Unseal {
  const about = createHash('sha256').update(start).digest();
  return (sealed, number, isLast) => {
    const tag = sealed.subarray(-tagBytes);
    const cipher = createDecipheriv('aes-256-gcm', key, nonceOf(number, isLast))
      .setAAD(about)
      .setAuthTag(tag);
    try {
      return Buffer.concat([cipher.update(sealed.subarray(0, -tagBytes)), cipher.final()]);
    } catch (error) {
      if (error instanceof Error && /auth/i.test(error.message)) return undefined;
      throw error;
    }
  };
}

/** In pieces of a frame, the last one told; one at least. */
async function* inFrames(packed: AsyncIterable<Buffer>): AsyncGenerator<{ plain: Buffer; isLast: boolean }> {
  let held = Buffer.alloc(0);
  for await (const piece of packed) {
    held = Buffer.concat([held, piece]);
    for (; held.length > frameBytes; held = held.subarray(frameBytes))
      yield { plain: held.subarray(0, frameBytes), isLast: false };
  }
  yield { plain: held, isLast: true };
}

interface Frames {
  path: string;
  /** Of the first frame. */
  offset: number;
  unseal: Unseal;
}

/** A wrong passphrase is told as that, not as damage. */
async function checkFirstFrame(frames: Frames & { isEncrypted: boolean }): Promise<void> {
  const reading = framesOf(frames);
  try {
    await reading.next();
  } catch (error) {
    const isSealedOtherwise = error instanceof IntegrityError && error.details['opens'] === false;
    if (!frames.isEncrypted || !isSealedOtherwise) throw error;
    const message = `${frames.path} does not open with this passphrase (or its beginning is damaged)`;
    throw new PrimaError('wrong-key', message, { cause: error });
  } finally {
    await reading.return(undefined);
  }
}

async function* framesOf({ path, offset, unseal }: Frames): AsyncGenerator<Buffer> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    let at = offset;
    for (let number = 0; ; number += 1) {
      const length = Buffer.alloc(4);
      const { bytesRead } = await file.read(length, 0, 4, at);
      const sealed = Buffer.alloc(
        Math.min(bytesRead < 4 ? 0 : length.readUInt32BE(), frameBytes + tagBytes + 1),
      );
      const isWhole = sealed.length >= tagBytes && sealed.length <= frameBytes + tagBytes;
      if (!isWhole || (await file.read(sealed, 0, sealed.length, at + 4)).bytesRead < sealed.length)
        throw new IntegrityError(`${path} is damaged or cut off at byte ${at}`);
      at += 4 + sealed.length;
      const isLast = at === size;
      const plain = unseal(sealed, number, isLast);
      if (!plain)
        throw new IntegrityError(`${path} is damaged or cut off before byte ${at}`, {
          details: { opens: false },
        });
      yield plain;
      if (isLast) return;
    }
  } finally {
    await file.close();
  }
}

async function* linesOf(
  frames: AsyncIterable<Buffer>,
  path: string,
  signal: AbortSignal,
): AsyncGenerator<Line> {
  const plain = compose(
    Readable.from(untilAborted(frames, signal)),
    createZstdDecompress(),
  ) as AsyncIterable<Buffer>;
  let isOver = false;
  for await (const text of textLines(plain, path)) {
    if (isOver) throw new FormatError(`${path} goes on after its end`);
    const line = parseLine(text, path);
    isOver = !Array.isArray(line) && 'end' in line;
    yield line;
  }
  if (!isOver) throw new IntegrityError(`${path} has no end`);
}

/** A stream's own signal would raise where nobody listens yet. */
async function* untilAborted(frames: AsyncIterable<Buffer>, signal: AbortSignal): AsyncGenerator<Buffer> {
  for await (const frame of frames) {
    throwIfAborted(signal, 'reading the backup');
    yield frame;
  }
}

async function* textLines(plain: AsyncIterable<Buffer>, path: string): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let held = '';
  for await (const piece of plain) {
    const parts = (held + decoder.decode(piece, { stream: true })).split('\n');
    held = parts.pop() ?? '';
    if (held.length > lineLengthAtMost) throw new FormatError(`${path} holds a line that is too long`);
    yield* parts;
  }
  if (held !== '') throw new IntegrityError(`${path} is cut off within a line`);
}

function parseLine(text: string, path: string): Line {
  try {
    return Line.parse(JSON.parse(text));
  } catch (error) {
    throw new FormatError(`${path} holds a line that is none of a backup's`, { cause: error });
  }
}
