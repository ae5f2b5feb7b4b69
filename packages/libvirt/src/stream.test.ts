import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { type TestContext, test } from 'node:test';
import { calls } from './calls/table.ts';
import { errorMessage, LibvirtError } from './errors.ts';
import { type Message, MessageStatus, MessageType, streamPayloadBytes } from './message.ts';
import type { RpcStream } from './stream.ts';
import { type FakeDaemon, fakeDaemon } from './testing.ts';
import { encode, safeInt64, struct, uint32 } from './xdr.ts';

const vol = { pool: 'p', name: 'v', key: '/v' };
const failure = { code: 38, domain: 38, message: 'disk full', level: 2, int1: 0, int2: 0 };

interface Opened {
  daemon: FakeDaemon;
  stream: RpcStream<unknown>;
  /** A message of the stream, from the daemon. */
  send: (message: Partial<Message>) => void;
}

async function opened(test: TestContext, name: 'storageVolDownload' | 'storageVolUpload'): Promise<Opened> {
  const daemon = fakeDaemon();
  test.after(() => daemon.rpc.close());
  const opening = daemon.rpc.openStream({ name, procedure: calls[name], args: { vol } });
  const call = await daemon.next();
  daemon.answer(call, Buffer.alloc(0));
  const { program, procedure, serial } = call;
  const send = (message: Partial<Message>) =>
    daemon.send({ program, procedure, serial, type: MessageType.STREAM, ...message });
  return { daemon, stream: await opening, send };
}

const data = (bytes: Uint8Array) => ({ status: MessageStatus.CONTINUE, payload: Buffer.from(bytes) });
const end = { status: MessageStatus.CONTINUE };
const holeOf = (length: number) => ({
  type: MessageType.STREAM_HOLE,
  status: MessageStatus.CONTINUE,
  payload: encode(struct({ length: safeInt64, flags: uint32 }), { length, flags: 0 }),
});

test('data and holes are read in order, and the end is confirmed', async (test) => {
  const { daemon, stream, send } = await opened(test, 'storageVolDownload');
  send(data(Buffer.from('ab')));
  send(holeOf(2 ** 40));
  send(data(Buffer.from('c')));
  send(end);
  void daemon.next().then(({ status, type }) => {
    assert.deepEqual([type, status], [MessageType.STREAM, MessageStatus.OK]);
    send({});
  });
  const pieces: unknown[] = [];
  for await (const piece of stream.pieces()) {
    pieces.push('data' in piece ? Buffer.from(piece.data).toString() : piece.holeBytes);
  }
  assert.deepEqual(pieces, ['ab', 2 ** 40, 'c']);
});

test('a daemon may begin to send before it answers the call', async (test) => {
  const daemon = fakeDaemon();
  test.after(() => daemon.rpc.close());
  const name = 'storageVolDownload';
  const opening = daemon.rpc.openStream({ name, procedure: calls[name], args: { vol } });
  const call = await daemon.next();
  const { program, procedure, serial } = call;
  const of = { program, procedure, serial, type: MessageType.STREAM };
  daemon.send({ ...of, ...data(Buffer.from('ab')) }, { ...of, ...end });
  daemon.answer(call, Buffer.alloc(0));
  const stream = await opening;
  assert.deepEqual(await stream.read(), { data: Buffer.from('ab') });
  assert.equal(await stream.read(), undefined);
});

test('however much comes before the answer, the answer is read', async (test) => {
  const daemon = fakeDaemon();
  test.after(() => daemon.rpc.close());
  const name = 'storageVolDownload';
  const opening = daemon.rpc.openStream({ name, procedure: calls[name], args: { vol } }, { timeoutMs: 5000 });
  const call = await daemon.next();
  const of = {
    program: call.program,
    procedure: call.procedure,
    serial: call.serial,
    type: MessageType.STREAM,
  };
  const count = 40; // 10 MiB
  for (let i = 0; i < count; i += 1) daemon.send({ ...of, ...data(Buffer.alloc(streamPayloadBytes, i)) });
  daemon.answer(call, Buffer.alloc(0));
  daemon.send({ ...of, ...end });
  const stream = await opening;
  void daemon.next().then(() => daemon.send(of));
  let length = 0;
  for await (const bytes of stream) length += bytes.length;
  assert.equal(length, count * streamPayloadBytes);
});

test('a stream whose opening was given up is aborted as soon as it is open', async (test) => {
  const daemon = fakeDaemon();
  test.after(() => daemon.rpc.close());
  const name = 'storageVolDownload';
  const opening = daemon.rpc.openStream({ name, procedure: calls[name], args: { vol } }, { timeoutMs: 5 });
  const call = await daemon.next();
  await assert.rejects(opening, { code: 'timeout' });
  const of = {
    program: call.program,
    procedure: call.procedure,
    serial: call.serial,
    type: MessageType.STREAM,
  };
  for (let i = 0; i < 40; i += 1) daemon.send({ ...of, ...data(Buffer.alloc(streamPayloadBytes, i)) });
  daemon.answer(call, Buffer.alloc(0));
  const abort = await daemon.next();
  assert.deepEqual(
    [abort.type, abort.status, abort.serial],
    [MessageType.STREAM, MessageStatus.ERROR, call.serial],
  );
  daemon.send(of);
});

test('who stops early aborts, and what still comes is dropped', async (test) => {
  const { daemon, stream, send } = await opened(test, 'storageVolDownload');
  send(data(Buffer.from('ab')));
  const aborted = daemon.next().then((message) => {
    send(data(Buffer.from('cd')));
    send({});
    return message;
  });
  for await (const bytes of stream) {
    assert.equal(bytes.length, 2);
    break;
  }
  assert.equal((await aborted).status, MessageStatus.ERROR);
});

test("the daemon's error comes after the data before it", async (test) => {
  const { stream, send } = await opened(test, 'storageVolDownload');
  send(data(Buffer.from('ab')));
  send({ status: MessageStatus.ERROR, payload: encode(errorMessage, failure) });
  const read: number[] = [];
  await assert.rejects(
    async () => {
      for await (const bytes of stream) read.push(bytes.length);
    },
    (error) => error instanceof LibvirtError && error.text === 'disk full',
  );
  assert.deepEqual(read, [2]);
});

test('a read that was given up loses nothing', async (test) => {
  const { stream, send } = await opened(test, 'storageVolDownload');
  await assert.rejects(stream.read({ timeoutMs: 5 }), { code: 'timeout' });
  send(data(Buffer.from('ab')));
  await setImmediate();
  const piece = await stream.read();
  assert.ok(piece && 'data' in piece && piece.data.length === 2);
});

test('a stream that nobody reads holds a bounded number of bytes, and goes on when it is read', async (test) => {
  const { daemon, stream, send } = await opened(test, 'storageVolDownload');
  const count = 100;
  for (let i = 0; i < count; i += 1) send(data(Buffer.alloc(streamPayloadBytes, i)));
  send(end);
  while (daemon.end.writableLength > 0) {
    const before = daemon.end.writableLength;
    await setImmediate();
    await setImmediate();
    if (daemon.end.writableLength === before) break;
  }
  assert.ok(daemon.end.writableLength > 10 * streamPayloadBytes, 'the connection is not read any more');
  void daemon.next().then(() => send({}));
  let total = 0;
  for await (const bytes of stream) total += bytes.length;
  assert.equal(total, count * streamPayloadBytes);
});

test('bytes are sent in pieces that every daemon takes, holes as holes', async (test) => {
  const { daemon, stream, send } = await opened(test, 'storageVolUpload');
  const sending = (async () => {
    await stream.write(Buffer.alloc(streamPayloadBytes + 1));
    await stream.writeHole(4096);
    await stream.finish();
  })();
  const sent = [await daemon.next(), await daemon.next(), await daemon.next(), await daemon.next()];
  assert.deepEqual(
    sent.map(({ type, status, payload }) => [type, status, payload.length]),
    [
      [MessageType.STREAM, MessageStatus.CONTINUE, streamPayloadBytes],
      [MessageType.STREAM, MessageStatus.CONTINUE, 1],
      [MessageType.STREAM_HOLE, MessageStatus.CONTINUE, 12],
      [MessageType.STREAM, MessageStatus.OK, 0],
    ],
  );
  send({});
  await sending;
  await assert.rejects(stream.write(Buffer.alloc(1)), /has been ended already/);
});

test("the daemon's error while we write is raised by the next write and by the finish", async (test) => {
  const { stream, send } = await opened(test, 'storageVolUpload');
  send({ status: MessageStatus.ERROR, payload: encode(errorMessage, failure) });
  await setImmediate();
  await setImmediate();
  await assert.rejects(stream.write(Buffer.alloc(1)), /disk full/);
  await assert.rejects(stream.finish(), /disk full/);
  await stream.abort();
});

test('a lost connection ends streams', async (test) => {
  const { daemon, stream } = await opened(test, 'storageVolDownload');
  const reading = stream.read();
  daemon.end.destroy();
  await assert.rejects(reading, { code: 'remote', retryable: true });
});
