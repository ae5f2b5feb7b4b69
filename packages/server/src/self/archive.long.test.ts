import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { MiB } from '@prima/base';
import { temporaryFolder } from '@prima/testbed';
import { type Line, openArchive, writeArchive } from './archive.ts';

const about = {
  created: '2026-03-04T12:00:00.000Z',
  prima: '0.1.0',
  schema: '0001-first',
  database: 'sqlite',
} as const;
const { signal } = new AbortController();

/** Random, so that several frames come of it. */
const lines: Line[] = [
  { table: 'organisation', columns: ['id', 'name', 'created', 'settings'] },
  ...Array.from(
    { length: 6 },
    (_, index): Line => [`${index}`, randomBytes(MiB / 2).toString('base64'), null, 2 ** 53 - 1],
  ),
  { file: 'server.key', mode: 0o600, base64: 'QUJD' },
  { end: { rows: 6, files: 1 } },
];

async function written(t: TestContext, passphrase: string | undefined): Promise<string> {
  const path = join(await temporaryFolder(t), 'backup');
  const file = await open(path, 'wx');
  const content = (async function* () {
    yield* lines;
  })();
  const length = await writeArchive(file, about, { passphrase, lines: content, signal });
  await file.close();
  assert.equal((await readFile(path)).length, length);
  return path;
}

async function read(path: string, passphrase = 'correct horse'): Promise<Line[]> {
  const archive = await openArchive(path, async () => passphrase, signal);
  const found: Line[] = [];
  for await (const line of archive.lines()) found.push(line);
  return found;
}

for (const passphrase of ['correct horse', undefined]) {
  const how = passphrase === undefined ? 'not encrypted' : 'encrypted';
  test(`${how}: what was written is read`, async (t) => {
    const path = await written(t, passphrase);
    assert.deepEqual(await read(path), lines);
    const { header } = await openArchive(path, async () => 'correct horse', signal);
    assert.equal(header.schema, about.schema);
    assert.equal(
      (await readFile(path)).includes('organisation'),
      false,
      'it is sealed, or compressed at least',
    );
  });

  test(`${how}: what was changed, cut off, swapped or added is not`, async (t) => {
    const path = await written(t, passphrase);
    const whole = await readFile(path);
    const start = 12 + whole.readUInt32BE(8);
    const frame = 4 + whole.readUInt32BE(start);
    const changes: [string, Buffer][] = [
      ['a bit of the header', Buffer.from(whole).fill('X', 20, 21)],
      ['a bit of the last frame', Buffer.from(whole).fill((whole.at(-1) ?? 0) ^ 1, whole.length - 1)],
      ['the last frame gone', whole.subarray(0, start + frame)],
      ['cut in a frame', whole.subarray(0, start + frame + 100)],
      ['cut in the header', whole.subarray(0, 30)],
      ['a frame twice', Buffer.concat([whole.subarray(0, start + frame), whole.subarray(start)])],
      ['more at the end', Buffer.concat([whole, Buffer.alloc(20)])],
      ['nothing', Buffer.alloc(0)],
    ];
    for (const [name, bytes] of changes) {
      await writeFile(path, bytes);
      await assert.rejects(read(path), (error: { code?: string }) => {
        assert.match(error.code ?? '', /^(?:integrity|format|wrong-key)$/, name);
        return true;
      });
    }
  });
}

test('a wrong passphrase is told as that, and none is asked for', async (t) => {
  const path = await written(t, 'correct horse');
  await assert.rejects(read(path, 'battery staple'), { code: 'wrong-key' });
  await assert.rejects(read(path, ''), { code: 'usage' });
});
