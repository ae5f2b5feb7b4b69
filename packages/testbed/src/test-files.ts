/** Files for tests: private folders, quick repeatable random content, hashes. */
import { createCipheriv, createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { KiB, seededRandom } from '@prima/base';

/** What `temporaryFolder` needs of a test's context. */
export interface Cleanup {
  after(task: () => Promise<void>): void;
}

/** A new private folder with a short path (sockets fit in it), removed with all it holds after the test. */
export async function temporaryFolder(test: Cleanup): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'prima-test-'));
  test.after(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}

export interface RandomFileOptions {
  /** Bytes; any number. */
  size: number;
  /** The part of the 64 KiB units that hold data, the others are holes; 0 … 1. Default 1. */
  dataFraction?: number;
  /** The same seed, size and fraction make the same file; seeds share no content. */
  seed: number;
}

const unit = 64 * KiB;

/** Makes (or replaces) a sparse file of incompressible content; returns how many bytes of it are data. */
export async function randomFile(path: string, options: RandomFileOptions): Promise<number> {
  const { size, dataFraction = 1, seed } = options;
  const choice = seededRandom(seed);
  const key = createHash('sha256').update(`random file ${seed}`).digest();
  const stream = createCipheriv('aes-256-ctr', key, Buffer.alloc(16));
  const zeros = Buffer.alloc(unit);
  let data = 0;
  await using file = await open(path, 'w');
  await file.truncate(size);
  for (let offset = 0; offset < size; offset += unit) {
    if (choice.uint32() / 2 ** 32 >= dataFraction) continue;
    const piece = stream.update(zeros.subarray(0, Math.min(unit, size - offset)));
    await file.write(piece, 0, piece.length, offset);
    data += piece.length;
  }
  return data;
}

/** The SHA-256 of a file's content, in hexadecimal. */
export async function sha256File(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 1024 * KiB }), hash);
  return hash.digest('hex');
}
