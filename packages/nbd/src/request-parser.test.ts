import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '@prima/base';
import * as nbd from './protocol.ts';
import { RequestParser } from './request-parser.ts';
import { feed } from './wire.ts';

interface Seen {
  type: number;
  payload: Buffer | undefined;
}

function parserFor(seen: Seen[], refuse = false): RequestParser {
  return new RequestParser({
    allocate: (request) => (refuse ? undefined : Buffer.alloc(request.length)),
    request: ({ type }, payload) => seen.push({ type, payload }),
  });
}

function request(type: number, length: number): Buffer {
  return nbd.writeRequest({ flags: 0, type, cookie: 1n, offset: 0n, length });
}

test('requests and payload, whatever the cuts', () => {
  const payload = Buffer.from(seededRandom(1).bytes(new Uint8Array(70_000)));
  const wire = Buffer.concat([
    request(nbd.NBD_CMD_READ, 512),
    request(nbd.NBD_CMD_WRITE, payload.length),
    payload,
    request(nbd.NBD_CMD_WRITE, 0),
    request(nbd.NBD_CMD_DISC, 0),
    Buffer.alloc(1000, 0xff),
  ]);
  for (const cut of [1, 7, 28, 4096, wire.length]) {
    const seen: Seen[] = [];
    const parser = parserFor(seen);
    for (let at = 0; at < wire.length; at += cut) feed(parser, wire.subarray(at, at + cut));
    const types = [nbd.NBD_CMD_READ, nbd.NBD_CMD_WRITE, nbd.NBD_CMD_WRITE, nbd.NBD_CMD_DISC];
    assert.deepEqual(
      seen.map((entry) => entry.type),
      types,
    );
    assert.ok(seen[1]?.payload?.equals(payload));
    assert.equal(seen[2]?.payload?.length, 0);
  }
});

test('payload of a refused write is passed over', () => {
  const seen: Seen[] = [];
  const write = Buffer.concat([request(nbd.NBD_CMD_WRITE, 100_000), Buffer.alloc(100_000, 0x25)]);
  feed(parserFor(seen, true), Buffer.concat([write, request(nbd.NBD_CMD_FLUSH, 0)]));
  assert.deepEqual(seen, [
    { type: nbd.NBD_CMD_WRITE, payload: undefined },
    { type: nbd.NBD_CMD_FLUSH, payload: undefined },
  ]);
});

test('a write that is too long and a wrong magic are protocol errors', () => {
  const long = request(nbd.NBD_CMD_WRITE, nbd.limits.payloadBytes + 1);
  assert.throws(() => feed(parserFor([]), long), { code: 'protocol' });
  assert.throws(() => feed(parserFor([]), Buffer.alloc(28, 1)), { code: 'protocol' });
});

test('random and damaged requests end in a protocol error or a request', () => {
  const seed = Number(process.env['PRIMA_SEED'] ?? Date.now() % 1_000_000);
  const random = seededRandom(seed);
  for (let round = 0; round < 3000; round += 1) {
    const wire = Buffer.concat([
      request(random.below(10), random.below(600)),
      random.bytes(new Uint8Array(random.below(600))),
      request(nbd.NBD_CMD_WRITE, 16),
      Buffer.alloc(16),
    ]);
    for (let changes = random.below(3); changes > 0; changes -= 1) {
      wire[random.below(wire.length)] = random.below(256);
    }
    try {
      feed(parserFor([], random.below(2) === 0), wire);
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'protocol', `PRIMA_SEED=${seed}: ${String(error)}`);
    }
  }
});
