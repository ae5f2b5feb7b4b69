/** One writer at a time, in one process too; readers are let in. With QEMU: tests/interop/vmdk-locks.test.ts. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { KiB, PrimaError } from '@prima/base';
import { openGrowingFile } from './growing-file.ts';
import { openRawFile } from './raw-file.ts';

test('a file that is open for writing is not opened for writing again', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'prima-lock-'));
  try {
    const path = join(folder, 'disk');
    const first = await openRawFile(path, { create: { size: 4 * KiB } });
    for (const open of [openRawFile, openGrowingFile]) {
      await assert.rejects(open(path, { writable: true }), (error) => {
        assert.ok(error instanceof PrimaError && error.code === 'busy' && error.retryable, String(error));
        return error.message.includes(`(process ${process.pid})`);
      });
    }
    const reader = await openRawFile(path);
    await reader.read(0, new Uint8Array(512));
    await first.close();
    const second = await openGrowingFile(path, { writable: true });
    await assert.rejects(openRawFile(path, { writable: true }), /two writers/);
    await second.close();
    await reader.close();
    await (await openRawFile(path, { writable: true })).close();
  } finally {
    await rm(folder, { recursive: true });
  }
});
