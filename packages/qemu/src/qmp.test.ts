import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { connectUnix, PrimaError, RemoteError, withShortSocketPath } from '@prima/base';
import { connectQmp } from './qmp.ts';
import { type FakePart, fakePeer, say } from './testing.ts';

const greeting = `${JSON.stringify({
  QMP: { version: { qemu: { major: 7, minor: 2, micro: 1 }, package: 'x' }, capabilities: [] },
})}\n`;

/** Answers capabilities, and the rest as told. */
function monitor(answer: NonNullable<FakePart['onMessage']>): FakePart {
  return {
    greeting,
    onMessage: (message, socket) => {
      if (message.execute === 'qmp_capabilities') say(socket, { return: {}, id: message.id });
      else answer(message, socket);
    },
  };
}

async function failureOf(promise: Promise<unknown>): Promise<PrimaError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof PrimaError, `a PrimaError was wanted: ${String(error)}`);
  return error;
}

test('commands get their own answers, whatever the order', async () => {
  const held: (() => void)[] = [];
  await using peer = await fakePeer(
    monitor((message, socket) => {
      held.push(() => say(socket, { return: message.arguments, id: message.id }));
      if (held.length === 3) for (const reply of held.reverse()) reply();
    }),
  );
  const qmp = await connectQmp(peer.path);
  assert.deepEqual(qmp.version, { major: 7, minor: 2, micro: 1, package: 'x' });
  const answers = await Promise.all([1, 2, 3].map((n) => qmp.execute('echo', { n })));
  assert.deepEqual(answers, [{ n: 1 }, { n: 2 }, { n: 3 }]);
  await qmp.close();
  await qmp.close();
  await qmp.closed;
  assert.equal((await failureOf(qmp.execute('echo'))).code, 'remote');
});

test('an error carries class and desc', async () => {
  await using peer = await fakePeer(
    monitor((message, socket) => {
      say(socket, { error: { class: 'DeviceNotFound', desc: 'no disk7' }, id: message.id });
    }),
  );
  const qmp = await connectQmp(peer.path);
  const error = await failureOf(qmp.execute('x'));
  assert.ok(error instanceof RemoteError);
  assert.match(error.message, /x: no disk7 \(DeviceNotFound\)/);
  assert.deepEqual(error.details, { class: 'DeviceNotFound', desc: 'no disk7', command: 'x' });
  await qmp.close();
});

test('events reach those who listen, split as they may come', async () => {
  await using peer = await fakePeer(
    monitor((message, socket) => {
      const event = { event: 'JOB', data: { id: 'b' }, timestamp: { seconds: 5, microseconds: 7000 } };
      const text = `${JSON.stringify({ event: 'JOB', data: { id: 'a' } })}\n${JSON.stringify(event)}\n`;
      socket.write(text.slice(0, 11));
      setImmediate(() => {
        socket.write(text.slice(11));
        say(socket, { return: {}, id: message.id });
      });
    }),
  );
  const qmp = await connectQmp(peer.path);
  const seen: unknown[] = [];
  const stop = qmp.on('JOB', (data, timestampMs) => seen.push([data.id, timestampMs]));
  const wanted = qmp.waitFor('JOB', (data) => data.id === 'b');
  await qmp.execute('go');
  assert.deepEqual(await wanted, { id: 'b' });
  assert.deepEqual(seen, [
    ['a', 0],
    ['b', 5007],
  ]);
  stop();
  await qmp.execute('go');
  assert.equal(seen.length, 2);
  assert.equal((await failureOf(qmp.waitFor('NEVER', undefined, { timeoutMs: 10 }))).code, 'timeout');
  const lost = qmp.waitFor('NEVER');
  await qmp.close();
  assert.equal((await failureOf(lost)).code, 'remote');
  assert.equal((await failureOf(qmp.waitFor('NEVER'))).code, 'remote');
});

test('no greeting: the message says that another client may be connected', async () => {
  await using peer = await fakePeer({});
  const error = await failureOf(connectQmp(peer.path, { timeoutMs: 50 }));
  assert.equal(error.code, 'timeout');
  assert.match(error.message, /one at a time/);
});

test('nonsense is a protocol error', async () => {
  for (const text of ['SSH-2.0-OpenSSH\r\n', '{"QMP": 7}\n', '[]\n', '{"return": {}}\n']) {
    await using peer = await fakePeer({ greeting: text });
    const error = await failureOf(connectQmp(peer.path, { timeoutMs: 5000 }));
    assert.equal(error.code, 'protocol', text);
  }
  for (const answer of ['{"return": {}}\n', '{"return": {}, "id": 99}\n', '{"hello": 1}\n', 'x\n']) {
    await using peer = await fakePeer(monitor((_, socket) => socket.write(answer)));
    const qmp = await connectQmp(peer.path);
    assert.equal((await failureOf(qmp.execute('x'))).code, 'protocol', answer);
    await qmp.closed;
  }
});

test('silence is a timeout; the late answer harms nothing', async () => {
  let late: (() => void) | undefined;
  await using peer = await fakePeer(
    monitor((message, socket) => {
      const reply = () => say(socket, { return: message.execute, id: message.id });
      if (message.execute === 'slow') late = reply;
      else {
        late?.();
        reply();
      }
    }),
  );
  const qmp = await connectQmp(peer.path);
  assert.equal((await failureOf(qmp.execute('slow', {}, { timeoutMs: 20 }))).code, 'timeout');
  assert.equal(await qmp.execute('quick'), 'quick');
  const cancel = new AbortController();
  const cancelled = qmp.execute('slow', {}, { signal: cancel.signal });
  cancel.abort();
  assert.equal((await failureOf(cancelled)).code, 'cancelled');
  await qmp.close();
});

test('a lost connection ends what waits, and is told', async () => {
  await using peer = await fakePeer(monitor((_, socket) => socket.destroy()));
  const qmp = await connectQmp(peer.path);
  const [first, second] = await Promise.all([failureOf(qmp.execute('x')), failureOf(qmp.execute('y'))]);
  assert.equal(first.code, 'remote');
  assert.equal(second.code, 'remote');
  await qmp.closed;
});

test('nobody listens', async () => {
  const error = await failureOf(connectQmp('/nonexistent/a.qmp'));
  assert.equal(error.code, 'remote');
  assert.equal(error.details.system, 'ENOENT');
});

test('a path of any length', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'prima-long-'));
  const long = join(folder, 'd'.repeat(150));
  await mkdir(long);
  const path = join(long, 'a.sock');
  const server = createServer((socket) => socket.end('hello'));
  try {
    await withShortSocketPath(path, (short) => new Promise<void>((resolve) => server.listen(short, resolve)));
    const socket = await connectUnix(path);
    const [text] = await socket.setEncoding('utf8').toArray();
    assert.equal(text, 'hello');
  } finally {
    await new Promise((resolve) => server.close(resolve));
    await rm(folder, { recursive: true });
  }
});
