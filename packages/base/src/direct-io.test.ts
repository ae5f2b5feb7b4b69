import assert from 'node:assert/strict';
import { mkdtemp, open, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { KiB, MiB } from './bytes.ts';
import { DirectWriter, pageMemory } from './direct-io.ts';
import { writeAt } from './durable-file.ts';
import { seededRandom } from './random.ts';

const seed = Date.now() % 2 ** 32;
const random = seededRandom(seed);

describe('direct writing', () => {
  for (const [place, folder] of [
    ['the temporary folder', tmpdir()],
    ['memory, which has no direct writing before Linux 6.6', '/dev/shm'],
  ] as const) {
    it(`gives the same file in ${place}`, async () => {
      const home = await mkdtemp(join(folder, 'direct-'));
      try {
        const memory = pageMemory(2 * MiB);
        random.bytes(memory);
        const handle = await open(join(home, 'file'), 'wx+');
        const direct = new DirectWriter(handle, false);
        const wanted = Buffer.alloc(8 * MiB);
        const put = async (bytes: Uint8Array, offset: number) => {
          await writeAt(handle, bytes, offset, direct);
          wanted.set(bytes, offset);
        };
        await put(memory, 4 * MiB);
        await rename(join(home, 'file'), join(home, 'renamed')); // the file counts, not its name
        await put(memory.subarray(0, MiB + 777), 0); // whole pages, then the rest
        await put(memory.subarray(512, MiB), 6 * MiB); // memory that begins inside a page
        await put(memory.subarray(4096, MiB), MiB + 1); // a place inside a page
        await put(memory.subarray(0, 8 * KiB), 7 * MiB + 8 * KiB); // too little
        await put(Uint8Array.from(memory.subarray(0, MiB)), 2 * MiB); // memory of another kind
        await direct.close();
        await handle.close();
        const found = await readFile(join(home, 'renamed'));
        assert.equal(found.compare(wanted.subarray(0, found.length)), 0, `seed ${seed}`);
      } finally {
        await rm(home, { recursive: true });
      }
    });
  }

  it('takes whole pages only, and nothing after its end', async () => {
    const home = await mkdtemp(join(tmpdir(), 'direct-'));
    try {
      const handle = await open(join(home, 'file'), 'wx+');
      const direct = new DirectWriter(handle, false);
      const memory = pageMemory(MiB);
      const taken = await direct.write(memory.subarray(0, 300 * KiB + 5), 0);
      assert.ok(taken === 300 * KiB || taken === 0, `${taken} bytes`); // 0: this file system has none
      assert.equal(await direct.write(memory, 5), 0);
      await direct.close();
      assert.equal(await direct.write(memory, 0), 0);
      await handle.close();
    } finally {
      await rm(home, { recursive: true });
    }
  });
});
