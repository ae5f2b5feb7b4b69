import assert from 'node:assert/strict';
import { cp, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, describe, it } from 'node:test';
import { KiB, MiB, PrimaError, seededRandom } from '@prima/base';
import type { WritableDevice } from '@prima/block';
import { createVmdk, type NewVmdkType } from '../vmdk/create-vmdk.ts';
import { openVmdk } from '../vmdk/open-vmdk.ts';
import { cowdLogs } from './cowd-log.ts';
import type { LogKind } from './log-kind.ts';
import { localRedoFolder, type RedoFolder } from './redo-folder.ts';
import { readRedoRecord, RedoStack } from './redo-stack.ts';

const root = await mkdtemp(join(tmpdir(), 'prima-redo-'));
after(() => rm(root, { recursive: true }));
const size = 3 * MiB;
let folders = 0;

async function newDisk(createType: NewVmdkType = 'vmfs', bytes = size): Promise<string> {
  folders += 1;
  const folder = join(root, `disk-${folders}`);
  await cp(await mkdtemp(join(root, 'empty-')), folder, { recursive: true });
  const disk = join(folder, 'disk.vmdk');
  await createVmdk(disk, { createType, size: bytes });
  return disk;
}

/** Writes to the disk as a guest does: to the top of its stack. */
async function write(
  stack: RedoStack,
  model: Buffer,
  random: ReturnType<typeof seededRandom>,
): Promise<void> {
  const { device } = await openVmdk(stack.top, { writable: true });
  try {
    for (let count = 0; count < 12; count += 1) {
      const length = 512 * (1 + (random.uint32() % 40));
      const offset = 512 * (random.uint32() % ((size - length) / 512));
      const bytes = Buffer.from(random.bytes(new Uint8Array(length)));
      if (count % 4 === 3) bytes.fill(0);
      await device.write(offset, bytes);
      bytes.copy(model, offset);
    }
    await device.flush();
  } finally {
    await device.close();
  }
}

async function read(path: string): Promise<Buffer> {
  const { device } = await openVmdk(path);
  try {
    const bytes = Buffer.alloc(device.size);
    await device.read(0, bytes);
    return bytes;
  } finally {
    await device.close();
  }
}

async function mustHold(stack: RedoStack, model: Buffer, message: string): Promise<void> {
  assert.ok((await read(stack.top)).equals(model), message);
}

describe('redo logs of VMDKs', () => {
  for (const createType of ['vmfs', 'monolithicSparse', 'twoGbMaxExtentFlat'] as const) {
    for (const seed of [1, 2, 3]) {
      it(`${createType}: random operations against a plain model, seed ${seed}`, async () => {
        const random = seededRandom(seed);
        const disk = await newDisk(createType);
        const stack = await RedoStack.open(disk, { kind: cowdLogs() });
        /** What the disk held when each log was added, bottom up; the last one is now. */
        const states = [Buffer.alloc(size)];
        const now = () => states.at(-1) ?? Buffer.alloc(0);
        await write(stack, now(), random);
        for (let step = 0; step < 14; step += 1) {
          const logs = stack.record.logs.length;
          const choice = random.uint32() % 5;
          if (choice === 0 && logs > 0) {
            await stack.discard();
            states.pop();
          } else if (choice === 1 && logs > 0) {
            const level = random.uint32() % logs;
            await stack.commit(level);
            states.splice(states.length - 2 - level, 1);
          } else if (choice <= 3 && logs < 2) {
            await stack.add();
            states.push(Buffer.from(now()));
          }
          await mustHold(stack, now(), `after step ${step} of seed ${seed}`);
          await write(stack, now(), random);
          await mustHold(stack, now(), `written after step ${step} of seed ${seed}`);
        }
        for (const log of stack.record.logs.toReversed()) {
          assert.ok(log.id);
          await stack.commit(0);
          states.splice(-2, 1);
          await mustHold(stack, now(), 'committed at the end');
        }
        assert.equal(stack.top, disk);
        assert.equal(await readRedoRecord(disk), undefined);
        const left = await readdir(join(disk, '..'));
        assert.deepEqual(
          left.filter((name) => /REDO|redo|tmp/.test(name)),
          [],
        );
      });
    }
  }

  it('has two at most', async () => {
    const stack = await RedoStack.open(await newDisk(), { kind: cowdLogs() });
    await stack.add();
    await stack.add();
    await assert.rejects(
      stack.add(),
      (error: PrimaError) => error.code === 'refused' && /2 is the most/.test(error.message),
    );
    assert.deepEqual(
      stack.record.logs.map(({ files }) => files[0]),
      ['disk.vmdk.REDO', 'disk.vmdk.REDO.REDO'],
    );
  });

  it('names the log by its level, and what there is when there is none of it', async () => {
    const stack = await RedoStack.open(await newDisk(), { kind: cowdLogs() });
    await assert.rejects(stack.commit(0), /no redo logs, and none of level 0/);
    await stack.add();
    await assert.rejects(stack.commit(1), /1 redo log \(level 0\), and none of level 1/);
  });

  it('never touches a foreign log, nor what it stands on', async () => {
    const disk = await newDisk();
    const foreign = `${disk}.REDO`;
    await createVmdk(foreign, { createType: 'vmfsSparse', parent: disk });
    const before = await readFile(foreign);
    const stack = await RedoStack.open(disk, { kind: cowdLogs() });
    assert.deepEqual(await stack.foreign(), ['disk.vmdk.REDO', 'disk.vmdk.REDO-delta.vmdk']);
    await assert.rejects(stack.add(), (error: PrimaError) => error.code === 'refused');
    assert.ok((await readFile(foreign)).equals(before));
  });

  it('does not merge into a disk that has other children', async () => {
    const disk = await newDisk();
    const stack = await RedoStack.open(disk, { kind: cowdLogs() });
    await stack.add();
    await createVmdk(join(disk, '../linked.vmdk'), { createType: 'monolithicSparse', parent: disk });
    await assert.rejects(stack.commit(0), /linked.vmdk over it, which Prima did not make/);
    await rm(join(disk, '../linked.vmdk'));
    await stack.commit(0);
  });

  it('finds its logs by whatever name the disk is opened', async () => {
    const disk = await newDisk();
    const link = join(await mkdtemp(join(root, 'links-')), 'linked.vmdk');
    await symlink(disk, link);
    const stack = await RedoStack.open(link, { kind: cowdLogs() });
    await stack.add();
    assert.equal(stack.top, `${disk}.REDO`);
    assert.deepEqual(await readdir(join(link, '..')), ['linked.vmdk']);
    assert.equal((await readRedoRecord(disk))?.logs.length, 1);
    assert.equal((await readRedoRecord(link))?.logs.length, 1);
  });

  it('finds what is in a log whose tables are holes for the most part', async () => {
    const bytes = 400 * MiB;
    const disk = await newDisk('monolithicSparse', bytes);
    const stack = await RedoStack.open(disk, { kind: cowdLogs() });
    const log = await stack.add();
    assert.equal(await stack.bytesOf(log), 0);
    const places = [0, 82 * MiB - 512, 82 * MiB, 201 * MiB + 512, bytes - 512];
    const { device } = await openVmdk(stack.top, { writable: true });
    for (const [index, place] of places.entries()) await device.write(place, Buffer.alloc(512, index + 1));
    await device.close();
    assert.equal(await stack.bytesOf(log), 512 * places.length);
    await stack.commit(0);
    const merged = await openVmdk(disk);
    for (const [index, place] of places.entries()) {
      const sector = Buffer.alloc(512);
      await merged.device.read(place, sector);
      assert.ok(sector.equals(Buffer.alloc(512, index + 1)), `at ${place}`);
    }
    await merged.device.close();
  });

  it('adds no log beside what is no file', async () => {
    const create = () => assert.fail('a log is made');
    const stack = await RedoStack.open('/dev/null', { kind: { ...cowdLogs(), create } });
    await assert.rejects(stack.add(), (error: PrimaError) => error.code === 'unsupported');
    assert.equal(await readRedoRecord('/dev/null'), undefined);
  });

  it('keeps a log that was being merged and cannot be read any more', async () => {
    const disk = await newDisk();
    const stack = await RedoStack.open(disk, { kind: cowdLogs() });
    await stack.add();
    await write(stack, Buffer.alloc(size), seededRandom(11));
    await stack.beginCommit(0);
    await writeFile(stack.top, Buffer.alloc(512)); // its blocks were not yet there when the host went down
    const found = await RedoStack.open(disk, { kind: cowdLogs() });
    await assert.rejects(found.settle(), (error: PrimaError) => error.code === 'format');
    const names = await readdir(join(disk, '..'));
    assert.ok(names.includes('disk.vmdk.REDO-delta.vmdk'), names.join(', '));
    assert.equal((await readRedoRecord(disk))?.doing?.do, 'commit');
  });

  it('refuses a record that leads elsewhere', async () => {
    const disk = await newDisk();
    const log = { id: '00000001', files: ['../other.vmdk'], purpose: 'asked', made: '' };
    await writeFile(
      `${disk}.redo.json`,
      JSON.stringify({ version: 1, disk: 'disk.vmdk', kind: 'cowd', logs: [log] }),
    );
    await assert.rejects(
      RedoStack.open(disk, { kind: cowdLogs() }),
      (error: PrimaError) => error.code === 'format',
    );
  });
});

/** `device` with other ways to write. */
function withWrites(
  device: WritableDevice,
  writes: Partial<Pick<WritableDevice, 'write' | 'zero' | 'flush'>>,
): WritableDevice {
  return {
    size: device.size,
    blockSize: device.blockSize,
    extents: device.extents.bind(device),
    read: device.read.bind(device),
    write: device.write.bind(device),
    zero: device.zero.bind(device),
    flush: device.flush.bind(device),
    close: device.close.bind(device),
    ...writes,
  };
}

/** Calls `moment` before each step that changes a file. */
function observed(disk: string, moment: () => Promise<void>): { kind: LogKind; folder: RedoFolder } {
  const folder = localRedoFolder(disk);
  const before =
    <A extends unknown[], R>(task: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      await moment();
      return task(...args);
    };
  const watch = (device: WritableDevice): WritableDevice =>
    withWrites(device, {
      write: before(device.write.bind(device)),
      zero: before(device.zero.bind(device)),
      flush: before(device.flush.bind(device)),
    });
  return {
    folder: {
      ...folder,
      replace: before((name: string, text: string) => folder.replace(name, text)),
      remove: async (names) => {
        for (const name of names) {
          await moment();
          await folder.remove([name]);
        }
      },
    },
    kind: {
      ...cowdLogs(),
      create: before((...args: Parameters<LogKind['create']>) => cowdLogs().create(...args)),
      close: before((...args: Parameters<LogKind['close']>) => cowdLogs().close(...args)),
      openBeneath: async (path, options) => watch(await cowdLogs().openBeneath(path, options)),
    },
  };
}

describe('redo logs after a crash at any step', () => {
  it('the disk is what the guest saw, and the next call mends it', async () => {
    const disk = await newDisk();
    const random = seededRandom(7);
    const plain = await RedoStack.open(disk, { kind: cowdLogs() });
    const model = Buffer.alloc(size);
    await write(plain, model, random);
    const states: { folder: string; expected: Buffer[]; after: string }[] = [];
    let during = '';
    let expected: Buffer[] = [];
    const moment = async () => {
      const folder = join(root, `crash-${states.length}`);
      await cp(join(disk, '..'), folder, { recursive: true });
      states.push({ folder, expected: expected.map((bytes) => Buffer.from(bytes)), after: during });
    };
    const stack = await RedoStack.open(disk, observed(disk, moment));
    const step = async (name: string, allowed: Buffer[], task: () => Promise<unknown>) => {
      during = name;
      expected = allowed;
      await task();
      await moment();
    };
    await step('add', [model], () => stack.add());
    const first = Buffer.from(model);
    await write(stack, model, random);
    await step('add a second one', [model], () => stack.add());
    await write(stack, model, random);
    await step('commit level 1', [model], () => stack.commit(1));
    await write(stack, model, random);
    await step('commit level 0', [model], () => stack.commit(0));
    assert.ok(!first.equals(model));
    await step('add again', [model], () => stack.add());
    const kept = Buffer.from(model);
    await write(stack, model, random);
    await step('discard', [model, kept], () => stack.discard());
    assert.ok(states.length > 40, `${states.length} moments`);
    for (const { folder, expected: allowed, after: what } of states) {
      const copy = join(folder, basename(disk));
      const found = await RedoStack.open(copy, { kind: cowdLogs() });
      const seen = await found.settle();
      const bytes = await read(found.top);
      assert.ok(
        allowed.some((state) => state.equals(bytes)),
        `${what}, ${basename(folder)}: ${seen.join('; ')}`,
      );
      assert.equal(found.record.doing, undefined);
      assert.deepEqual(await found.foreign(), [], `${what}, ${basename(folder)}`);
      if (found.record.logs.length < cowdLogs().limit) await found.add();
      while (found.record.logs.length > 0) await found.commit(0);
      assert.ok(bytes.equals(await read(copy)), `${what}, ${basename(folder)}: merged afterwards`);
    }
  });

  it('a merge that fails leaves the disk whole through its log', async () => {
    const disk = await newDisk();
    const random = seededRandom(9);
    const model = Buffer.alloc(size);
    const stack = await RedoStack.open(disk, {
      kind: {
        ...cowdLogs(),
        openBeneath: async (path, options) => {
          const device = await cowdLogs().openBeneath(path, options);
          let left = 3;
          return withWrites(device, {
            write: async (offset: number, from: Uint8Array) => {
              left -= 1;
              if (left < 0) throw new PrimaError('no-space', 'no room left');
              return device.write(offset, from);
            },
          });
        },
      },
    });
    await write(stack, model, random);
    await stack.add();
    await write(stack, model, random);
    await assert.rejects(
      stack.commit(0),
      (error: PrimaError) => error.code === 'no-space' && /commit it again/.test(error.message),
    );
    await mustHold(stack, model, 'after the failure');
    await assert.rejects(stack.discard(), /half merged; commit it first/);
    await assert.rejects(stack.add(), /half merged; commit it first/);
    const again = await RedoStack.open(disk, { kind: cowdLogs() });
    await again.commit(0);
    await mustHold(again, model, 'merged at last');
    assert.equal(again.top, disk);
    assert.ok(size > 64 * KiB);
  });
});
