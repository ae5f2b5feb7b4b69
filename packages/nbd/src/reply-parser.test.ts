import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Random, seededRandom } from '@prima/base';
import * as nbd from './protocol.ts';
import { type ExpectedReply, ReplyParser } from './reply-parser.ts';
import { feed } from './wire.ts';

function expectation(type: number, offset: number, length: number): ExpectedReply {
  const into = type === nbd.NBD_CMD_READ ? new Uint8Array(length).fill(0xdb) : undefined;
  return { type, offset, length, doing: 'a test', into, answered: [], answeredBytes: 0 };
}

function parserFor(replies: Map<number, ExpectedReply>, structured = true): [ReplyParser, ExpectedReply[]] {
  const finished: ExpectedReply[] = [];
  const parser = new ReplyParser({
    structured,
    find: (cookie) => replies.get(cookie),
    complete: (cookie, reply) => {
      replies.delete(cookie);
      finished.push(reply);
    },
    released: () => undefined,
  });
  return [parser, finished];
}

function chunk(cookie: number, type: number, body: Uint8Array, flags = 0): Buffer {
  const header = { flags, type, cookie: BigInt(cookie), length: body.length };
  return Buffer.concat([nbd.writeChunkHeader(header), body]);
}

function dataChunk(cookie: number, offset: number, bytes: Uint8Array, flags = 0): Buffer {
  const body = Buffer.alloc(8 + bytes.length);
  body.writeBigUInt64BE(BigInt(offset), 0);
  body.set(bytes, 8);
  return chunk(cookie, nbd.NBD_REPLY_TYPE_OFFSET_DATA, body, flags);
}

function holeChunk(cookie: number, offset: number, length: number, flags = 0): Buffer {
  const body = Buffer.alloc(12);
  body.writeBigUInt64BE(BigInt(offset), 0);
  body.writeUInt32BE(length, 8);
  return chunk(cookie, nbd.NBD_REPLY_TYPE_OFFSET_HOLE, body, flags);
}

function statusChunk(cookie: number, context: number, entries: [number, number][], flags = 1): Buffer {
  const body = Buffer.alloc(4 + 8 * entries.length);
  body.writeUInt32BE(context, 0);
  entries.forEach(([length, state], index) => {
    body.writeUInt32BE(length, 4 + 8 * index);
    body.writeUInt32BE(state, 8 + 8 * index);
  });
  return chunk(cookie, nbd.NBD_REPLY_TYPE_BLOCK_STATUS, body, flags);
}

function errorChunk(cookie: number, number: number, text: string, flags = 1): Buffer {
  const body = Buffer.alloc(6 + text.length);
  body.writeUInt32BE(number, 0);
  body.writeUInt16BE(text.length, 4);
  body.write(text, 6);
  return chunk(cookie, nbd.NBD_REPLY_TYPE_ERROR, body, flags);
}

const done = nbd.NBD_REPLY_FLAG_DONE;

test('a structured read in several chunks, out of order, with a hole', () => {
  const replies = new Map([[5, expectation(nbd.NBD_CMD_READ, 1000, 30_000)]]);
  const [parser, finished] = parserFor(replies);
  feed(
    parser,
    Buffer.concat([
      dataChunk(5, 11_000, new Uint8Array(20_000).fill(2)),
      holeChunk(5, 10_000, 1000),
      dataChunk(5, 1000, new Uint8Array(9000).fill(1), done),
    ]),
  );
  const expected = new Uint8Array(30_000).fill(1, 0, 9000).fill(0, 9000, 10_000).fill(2, 10_000);
  assert.deepEqual(finished[0]?.into, expected);
  assert.equal(finished[0]?.error, undefined);
});

test('simple replies, with and without data', () => {
  const replies = new Map([
    [1, expectation(nbd.NBD_CMD_READ, 0, 512)],
    [2, expectation(nbd.NBD_CMD_FLUSH, 0, 0)],
    [3, expectation(nbd.NBD_CMD_READ, 0, 512)],
  ]);
  const [parser, finished] = parserFor(replies, false);
  feed(
    parser,
    Buffer.concat([
      nbd.writeSimpleReply(1n, 0),
      Buffer.alloc(512, 7),
      nbd.writeSimpleReply(2n, nbd.NBD_ENOSPC),
      nbd.writeSimpleReply(3n, nbd.NBD_EIO),
    ]),
  );
  assert.deepEqual(finished[0]?.into, new Uint8Array(512).fill(7));
  assert.deepEqual(
    finished.map((reply) => reply.error?.code),
    [undefined, 'no-space', 'remote'],
  );
});

test('errors carry the words of the server; block status comes by context', () => {
  const replies = new Map([
    [1, expectation(nbd.NBD_CMD_WRITE, 0, 512)],
    [2, expectation(nbd.NBD_CMD_BLOCK_STATUS, 0, 4096)],
  ]);
  const [parser, finished] = parserFor(replies);
  const entries: [number, number][] = [
    [1024, 3],
    [3072, 0],
  ];
  feed(parser, errorChunk(1, nbd.NBD_EPERM, 'not for you'));
  feed(parser, Buffer.concat([statusChunk(2, 9, entries, 0), statusChunk(2, 4, [[4096, 1]])]));
  assert.equal(finished[0]?.error?.code, 'permission');
  assert.match(finished[0]?.error?.message ?? '', /not for you/);
  assert.deepEqual(finished[1]?.status?.get(9), [
    { length: 1024, flags: 3 },
    { length: 3072, flags: 0 },
  ]);
});

test('large payload is taken in place, whatever the cuts', () => {
  const bytes = seededRandom(1).bytes(new Uint8Array(100_000));
  const wire = dataChunk(1, 4096, bytes, done);
  const reply = expectation(nbd.NBD_CMD_READ, 4096, bytes.length);
  const [parser, finished] = parserFor(new Map([[1, reply]]));
  const random = seededRandom(2);
  for (let at = 0; at < wire.length; ) {
    const window = parser.window();
    if (at > 8192) assert.ok(parser.isFilling(reply) || window.length === 4096);
    const count = Math.min(1 + random.below(9000), window.length, wire.length - at);
    window.set(wire.subarray(at, at + count));
    parser.advance(count);
    at += count;
  }
  assert.deepEqual(finished[0]?.into, bytes);
});

test('an abandoned read is drained without touching anything', () => {
  const reply = expectation(nbd.NBD_CMD_READ, 0, 65_536);
  const memory = reply.into;
  const replies = new Map([
    [1, reply],
    [2, expectation(nbd.NBD_CMD_FLUSH, 0, 0)],
  ]);
  const [parser, finished] = parserFor(replies);
  reply.into = undefined;
  feed(parser, dataChunk(1, 0, new Uint8Array(65_536), done));
  feed(parser, nbd.writeSimpleReply(2n, 0));
  assert.equal(finished.length, 2);
  assert.ok(memory?.every((byte) => byte === 0xdb));
});

test('a lying server is told apart', () => {
  const read = () => new Map([[1, expectation(nbd.NBD_CMD_READ, 1000, 1000)]]);
  const status = () => new Map([[1, expectation(nbd.NBD_CMD_BLOCK_STATUS, 0, 4096)]]);
  const flush = () => new Map([[1, expectation(nbd.NBD_CMD_FLUSH, 0, 0)]]);
  const bytes = (length: number) => new Uint8Array(length);
  const lies: [string, Map<number, ExpectedReply>, Buffer][] = [
    ['magic', read(), Buffer.alloc(16, 1)],
    ['cookie', read(), dataChunk(2, 1000, bytes(1000), done)],
    ['large cookie', read(), nbd.writeSimpleReply(0xffffffffffffffffn, 0)],
    ['simple reply to a structured read', read(), nbd.writeSimpleReply(1n, 0)],
    ['data before the range', read(), dataChunk(1, 999, bytes(1000), done)],
    ['data behind the range', read(), dataChunk(1, 1001, bytes(1000), done)],
    ['offset of 2^63', read(), dataChunk(1, 2 ** 63, bytes(10), done)],
    ['more than asked', read(), dataChunk(1, 1000, bytes(1001), done)],
    ['less than asked', read(), dataChunk(1, 1000, bytes(999), done)],
    [
      'data twice',
      read(),
      Buffer.concat([dataChunk(1, 1000, bytes(500)), dataChunk(1, 1200, bytes(500), 1)]),
    ],
    ['empty data', read(), dataChunk(1, 1000, bytes(0))],
    ['hole behind the range', read(), holeChunk(1, 1500, 501, done)],
    ['empty hole', read(), holeChunk(1, 1500, 0)],
    ['hole of a wrong size', read(), chunk(1, nbd.NBD_REPLY_TYPE_OFFSET_HOLE, bytes(13))],
    ['nothing and not done', read(), chunk(1, nbd.NBD_REPLY_TYPE_NONE, bytes(0))],
    ['status to a read', read(), statusChunk(1, 1, [[4096, 0]])],
    ['data to a flush', flush(), dataChunk(1, 0, bytes(10), done)],
    ['an unknown chunk', flush(), chunk(1, 77, bytes(4), done)],
    ['empty status', status(), statusChunk(1, 1, [])],
    ['extent of 0 bytes', status(), statusChunk(1, 1, [[0, 0]])],
    ['odd status', status(), chunk(1, nbd.NBD_REPLY_TYPE_BLOCK_STATUS, bytes(13))],
    [
      'context twice',
      status(),
      Buffer.concat([statusChunk(1, 1, [[9, 0]], 0), statusChunk(1, 1, [[9, 0]], 0)]),
    ],
    ['an error that is none', flush(), errorChunk(1, 0, 'fine')],
    ['a short error', flush(), chunk(1, nbd.NBD_REPLY_TYPE_ERROR, bytes(5))],
    ['a long error', flush(), chunk(1, nbd.NBD_REPLY_TYPE_ERROR, bytes(5000))],
    [
      'words that end early',
      flush(),
      chunk(1, nbd.NBD_REPLY_TYPE_ERROR, Buffer.from('000000050009x', 'hex')),
    ],
  ];
  for (const [what, replies, wire] of lies) {
    const [parser, finished] = parserFor(replies);
    assert.throws(() => feed(parser, wire), { code: 'protocol' }, what);
    assert.equal(finished.length, 0, what);
  }
});

test('random and damaged replies end in a protocol error or an answer, and write nowhere else', () => {
  const seed = Number(process.env['PRIMA_SEED'] ?? Date.now() % 1_000_000);
  const random = seededRandom(seed);
  const untouched = Buffer.alloc(2 * 8192, 0xdb);
  for (let round = 0; round < 3000; round += 1) {
    const memory = new Uint8Array(3 * 8192).fill(0xdb);
    const read = { ...expectation(nbd.NBD_CMD_READ, 8192, 8192), into: memory.subarray(8192, 16_384) };
    const status = expectation(nbd.NBD_CMD_BLOCK_STATUS, 0, 65_536);
    const flush = expectation(nbd.NBD_CMD_FLUSH, 0, 0);
    const [parser] = parserFor(
      new Map([
        [1, read],
        [2, status],
        [3, flush],
      ]),
      random.below(4) > 0,
    );
    const wire = damagedReplies(random);
    try {
      for (let at = 0; at < wire.length; ) {
        const count = 1 + random.below(6000);
        feed(parser, wire.subarray(at, at + count));
        at += count;
      }
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'protocol', `PRIMA_SEED=${seed}: ${String(error)}`);
    }
    const outside = Buffer.concat([memory.subarray(0, 8192), memory.subarray(16_384)]);
    assert.ok(outside.equals(untouched), `PRIMA_SEED=${seed}`);
  }
});

function damagedReplies(random: Random): Buffer {
  if (random.below(10) === 0) return Buffer.from(random.bytes(new Uint8Array(random.below(9000))));
  const wire = Buffer.concat([
    dataChunk(1, 8192, new Uint8Array(5000)),
    holeChunk(1, 13_192, 1000),
    statusChunk(2, 1, [[65_536, 0]]),
    errorChunk(3, 5, 'words'),
    dataChunk(1, 14_192, new Uint8Array(2192), done),
  ]);
  const heads = [0, 5028, 5060, 5092, 5120];
  for (let changes = random.below(4); changes > 0; changes -= 1) {
    const at = (heads[random.below(heads.length)] ?? 0) + random.below(32);
    if (at < wire.length) wire[at] = random.below(2) === 0 ? random.below(4) : random.below(256);
  }
  return wire;
}
