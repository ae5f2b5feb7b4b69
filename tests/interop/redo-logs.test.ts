/** Redo logs against QEMU's own tools: what they read through the logs, and what is left when they are merged. */
import assert from 'node:assert/strict';
import { cp, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, describe, it } from 'node:test';
import { MiB, runProgram, seededRandom } from '@prima/base';
import type { BlockDevice, WritableDevice } from '@prima/block';
import { cowdLogs, createVmdk, type LogKind, openVmdk, RedoStack } from '@prima/formats';
import { openRawFile } from '@prima/block';
import { createImage, openWithQemu, qcow2Logs } from '@prima/qemu';
import { runPrima } from '@prima/testbed';

const root = await mkdtemp(join(tmpdir(), 'prima-redo-interop-'));
after(() => rm(root, { recursive: true }));
const size = 8 * MiB;

interface Kind {
  name: string;
  format: 'raw' | 'qcow2' | 'vmdk';
  make(folder: string): Promise<string>;
  logs(disk: string): LogKind;
}

const kinds: Kind[] = [
  {
    name: 'qcow2 over raw',
    format: 'raw',
    make: async (folder) => {
      const disk = join(folder, 'disk.raw');
      await createImage(disk, { format: 'raw', size });
      return disk;
    },
    logs: (disk) => qcow2Logs({ disk, format: 'raw', size }),
  },
  {
    name: 'qcow2 over qcow2',
    format: 'qcow2',
    make: async (folder) => {
      const disk = join(folder, 'disk.qcow2');
      await createImage(disk, { format: 'qcow2', size });
      return disk;
    },
    logs: (disk) => qcow2Logs({ disk, format: 'qcow2', size }),
  },
  {
    name: 'qcow2 over a disk with a colon in its name',
    format: 'qcow2',
    make: async (folder) => {
      const disk = join(folder, 'scsi0:0 of "web".qcow2');
      await createImage(disk, { format: 'qcow2', size });
      return disk;
    },
    logs: (disk) => qcow2Logs({ disk, format: 'qcow2', size }),
  },
  {
    name: 'qcow2 over a flat VMDK',
    format: 'vmdk',
    make: async (folder) => {
      const disk = join(folder, 'disk.vmdk');
      await createVmdk(disk, { createType: 'monolithicFlat', size });
      return disk;
    },
    logs: (disk) => qcow2Logs({ disk, format: 'vmdk', size }),
  },
  {
    name: 'COWD over a VMDK',
    format: 'vmdk',
    make: async (folder) => {
      const disk = join(folder, 'disk.vmdk');
      await createVmdk(disk, { createType: 'vmfs', size });
      return disk;
    },
    logs: () => cowdLogs(),
  },
];

/** Writes as a guest would, through QEMU. */
async function write(path: string, format: string, model: Buffer, seed: number): Promise<void> {
  const random = seededRandom(seed);
  const commands: string[] = [];
  for (let count = 0; count < 10; count += 1) {
    const length = 512 * (1 + (random.uint32() % 300));
    const offset = 512 * (random.uint32() % ((size - length) / 512));
    const pattern = count % 4 === 3 ? 0 : 1 + (random.uint32() % 255);
    // -z: zeros as a command of their own, which logs keep as zeros
    commands.push(
      '-c',
      pattern === 0 ? `write -z ${offset} ${length}` : `write -P ${pattern} ${offset} ${length}`,
    );
    model.fill(pattern, offset, offset + length);
  }
  await runProgram('qemu-io', ['-f', format, ...commands, path]);
}

/** What QEMU reads. */
async function read(path: string, format: string): Promise<Buffer> {
  const target = join(root, `read-${process.pid}.raw`);
  await runProgram('qemu-img', ['convert', '-f', format, '-O', 'raw', path, target]);
  const device: BlockDevice | WritableDevice = await openRawFile(target);
  const bytes = Buffer.alloc(size);
  await device.read(0, bytes);
  await device.close();
  await rm(target);
  return bytes;
}

describe('redo logs and QEMU', () => {
  it('makes none over a raw disk that ends within a sector', async () => {
    const disk = join(await mkdtemp(join(root, 'disk-')), 'odd.raw');
    await writeFile(disk, Buffer.alloc(1000));
    const stack = await RedoStack.open(disk, { kind: qcow2Logs({ disk, format: 'raw', size: 1024 }) });
    await assert.rejects(stack.add(), /1000 bytes, which is not a multiple of 512/);
    assert.deepEqual(await readdir(join(disk, '..')), ['odd.raw']);
  });

  for (const kind of kinds) {
    const { format } = kind;
    it(`${kind.name}: QEMU reads and writes the logs, and both levels are merged`, async () => {
      const folder = await mkdtemp(join(root, 'disk-'));
      const disk = await kind.make(folder);
      const model = Buffer.alloc(size);
      await write(disk, format, model, 1);
      const stack = await RedoStack.open(disk, { kind: kind.logs(disk) });
      const logFormat = stack.record.kind === 'cowd' ? 'vmdk' : 'qcow2';
      const same = async (what: string) => {
        const isDisk = stack.top === disk;
        const bytes = await read(stack.top, isDisk ? format : logFormat);
        assert.ok(bytes.equals(model), `${what}: QEMU reads what was written`);
      };
      await stack.add();
      await same('one empty log');
      await write(stack.top, logFormat, model, 2);
      await stack.add();
      await write(stack.top, logFormat, model, 3);
      await same('two logs');
      await stack.commit(1);
      await same('the lower one merged');
      await write(stack.top, logFormat, model, 4);
      const kept = Buffer.from(model);
      await stack.add();
      await write(stack.top, logFormat, model, 5);
      await stack.discard();
      kept.copy(model);
      await same('one discarded');
      await stack.commit(0);
      assert.equal(stack.top, disk);
      await same('all merged');
      const left = (await readdir(folder)).filter((file) => /REDO|redo|tmp/.test(file));
      assert.deepEqual(left, [], 'nothing is left');
      const opened = format === 'raw' ? await openRawFile(disk) : await openWithQemu(disk, { format });
      await opened.close();
    });
  }

  it('any number of qcow2 logs, and a crash in the middle of a merge is mended', async () => {
    const folder = await mkdtemp(join(root, 'disk-'));
    const disk = join(folder, 'disk.qcow2');
    await createImage(disk, { format: 'qcow2', size });
    const model = Buffer.alloc(size);
    const kind = qcow2Logs({ disk, format: 'qcow2', size });
    const stack = await RedoStack.open(disk, { kind });
    for (let seed = 10; seed < 15; seed += 1) {
      await stack.add();
      await write(stack.top, 'qcow2', model, seed);
    }
    assert.equal(stack.record.logs.length, 5);
    // as a crash leaves it: begun, and part of the log written beneath
    const { log, beneath } = await stack.beginCommit(2);
    await using own = await owned(kind, log);
    const target = await kind.openBeneath(beneath);
    for await (const { offset, length, kind: what } of own.content.runs()) {
      if (what === 'zero') continue;
      const bytes = new Uint8Array(Math.min(length, 65536));
      await own.content.read(offset, bytes);
      await target.write(offset, bytes);
      break;
    }
    await target.close();
    const copy = join(root, 'crashed');
    await cp(folder, copy, { recursive: true });
    const path = join(copy, basename(disk));
    const found = await RedoStack.open(path, { kind: qcow2Logs({ disk: path, format: 'qcow2', size }) });
    assert.ok((await read(found.top, 'qcow2')).equals(model), 'through the half merged log');
    assert.match((await found.settle()).join(), /half merged: it is merged now/);
    assert.equal(found.record.logs.length, 4);
    while (found.record.logs.length > 0) await found.commit(found.record.logs.length - 1);
    assert.ok((await read(path, 'qcow2')).equals(model), 'all merged');
  });

  it('openVmdk reads through qcow2-free chains only: a COWD log is a VMDK', async () => {
    const folder = await mkdtemp(join(root, 'disk-'));
    const disk = join(folder, 'disk.vmdk');
    await createVmdk(disk, { createType: 'vmfs', size });
    const stack = await RedoStack.open(disk, { kind: cowdLogs() });
    await stack.add();
    const { device, info } = await openVmdk(stack.top);
    await device.close();
    assert.equal(info.createType, 'vmfsSparse');
    assert.deepEqual(
      info.parents.map(({ path }) => basename(path)),
      ['disk.vmdk'],
    );
  });
});

it('from the command line: a disk file by itself', async () => {
  const folder = await mkdtemp(join(root, 'cli-'));
  const env = { PRIMA_HOME: join(folder, 'home') };
  const disk = join(folder, 'a disk.vmdk');
  await createVmdk(disk, { createType: 'vmfs', size });
  const run = (...args: string[]) => runPrima(['disk', 'redo', ...args], { env });
  const good = async (...args: string[]) => {
    const { status, stdout, stderr } = await run(...args);
    assert.equal(status, 0, `${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  await good('add', disk);
  await good('add', disk);
  const third = await run('add', disk);
  assert.equal(third.status, 13);
  assert.match(third.stderr, /^prima: .* 2 is the most for logs of the kind cowd; commit one first\n$/);
  assert.match(await good('list', disk), / 0 {2}.*\.REDO\.REDO\n +1 {2}.*\.REDO\n/);
  await good('commit', disk, '--level', '1');
  const meant = await run('discard', disk);
  assert.equal(meant.status, 2, meant.stderr);
  const memory = join(folder, 'machine.memory');
  await writeFile(memory, 'of a suspended machine');
  const suspended = await run('discard', disk, '--yes');
  assert.equal(suspended.status, 6, suspended.stderr);
  await rm(memory);
  await good('discard', disk, '--yes');
  assert.match(await good('list', disk), /no redo logs/);
});

async function owned(kind: LogKind, log: string) {
  const content = await kind.own(log);
  return { content, [Symbol.asyncDispose]: () => content.close() };
}
