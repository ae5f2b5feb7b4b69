import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '@prima/base';
import * as options from './options.ts';
import * as nbd from './protocol.ts';

test('fixed messages are read as they were written', () => {
  const request = { flags: 1, type: 6, cookie: 0x0102030405060708n, offset: 1n << 40n, length: 0xffffffff };
  assert.deepEqual(nbd.parseRequest(nbd.writeRequest(request)), request);
  const chunk = { flags: 1, type: 5, cookie: 7n, length: 12 };
  assert.deepEqual(nbd.parseChunkHeader(nbd.writeChunkHeader(chunk)), chunk);
  assert.deepEqual(options.parseOptionHeader(options.writeOption(7, Buffer.from('ab'))), {
    option: 7,
    length: 2,
  });
  const reply = { option: 3, type: nbd.NBD_REP_SERVER, length: 2 };
  assert.deepEqual(
    options.parseOptionReplyHeader(options.writeOptionReply(3, nbd.NBD_REP_SERVER, Buffer.from('ab'))),
    reply,
  );
});

test('option data is read as it was written', () => {
  const info = { name: 'disk ä', requests: [1, 3] };
  assert.deepEqual(options.parseInfoRequest(options.writeInfoRequest(info.name, info.requests)), info);
  const contexts = { name: '', queries: ['base:allocation', 'qemu:dirty-bitmap:b0'] };
  assert.deepEqual(
    options.parseContextRequest(options.writeContextRequest(contexts.name, contexts.queries)),
    contexts,
  );
  assert.deepEqual(options.parseContext(options.writeContext(9, 'base:allocation')), {
    id: 9,
    name: 'base:allocation',
  });
  assert.deepEqual(options.parseServer(options.writeServer('a', 'b c')), { name: 'a', description: 'b c' });
  const found: Partial<options.ExportInfo> = {};
  options.parseInfo(options.writeExportInfo(1 << 30, 5), found);
  options.parseInfo(options.writeTextInfo(nbd.NBD_INFO_DESCRIPTION, 'words'), found);
  options.parseInfo(options.writeBlockSizeInfo({ minimum: 512, preferred: 4096, maximum: 1 << 20 }), found);
  options.parseInfo(options.writeTextInfo(999, 'of the future'), found);
  assert.deepEqual(found, {
    size: 1 << 30,
    flags: 5,
    description: 'words',
    blockSizes: { minimum: 512, preferred: 4096, maximum: 1 << 20 },
  });
});

test('what breaks the limits is refused', () => {
  const protocolError = { code: 'protocol' };
  const badMagic = nbd.writeRequest({ flags: 0, type: 0, cookie: 0n, offset: 0n, length: 0 });
  badMagic[0] = 0;
  assert.throws(() => nbd.parseRequest(badMagic), protocolError);
  const long = options.writeOptionReply(7, 3);
  long.writeUInt32BE(nbd.limits.optionReplyBytes + 1, 16);
  assert.throws(() => options.parseOptionReplyHeader(long), protocolError);
  assert.throws(
    () => options.parseInfoRequest(options.writeInfoRequest('x'.repeat(4097), [])),
    protocolError,
  );
  assert.throws(() => options.parseContext(options.writeContext(1, 'a\0b')), protocolError);
  const huge = options.writeExportInfo(0, 1);
  huge.writeBigUInt64BE(1n << 60n, 2);
  assert.throws(() => options.parseInfo(huge, {}), protocolError);
  for (const sizes of [
    { minimum: 0, preferred: 4096, maximum: 4096 },
    { minimum: 3, preferred: 4096, maximum: 4096 },
    { minimum: 4096, preferred: 512, maximum: 4096 },
    { minimum: 4096, preferred: 4096, maximum: 6000 },
    { minimum: 1 << 20, preferred: 1 << 20, maximum: 1 << 20 },
  ]) {
    assert.throws(() => options.parseInfo(options.writeBlockSizeInfo(sizes), {}), protocolError);
  }
});

test('random option data ends in a value or a protocol error', () => {
  const seed = Number(process.env['PRIMA_SEED'] ?? Date.now() % 1_000_000);
  const random = seededRandom(seed);
  const samples = [
    options.writeInfoRequest('disk', [1, 3]),
    options.writeContextRequest('disk', ['base:allocation']),
    options.writeServer('disk', 'words'),
    options.writeExportInfo(1 << 20, 1),
    options.writeBlockSizeInfo({ minimum: 1, preferred: 4096, maximum: 1 << 25 }),
  ];
  const parsers = [
    options.parseInfoRequest,
    options.parseContextRequest,
    options.parseServer,
    options.parseContext,
    (bytes: Buffer) => options.parseInfo(bytes, {}),
  ];
  for (let round = 0; round < 5000; round += 1) {
    const sample = Buffer.from(samples[random.below(samples.length)] ?? []);
    for (let changes = random.below(4); changes > 0; changes -= 1) {
      sample[random.below(sample.length)] = random.below(256);
    }
    const bytes = sample.subarray(0, random.below(3) === 0 ? random.below(sample.length) : sample.length);
    for (const parse of parsers) {
      try {
        parse(bytes);
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'protocol', `PRIMA_SEED=${seed}: ${String(error)}`);
      }
    }
  }
});
