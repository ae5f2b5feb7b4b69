/** `prima disk` on real files, held against qemu-img. */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { mergeRanges, MiB, runProgram, seededRandom } from '@prima/base';
import { openRawFile } from '@prima/block';
import { spawnPrima } from '@prima/testbed';

const size = 64 * MiB;
let folder = '';
const at = (name: string) => join(folder, name);

/** Of all results together, what the tests look at. */
interface Result {
  format: string;
  size: number;
  data: number;
  partitionTable: { kind: string; partitions: { offset: number; name: string }[] };
  extents: { offset: number; length: number; kind: string }[];
  differences: unknown[];
}

async function prima(...args: string[]): Promise<{ status: number | null; result: Result; stderr: string }> {
  const { status, stdout, stderr } = await spawnPrima(['disk', ...args, '--json'], {
    env: { PRIMA_HOME: at('home') },
  }).result;
  const last = stdout.trim().split('\n').at(-1);
  const { result } = JSON.parse(last === undefined || last === '' ? '{}' : last) as { result: Result };
  return { status, result, stderr: `${stderr}${last}` };
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prima-disk-'));
  const random = seededRandom(11);
  const disk = await openRawFile(at('a.raw'), { create: { size } });
  await disk.write(8 * MiB, random.bytes(new Uint8Array(3 * MiB)));
  await disk.write(40 * MiB, random.bytes(new Uint8Array(64 * 1024)));
  await disk.flush();
  await disk.close();
  const table = 'label: gpt\nstart=2048, size=65536, name=data\n';
  await writeFile(at('table'), table);
  await runProgram('sh', ['-c', 'sfdisk -q "$1" <"$2"', 'sh', at('a.raw'), at('table')], {});
});

after(async () => {
  await rm(folder, { recursive: true });
});

test('info tells format, sizes and partitions', async () => {
  const { status, result } = await prima('info', at('a.raw'));
  assert.equal(status, 0);
  assert.deepEqual([result.format, result.size], ['raw', size]);
  assert.ok(result.data >= 3 * MiB && result.data < 8 * MiB, `${result.data} bytes of data`);
  assert.equal(result.partitionTable.kind, 'gpt');
  assert.deepEqual(
    result.partitionTable.partitions.map(({ offset, name }) => [offset, name]),
    [[MiB, 'data']],
  );
});

test('convert makes what qemu-img finds identical, and compare agrees', async () => {
  for (const name of ['b.qcow2', 'b.vmdk', 'b.img']) {
    const { status, stderr } = await prima('convert', at('a.raw'), at(name));
    assert.equal(status, 0, stderr);
    await runProgram('qemu-img', ['compare', at('a.raw'), at(name)], {});
    const same = await prima('compare', at('a.raw'), at(name));
    assert.deepEqual([same.status, same.result.differences], [0, []]);
  }
  const back = await prima('convert', at('b.qcow2'), at('back.raw'));
  assert.equal(back.status, 0, back.stderr);
  await runProgram('qemu-img', ['compare', at('a.raw'), at('back.raw')], {});
});

test('the map is the one that qemu-img sees', async () => {
  const { result } = await prima('map', at('b.qcow2'));
  const { stdout } = await runProgram('qemu-img', ['map', '--output=json', at('b.qcow2')], {});
  const theirs = (JSON.parse(stdout) as { start: number; length: number; data: boolean }[])
    .filter(({ data }) => data)
    .map(({ start, length }) => ({ offset: start, length })); // in pieces that lie apart in the file
  const ours = result.extents
    .filter(({ kind }) => kind === 'data')
    .map(({ offset, length }) => ({ offset, length }));
  assert.deepEqual(ours, mergeRanges(theirs));
});

test('a difference is named by its sectors, and is an exit status of its own', async () => {
  const disk = await openRawFile(at('b.img'), { writable: true });
  await disk.write(40 * MiB + 512, new Uint8Array(512));
  await disk.close();
  const { status, result } = await prima('compare', at('a.raw'), at('b.img'));
  assert.equal(status, 24);
  assert.deepEqual(result.differences, [{ offset: 40 * MiB + 512, length: 512 }]);
});

test('convert writes over nothing unasked, and leaves nothing of what fails', async () => {
  const again = await prima('convert', at('a.raw'), at('b.qcow2'));
  assert.equal(again.status, 4);
  assert.match(again.stderr, /there already/);
  assert.equal((await prima('convert', at('a.raw'), at('b.qcow2'), '--force')).status, 0);
  const before = (await readdir(folder)).sort();
  await writeFile(at('bad.qcow2'), 'QFI\xfb and no more');
  assert.notEqual((await prima('convert', at('bad.qcow2'), at('c.raw'))).status, 0);
  assert.equal((await prima('convert', at('a.raw'), at('c.unknown'))).status, 2);
  assert.deepEqual((await readdir(folder)).sort(), [...before, 'bad.qcow2'].sort());
});
