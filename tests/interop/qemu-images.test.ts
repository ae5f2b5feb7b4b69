/** Images of every format through QEMU's own tools. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, rmdir, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { identityOf, liveness, MiB, PrimaError, runProgram, seededRandom, systemClock } from '@prima/base';
import { type BlockDevice, copyDevice, memoryDevice, openRawFile, type WritableDevice } from '@prima/block';
import { detectFormat, type DiskFormat } from '@prima/formats';
import {
  addBitmap,
  createImage,
  imageInfo,
  mergeBitmaps,
  openWithQemu,
  removeBitmap,
  startGuarded,
} from '@prima/qemu';

let folder = '';
/** Private folders of the programs under test; empty again after each test. */
let runtime = '';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prima-images-'));
  runtime = join(folder, 'run');
  await mkdir(runtime);
});

afterEach(async () => {
  const left = await readdir(runtime);
  await rm(folder, { recursive: true });
  assert.deepEqual(left, [], 'every private folder is gone');
});

/** A disk with data, zeros and holes; an odd number of sectors. */
async function sample(seed = 7, size = 9 * MiB + 512 * 3): Promise<WritableDevice> {
  const device = memoryDevice(size);
  const random = seededRandom(seed);
  for (let index = 0; index < 12; index += 1) {
    const length = 1 + random.below(300_000);
    await device.write(random.below(size - length), random.bytes(new Uint8Array(length)));
  }
  await device.write(size - 512, random.bytes(new Uint8Array(512)));
  return device;
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof PrimaError, `a PrimaError was wanted: ${String(error)}`);
  return error.code;
}

/** Byte for byte, whatever the devices say of their extents. */
async function assertSame(a: BlockDevice, b: BlockDevice): Promise<void> {
  assert.equal(a.size, b.size);
  for (let offset = 0; offset < a.size; offset += MiB) {
    const left = Buffer.alloc(Math.min(MiB, a.size - offset));
    const right = Buffer.alloc(left.length);
    await Promise.all([a.read(offset, left), b.read(offset, right)]);
    assert.ok(left.equals(right), `the megabyte at ${offset} is the same`);
  }
}

/** An image that holds what `source` does, written through QEMU's tools. */
async function writeImage(
  source: BlockDevice,
  path: string,
  { format, runtimeFolder }: { format: DiskFormat; runtimeFolder: string },
): Promise<void> {
  await createImage(path, { format, size: source.size });
  const image = await openWithQemu(path, { format, writable: true, runtimeFolder });
  try {
    await copyDevice(source, image, { targetIsZero: true });
    await image.flush();
  } finally {
    await image.close();
  }
}

for (const format of ['qcow2', 'vmdk', 'vhdx', 'vdi'] as const) {
  test(`${format}: written, recognised, opened and read back alike`, async () => {
    const source = await sample();
    const path = join(folder, `disk with, comma.${format}`);
    await writeImage(source, path, { format, runtimeFolder: runtime });
    assert.equal(await detectFormat(path), format);
    assert.equal((await imageInfo(path, format)).virtualSize, source.size);
    const image = await openWithQemu(path, { format, runtimeFolder: runtime });
    try {
      assert.equal(image.size, source.size);
      await assertSame(source, image);
    } finally {
      await image.close();
    }
    const raw = join(folder, 'reference.raw');
    const file = await openRawFile(raw, { create: { size: source.size } });
    await file.close();
    await runProgram('qemu-img', ['convert', '-f', format, '-O', 'raw', path, raw]);
    const reference = await openRawFile(raw);
    try {
      await assertSame(source, reference);
    } finally {
      await reference.close();
    }
    assert.equal(await codeOf(createImage(path, { format, size: source.size })), 'exists');
    assert.deepEqual((await readdir(folder)).sort(), [`disk with, comma.${format}`, 'reference.raw', 'run']);
  });
}

test('raw and vpc are opened too', async () => {
  const source = await sample(3, 4 * MiB);
  const raw = join(folder, 'a.raw');
  const file = await openRawFile(raw, { create: { size: source.size } });
  const bytes = new Uint8Array(source.size);
  await source.read(0, bytes);
  await file.write(0, bytes);
  await file.close();
  await runProgram('qemu-img', [
    'convert',
    '-f',
    'raw',
    '-O',
    'vpc',
    '-o',
    'force_size=on',
    raw,
    join(folder, 'a.vhd'),
  ]);
  for (const [name, format] of [
    ['a.raw', 'raw'],
    ['a.vhd', 'vpc'],
  ] as const) {
    assert.equal(await detectFormat(join(folder, name)), format);
    const image = await openWithQemu(join(folder, name), { format, runtimeFolder: runtime });
    await assertSame(source, image);
    await image.close();
  }
});

test('an image that is in use is busy, a wrong one a format error', async () => {
  const path = join(folder, 'a.qcow2');
  await createImage(path, { format: 'qcow2', size: MiB });
  assert.equal(await codeOf(createImage(path, { format: 'qcow2', size: MiB })), 'exists');
  const holder = await openWithQemu(path, { format: 'qcow2', writable: true, runtimeFolder: runtime });
  try {
    assert.equal(await codeOf(openWithQemu(path, { format: 'qcow2', runtimeFolder: runtime })), 'busy');
    assert.equal(await codeOf(addBitmap(path, 'b')), 'busy');
    assert.equal((await imageInfo(path, 'qcow2')).virtualSize, MiB);
  } finally {
    await holder.close();
  }
  for (const format of ['vmdk', 'vhdx', 'vdi', 'vpc'] as const) {
    assert.equal(await codeOf(openWithQemu(path, { format, runtimeFolder: runtime })), 'format', format);
  }
  const none = join(folder, 'none.qcow2');
  assert.equal(await codeOf(openWithQemu(none, { format: 'qcow2', runtimeFolder: runtime })), 'not-found');
  assert.equal(await codeOf(openWithQemu(folder, { format: 'raw', runtimeFolder: runtime })), 'unsupported');
});

test('a long runtime folder does not matter', async () => {
  const long = join(runtime, 'x'.repeat(120));
  await mkdir(long);
  const source = await sample(5, MiB);
  const path = join(folder, 'a.vmdk');
  await writeImage(source, path, { format: 'vmdk', runtimeFolder: long });
  const image = await openWithQemu(path, { format: 'vmdk', runtimeFolder: long });
  await assertSame(source, image);
  await image.close();
  assert.deepEqual(await readdir(long), []);
  await rm(long, { recursive: true });
});

test('backing files are listed, refused where unwanted, and never guessed', async () => {
  const path = (name: string) => join(folder, name);
  const base = await sample(11, MiB);
  await writeImage(base, path('base.qcow2'), { format: 'qcow2', runtimeFolder: runtime });
  await createImage(path('top.qcow2'), {
    format: 'qcow2',
    size: MiB,
    backing: { path: 'base.qcow2', format: 'qcow2' },
  });
  const image = await openWithQemu(path('top.qcow2'), { format: 'qcow2', runtimeFolder: runtime });
  assert.deepEqual(
    image.chain.map((file) => file.path),
    [path('top.qcow2'), path('base.qcow2')],
  );
  await assertSame(base, image);
  await image.close();
  const alone = { format: 'qcow2', allowBacking: false, runtimeFolder: runtime } as const;
  assert.equal(await codeOf(openWithQemu(path('top.qcow2'), alone)), 'unsupported');

  const rebase = (name: string, ...more: string[]) =>
    runProgram('qemu-img', ['rebase', '-u', '-f', 'qcow2', '-b', name, ...more, path('top.qcow2')]);
  const open = () => openWithQemu(path('top.qcow2'), { format: 'qcow2', runtimeFolder: runtime });
  await rebase('nbd:127.0.0.1:1', '-F', 'raw');
  assert.equal(await codeOf(open()), 'unsupported');
  await rebase('json:{"driver":"null-co"}', '-F', 'raw');
  assert.equal(await codeOf(open()), 'unsupported');
  await symlink('top.qcow2', path('loop.qcow2'));
  await rebase('loop.qcow2', '-F', 'qcow2');
  assert.equal(await codeOf(open()), 'format');
  await rebase('gone.qcow2', '-F', 'qcow2');
  assert.equal(await codeOf(open()), 'not-found');
});

test('a chain of VMDKs', async () => {
  const base = await sample(12, MiB);
  await writeImage(base, join(folder, 'base.vmdk'), { format: 'vmdk', runtimeFolder: runtime });
  const top = join(folder, 'top.vmdk');
  await createImage(top, {
    format: 'vmdk',
    size: MiB,
    backing: { path: join(folder, 'base.vmdk'), format: 'vmdk' },
  });
  const image = await openWithQemu(top, { format: 'vmdk', runtimeFolder: runtime });
  assert.equal(image.chain.length, 2);
  await assertSame(base, image);
  await image.close();
});

test('a qcow2 file whose data lies elsewhere', async () => {
  const path = join(folder, 'a.qcow2');
  const data = join(folder, 'a.data');
  await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', `data_file=${data}`, path, '1M']);
  const image = await openWithQemu(path, { format: 'qcow2', writable: true, runtimeFolder: runtime });
  assert.equal(image.chain[0]?.dataFile, data);
  await image.write(4096, Buffer.from('in the other file'));
  await image.flush();
  await image.close();
  assert.ok((await readFile(data)).includes('in the other file'));
  const alone = { format: 'qcow2', allowBacking: false, runtimeFolder: runtime } as const;
  assert.equal(await codeOf(openWithQemu(path, alone)), 'unsupported');
});

test('an internal snapshot is read in place of the present', async () => {
  const path = join(folder, 'a.qcow2');
  const source = await sample(13, MiB);
  await writeImage(source, path, { format: 'qcow2', runtimeFolder: runtime });
  await runProgram('qemu-img', ['snapshot', '-c', 'before', path]);
  const writer = await openWithQemu(path, { format: 'qcow2', writable: true, runtimeFolder: runtime });
  await writer.zero({ offset: 0, length: MiB });
  await writer.close();
  const options = { format: 'qcow2', runtimeFolder: runtime } as const;
  const image = await openWithQemu(path, { ...options, snapshot: 'before' });
  await assertSame(source, image);
  await image.close();
  assert.equal(await codeOf(openWithQemu(path, { ...options, snapshot: 'none' })), 'not-found');
});

test('bitmaps follow writes, are merged, removed, and told when they broke', async () => {
  const path = join(folder, 'a.qcow2');
  await createImage(path, { format: 'qcow2', size: 8 * MiB });
  await addBitmap(path, 'first', { granularityBytes: 65_536 });
  await addBitmap(path, 'second');
  assert.equal(await codeOf(addBitmap(path, 'first')), 'exists');
  const writer = await openWithQemu(path, { format: 'qcow2', writable: true, runtimeFolder: runtime });
  await writer.write(3 * MiB + 5, Buffer.from('changed'));
  await writer.flush();
  await writer.close();
  const reader = await openWithQemu(path, { format: 'qcow2', bitmap: 'first', runtimeFolder: runtime });
  assert.deepEqual(await reader.dirtyRanges('first'), [{ offset: 3 * MiB, length: 65_536 }]);
  await reader.close();
  await removeBitmap(path, 'second');
  await addBitmap(path, 'third');
  await mergeBitmaps(path, 'third', ['first']);
  const third = await openWithQemu(path, { format: 'qcow2', bitmap: 'third', runtimeFolder: runtime });
  assert.equal((await third.dirtyRanges('third')).length, 1);
  await third.close();
  const names = (await imageInfo(path, 'qcow2')).bitmaps.map(({ name, flags }) => `${name} ${flags.join()}`);
  assert.deepEqual(names.sort(), ['first auto', 'third auto']);
  assert.equal(await codeOf(removeBitmap(path, 'none')), 'not-found');
  const missing = { format: 'qcow2', bitmap: 'none', runtimeFolder: runtime } as const;
  assert.equal(await codeOf(openWithQemu(path, missing)), 'not-found');
  await breakBitmaps(path);
  assert.ok((await imageInfo(path, 'qcow2')).bitmaps.every(({ flags }) => flags.includes('in-use')));
  const broken = { format: 'qcow2', bitmap: 'first', runtimeFolder: runtime } as const;
  assert.equal(await codeOf(openWithQemu(path, broken)), 'state');
  await removeBitmap(path, 'first');
});

/** Opens the image for writing and dies with it open. */
async function breakBitmaps(path: string): Promise<void> {
  const daemon = spawn('qemu-nbd', ['-t', '-k', join(folder, 'break.sock'), '-f', 'qcow2', path], {
    stdio: 'ignore',
  });
  await eventually(async () => (await readdir(folder)).includes('break.sock'));
  const gone = new Promise((resolve) => daemon.once('exit', resolve));
  await runProgram('qemu-io', [
    '-f',
    'raw',
    '-c',
    'write 0 64k',
    `nbd+unix:///?socket=${join(folder, 'break.sock')}`,
  ]);
  daemon.kill('SIGKILL');
  await gone;
}

async function eventually(check: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 400; attempt += 1) {
    if (await check()) return;
    await systemClock.sleep(25);
  }
  assert.fail('it did not come true within ten seconds');
}

test('after kill -9 of the process that opened it, neither server nor folder remain', async () => {
  const path = join(folder, 'a.qcow2');
  await createImage(path, { format: 'qcow2', size: MiB });
  const opener = join(folder, 'opener.ts');
  const source = new URL('../../packages/qemu/src/mod.ts', import.meta.url).href;
  await writeFile(
    opener,
    `import { openWithQemu } from ${JSON.stringify(source)};
     await openWithQemu(${JSON.stringify(path)}, { format: 'qcow2', writable: true, runtimeFolder: ${JSON.stringify(runtime)} });
     console.log('open');
     setInterval(() => {}, 1000);`,
  );
  const child = spawn(process.execPath, [opener], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise<void>((resolve, reject) => {
    child.stdout.once('data', () => resolve());
    child.once('exit', (code) => reject(new Error(`the opener ended with ${code}`)));
  });
  assert.equal((await readdir(runtime)).length, 1);
  const server = await processWith('qemu-nbd', path);
  assert.ok(server);
  child.kill('SIGKILL');
  await eventually(async () => (await readdir(runtime)).length === 0 && (await liveness(server)) === 'dead');
  const again = await openWithQemu(path, { format: 'qcow2', writable: true, runtimeFolder: runtime });
  await again.close();
});

async function processWith(program: string, argument: string) {
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const command = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '');
    if (command.startsWith(program) && command.includes(argument)) return identityOf(Number(name));
  }
  return undefined;
}

test('a guarded program that ignores SIGTERM is killed, and one that ends is noticed', async () => {
  const stubborn = await startGuarded(
    '/bin/sh',
    ['-c', 'trap "" TERM; touch up; while :; do sleep 0.05; done'],
    {
      folder: join(runtime, 'stubborn'),
      graceMs: 1000,
    },
  );
  await eventually(
    async () =>
      (await readdir(runtime)).includes('stubborn') && (await readdir(stubborn.folder)).includes('up'),
  );
  assert.equal((await stat(stubborn.folder)).mode & 0o777, 0o700);
  await stubborn.close();
  await stubborn.close();
  const brief = await startGuarded('/bin/sh', ['-c', 'echo because >&2; exit 3'], {
    folder: join(runtime, 'brief'),
  });
  await brief.ended;
  assert.equal(brief.stderr(), 'because\n');
  await brief.close();
  await mkdir(join(runtime, 'taken'));
  const refused = await startGuarded('/bin/true', [], { folder: join(runtime, 'taken') });
  await refused.ended;
  assert.match(refused.stderr(), /taken/);
  await refused.close();
  await rmdir(join(runtime, 'taken')); // still there: it was not ours
});
