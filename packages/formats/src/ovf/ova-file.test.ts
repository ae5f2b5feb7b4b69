import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newDescription } from '../machine/description.ts';
import { envelopeFiles } from './envelope.ts';
import { openOva } from './ova.ts';
import { type OvaTarget, writeOvaFile } from './ova-file.ts';
import { writeOvf } from './write-ovf.ts';

function memoryTarget(): OvaTarget & { bytes: Buffer } {
  const target = {
    bytes: Buffer.alloc(0),
    write: async (offset: number, piece: Uint8Array) => {
      const end = offset + piece.length;
      if (end > target.bytes.length)
        target.bytes = Buffer.concat([target.bytes, Buffer.alloc(end - target.bytes.length)]);
      target.bytes.set(piece, offset);
    },
  };
  return target;
}

async function* pieces(...sizes: number[]): AsyncGenerator<Uint8Array> {
  await Promise.resolve();
  for (const [at, size] of sizes.entries()) yield Buffer.alloc(size, at + 1);
}

test('an archive written into a file is read as any other, and its manifest fits', async () => {
  const long = `${'d'.repeat(120)}.vmdk`;
  const disk = (location: string, unit: number) => ({
    slot: { bus: 'scsi' as const, controller: 0, unit },
    source: { kind: 'file' as const, location },
    format: 'vmdk',
    capacityBytes: 4096,
  });
  const description = {
    ...newDescription('web'),
    memoryBytes: 2 ** 29,
    disks: [disk('a.vmdk', 0), disk('b', 1)],
  };
  const names = ['a.vmdk', long];
  const target = memoryTarget();
  const asked: (number | undefined)[] = [];
  const size = await writeOvaFile(
    {
      name: 'web',
      modified: 1_700_000_000,
      members: [
        { name: 'a.vmdk', body: () => pieces(700, 324) },
        { name: long, body: () => pieces(5000) },
      ],
      document: (sizes) => {
        asked.push(...names.map((name) => sizes.get(name)));
        const fileSizes = new Map([
          ['a.vmdk', sizes.get('a.vmdk') ?? 0],
          ['b', sizes.get(long) ?? 0],
        ]);
        return writeOvf(description, { fileSizes }).result.document;
      },
    },
    target,
  );
  assert.equal(size, target.bytes.length);
  assert.equal(size % 512, 0);
  const most = Number.MAX_SAFE_INTEGER;
  assert.deepEqual(asked, [most, most, 1024, 5000]);
  const ova = await openOva(pieceByPiece(target.bytes));
  assert.deepEqual(
    envelopeFiles(ova.document).map(({ href, sizeBytes }) => [href, sizeBytes]),
    [
      ['a.vmdk', 1024],
      ['b', 5000],
    ],
  );
  const found: [string, number, number | undefined][] = [];
  for await (const file of ova.files()) found.push([file.name, file.size, target.bytes[file.offset]]);
  assert.deepEqual(found, [
    ['a.vmdk', 1024, 1],
    [long, 5000, 1],
  ]);
  assert.deepEqual(
    ova.findings()?.map(({ state }) => state),
    ['right', 'right', 'right'],
  );
});

async function* pieceByPiece(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  await Promise.resolve();
  for (let at = 0; at < bytes.length; at += 1000) yield bytes.subarray(at, at + 1000);
}

test('a member that fails ends the writing with its error', async () => {
  const failing = async function* () {
    await Promise.resolve();
    yield Buffer.alloc(10);
    throw new Error('the disk is gone');
  };
  const document = () => writeOvf({ ...newDescription('web'), memoryBytes: 2 ** 20 }).result.document;
  const ova = { name: 'web', members: [{ name: 'a', body: failing }], document };
  await assert.rejects(writeOvaFile(ova, memoryTarget()), /the disk is gone/);
  const outside = { ...ova, members: [{ name: '../a', body: () => pieces(1) }] };
  await assert.rejects(writeOvaFile(outside, memoryTarget()), { code: 'usage' });
});
