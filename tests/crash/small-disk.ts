/** A file system of a few megabytes, to be filled to the last byte. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { mkdtemp, rm, rmdir, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KiB, runProgram, systemErrorCode } from '@prima/base';
import type { TestContext } from 'node:test';

const mark = 'PRIMA_TEST_NAMESPACE';

/** True when this process may mount what goes with it: see `runInNamespace`. */
export const isInNamespace = process.env[mark] !== undefined;

/**
 * Runs a test file again in a mount namespace of its own, where nothing that it mounts outlives it; this needs
 * no root. Raises with all it printed when a test of it fails.
 */
export async function runInNamespace(file: string, timeoutMs: number): Promise<void> {
  const { NODE_TEST_CONTEXT: _context, ...env } = process.env;
  const user = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'];
  const { status, stdout, stderr } = await runProgram(
    'unshare',
    [...user, '--mount', '--kill-child', '--fork', process.execPath, file],
    { env: { ...env, [mark]: '1' }, timeoutMs, accept: [0, 1] },
  );
  if (status !== 0) throw new Error(`${stdout}\n${stderr}`);
}

/** Mounts a tmpfs of `bytes` and answers its path. */
export async function smallDisk(t: TestContext, bytes: number): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'prima-disk-'));
  t.after(async () => {
    await runProgram('umount', ['--lazy', folder]);
    await rmdir(folder);
  });
  await runProgram('mount', ['-t', 'tmpfs', '-o', `size=${bytes},mode=700`, 'tmpfs', folder]);
  return folder;
}

/** Bytes that can still be written below `folder`. */
export async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

/** Takes all room but `left` bytes; answers what gives it back. */
export async function fill(folder: string, left = 0): Promise<() => Promise<void>> {
  const free = await freeBytes(folder);
  fillNow(folder, free - left);
  return () => rm(join(folder, 'filler'));
}

/** Takes `bytes`, or all there are, before anybody else of this process gets a turn. */
export function fillNow(folder: string, bytes = Number.POSITIVE_INFINITY): void {
  const file = openSync(join(folder, 'filler'), 'w');
  const piece = Buffer.alloc(256 * KiB, 1);
  try {
    for (let left = bytes; left > 0; ) left -= writeSync(file, piece, 0, Math.min(left, piece.length));
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOSPC') throw error;
  } finally {
    closeSync(file);
  }
}
