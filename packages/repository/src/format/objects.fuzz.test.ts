/** Damaged and invented objects: every parser refuses them with an error of its own, or reads them right. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { KiB } from '@prima/base';
import { answerOf, type FuzzRun, fuzzRun, mutate, mutateJson } from '@prima/testbed';
import { parseConfig, verifyConfig, writeConfig } from '../config.ts';
import { newKeySet, openKeySet, sealingKeys, writeKeySet } from '../crypto/key-set.ts';
import { parseKeySlot, type SlotContent, wrapSlot, writeKeySlot } from '../crypto/key-slot.ts';
import { blobId, Opener, Sealer } from '../crypto/sealer.ts';
import { RecordSigner } from '../crypto/signature.ts';
import { blobType, parseBlobHeader } from './blob.ts';
import { parseLedger, writeLedger } from './ledger.ts';
import { packTrailerBytes, parsePackDirectory, parsePackTrailer } from './pack.ts';
import { packBufferBytes, PackBuilder } from './pack-builder.ts';
import { type PageRef, parsePage, writePage } from './page.ts';
import { parseSegment, writeSegment } from './segment.ts';

const repositoryId = '0123456789abcdef0123456789abcdef';
const keySet = newKeySet('2026-01-01T00:00:00Z');
const signer = new RecordSigner(keySet.seed);
const content: SlotContent = { key: randomBytes(32), access: 'full', signer: signer.publicKey };
const keys = sealingKeys(keySet, repositoryId, 1);

/** Runs `check` on what became of one of `valid`, or on noise; `isWhole` when it is one of them all the same. */
async function fuzz(
  { seed, rounds, random }: FuzzRun,
  valid: readonly Uint8Array[],
  check: (bytes: Buffer, isWhole: boolean) => unknown,
): Promise<void> {
  for (let round = 0; round < rounds; round += 1) {
    const original = valid[random.below(valid.length)] ?? Buffer.alloc(0);
    const isNoise = random.below(10) === 0;
    const bytes = isNoise
      ? Buffer.from(random.bytes(new Uint8Array(random.below(300))))
      : mutate(random, original, valid);
    const isWhole = valid.some((whole) => bytes.equals(whole));
    const where = `seed ${seed}, round ${round}: ${bytes.toString('hex').slice(0, 400)}`;
    await answerOf(() => check(bytes, isWhole), where);
  }
}

test('blobs: what opens is what was sealed', async () => {
  const plains = [Buffer.alloc(0), Buffer.alloc(3000, 'abc'), randomBytes(500)];
  const sealer = new Sealer(keys);
  const blobs = plains.map((plain) => sealer.sealObject(blobType.file, plain, 'x/y'));
  await fuzz(fuzzRun(4000), blobs, (bytes, isWhole) => {
    const plain = new Opener(keys).open(bytes, { type: blobType.file, objectKey: 'x/y' }, 'x/y');
    assert.ok(isWhole && plains.some((known) => known.equals(plain)), 'a changed blob opened');
  });
  await fuzz(fuzzRun(4000), blobs, (bytes) => {
    const { plainLength, cipherLength } = parseBlobHeader(bytes, 'x');
    assert.ok(cipherLength < bytes.length && plainLength <= 64 * 1024 * KiB);
  });
});

test('packs: a directory that parses fills the pack', async () => {
  const packs = [0, 1, 20].map((count) => {
    const buffer = Buffer.alloc(packBufferBytes(64 * KiB, 4 * KiB));
    const builder = new PackBuilder(buffer, 64 * KiB);
    const sealer = new Sealer(keys);
    for (let i = 0; i < count; i += 1) {
      const plain = randomBytes(100 + i);
      builder.add({ type: blobType.chunk, id: blobId(keys, blobType.chunk, plain), plain }, sealer);
    }
    return buffer.subarray(0, builder.finish().size);
  });
  await fuzz(fuzzRun(4000), packs, (bytes) => {
    const trailer = parsePackTrailer(bytes.subarray(-packTrailerBytes), bytes.length, 'pack');
    const directory = bytes.subarray(trailer.offset, trailer.offset + trailer.length);
    const entries = parsePackDirectory(directory, trailer, 'pack');
    const last = entries.at(-1);
    assert.equal(entries.length, trailer.count);
    assert.equal((last?.offset ?? 8) + (last?.length ?? 0), trailer.offset);
  });
});

test('pages: a page that parses covers exactly its range', async () => {
  const chunkSize = 256 * KiB;
  const refs = (count: number): PageRef[] =>
    Array.from({ length: count }, (_, i) => ({ id: i % 3 ? randomBytes(32) : undefined, length: chunkSize }));
  const pages = [1, 5, 128].map((count) => writePage({ level: 0, refs: refs(count) }));
  for (const length of [chunkSize, 5 * chunkSize, 128 * chunkSize]) {
    await fuzz(fuzzRun(1500), pages, (bytes) => {
      const page = parsePage(bytes, { level: 0, length, chunkSize }, 'page');
      const covered = page.refs.reduce((sum, ref) => sum + ref.length, 0);
      assert.equal(covered, length);
    });
  }
});

test('index segments: every place is in a pack that the segment names', async () => {
  const packs = [1, 2].map((n) => ({
    name: randomBytes(32).toString('hex'),
    kind: 'data' as const,
    size: n * KiB,
  }));
  const entries = Array.from({ length: 20 }, (_, i) => ({
    id: randomBytes(32),
    pack: i % 2,
    offset: i * 10,
    length: 10,
  }));
  const segments = [
    writeSegment(packs, entries),
    writeSegment([], []),
    writeSegment(packs, entries.slice(0, 1)),
  ];
  await fuzz(fuzzRun(4000), segments, (bytes) => {
    const segment = parseSegment(bytes, 'segment');
    for (let i = 0; i < segment.count; i += 1) assert.ok((segment.places[i * 3] ?? 0) < segment.packs.length);
  });
});

test('ledgers: what parses is within its bounds', async () => {
  const entry = (i: number) => ({
    name: Buffer.alloc(32, i).toString('hex'),
    time: 1e9 + i,
    isGood: i % 2 === 0,
  });
  const ledgers = [0, 1, 30].map((count) => writeLedger(Array.from({ length: count }, (_, i) => entry(i))));
  await fuzz(fuzzRun(4000), ledgers, (bytes) => {
    const entries = parseLedger(bytes, 'x');
    assert.equal(bytes.length, 8 + 40 * entries.length);
    assert.ok(entries.every(({ name, time }) => name.length === 64 && time < 2 ** 32));
  });
});

test('config: nothing that was changed is accepted', async () => {
  const { seed, rounds, random } = fuzzRun(4000);
  const config = {
    id: repositoryId,
    created: '2026-01-01T00:00:00Z',
    chunkSize: 256 * KiB,
    level: 1,
    readBack: true,
  };
  const text = writeConfig(config, signer);
  for (let round = 0; round < rounds; round += 1) {
    const changed = mutateJson(random, text);
    const found = await answerOf(() => {
      const parsed = parseConfig(changed);
      verifyConfig(changed, repositoryId, keySet.signers);
      return parsed;
    }, `seed ${seed}, round ${round}: ${changed}`);
    if (found) assert.deepEqual(found, config, `seed ${seed}, round ${round}`);
  }
});

test('key slots: what is accepted is within its bounds', async () => {
  const { seed, rounds, random } = fuzzRun(4000);
  const secret = { kind: 'passphrase', text: 'x' } as const;
  const slot = await wrapSlot(content, secret, {
    repositoryId,
    label: 'first',
    created: '2026-01-01T00:00:00Z',
    cost: { memoryKiB: 8192, passes: 1, lanes: 1 },
  });
  const text = writeKeySlot(slot, signer, repositoryId);
  for (let round = 0; round < rounds; round += 1) {
    const changed = mutateJson(random, text);
    const found = await answerOf(
      () => parseKeySlot(changed, 'keys/x'),
      `seed ${seed}, round ${round}: ${changed}`,
    );
    if (!found) continue;
    const { kdf, label, created, kind, id } = found;
    const where = `seed ${seed}, round ${round}: ${changed}`;
    assert.ok(kdf.name === 'argon2id', where);
    assert.ok(kdf.memoryKiB <= 1024 * 1024 && kdf.passes <= 16 && kdf.lanes <= 16, where);
    for (const member of [label, created, kind, id, kdf.salt]) assert.equal(typeof member, 'string', where);
  }
});

test('key sets: nothing that was changed opens', async () => {
  const { seed, rounds, random } = fuzzRun(2000);
  const text = writeKeySet(keySet, content.key, repositoryId);
  for (let round = 0; round < rounds; round += 1) {
    const changed = mutateJson(random, text);
    const where = `seed ${seed}, round ${round}: ${changed}`;
    const found = await answerOf(() => openKeySet(changed, content, { number: 1, repositoryId }), where);
    if (found) assert.deepEqual(found, keySet, where);
  }
});
