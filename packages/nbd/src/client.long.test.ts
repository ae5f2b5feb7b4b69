import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { isZero, MiB, PrimaError, seededRandom } from '@prima/base';
import { deviceConformance, filterDevice, memoryDevice, type WritableDevice } from '@prima/block';
import { connectNbd, listNbdExports, type NbdOptions } from './client.ts';
import * as options from './options.ts';
import * as nbd from './protocol.ts';
import { serveNbd } from './server.ts';

async function temporaryFolder(resources: AsyncDisposableStack): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'prima-nbd-'));
  resources.defer(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Our own server with one writable device, and a client of it. */
async function pair(resources: AsyncDisposableStack, device: WritableDevice, clientOptions: NbdOptions = {}) {
  const target = { socketPath: join(await temporaryFolder(resources), 's') };
  const server = await serveNbd({ listen: target, exports: [{ name: 'd', device, writable: true }] });
  resources.defer(() => server.close());
  const client = await connectNbd(target, { exportName: 'd', ...clientOptions, writable: true });
  resources.defer(() => client.close());
  return { server, client };
}

for (const connections of [1, 4]) {
  deviceConformance(`nbd, ${connections} connections`, async () => {
    const resources = new AsyncDisposableStack();
    const { client } = await pair(resources, memoryDevice(3 * MiB), { connections });
    return { device: client, dispose: () => resources.disposeAsync() };
  });
}

deviceConformance('nbd read-only', async () => {
  const resources = new AsyncDisposableStack();
  const device = memoryDevice(1 * MiB);
  const expected = seededRandom(1)
    .bytes(new Uint8Array(1 * MiB))
    .fill(0, 65_536, 300_000);
  await device.write(0, expected.subarray(0, 65_536));
  await device.write(300_000, expected.subarray(300_000));
  const server = await serveNbd({
    listen: { host: '127.0.0.1', port: 0 },
    exports: [{ name: '', device }],
  });
  resources.defer(() => server.close());
  const client = await connectNbd(server.address);
  return { device: client, expected, dispose: () => resources.disposeAsync() };
});

test('exports are listed, flags and names are respected', async () => {
  await using resources = new AsyncDisposableStack();
  const target = { socketPath: join(await temporaryFolder(resources), 's') };
  const server = await serveNbd({
    listen: target,
    exports: [
      { name: 'a', device: memoryDevice(65_536), description: 'the first' },
      { name: 'b', device: memoryDevice(65_536), writable: true },
    ],
  });
  resources.defer(() => server.close());
  assert.deepEqual(await listNbdExports(target), [
    { name: 'a', description: 'the first' },
    { name: 'b', description: '' },
  ]);
  await assert.rejects(connectNbd(target, { exportName: 'c' }), { code: 'not-found' });
  await assert.rejects(connectNbd(target, { exportName: '' }), { code: 'not-found' });
  await assert.rejects(connectNbd(target, { exportName: 'a', writable: true }), { code: 'permission' });
  const device = await connectNbd(target, { exportName: 'b', contexts: ['qemu:dirty-bitmap:x'] });
  resources.defer(() => device.close());
  assert.deepEqual(device.contexts, ['base:allocation']);
  assert.equal(device.connections, 4);
  await assert.rejects(device.dirtyRanges('x'), { code: 'unsupported' });
});

test('errors of a device come through with their code and words', async () => {
  await using resources = new AsyncDisposableStack();
  let code: 'no-space' | 'permission' | 'io' = 'no-space';
  const broken = async () => {
    throw new PrimaError(code, `the disk says ${code}`);
  };
  const inner = memoryDevice(1 * MiB);
  const device = filterDevice(inner, { write: broken, read: broken, flush: broken });
  const { client } = await pair(resources, device);
  const bytes = new Uint8Array(512);
  await assert.rejects(client.write(0, bytes), { code: 'no-space', message: /the disk says no-space/ });
  code = 'permission';
  await assert.rejects(client.flush(), { code: 'permission' });
  code = 'io';
  await assert.rejects(client.read(0, bytes), { code: 'remote', message: /the disk says io/ });
  await client.zero({ offset: 0, length: 512 });
});

test('a lost server fails what is under way, retryable, and what comes later', async () => {
  await using resources = new AsyncDisposableStack();
  const hanging = Promise.withResolvers<void>();
  const device = filterDevice(memoryDevice(1 * MiB), {
    read: async (_offset, _into, signal) => {
      signal?.addEventListener('abort', () => hanging.resolve());
      await hanging.promise;
    },
  });
  const { client, server } = await pair(resources, device);
  const reading = client.read(0, new Uint8Array(512));
  const failed = assert.rejects(reading, { code: 'remote', retryable: true });
  await new Promise(setImmediate);
  await server.close();
  await failed;
  await assert.rejects(client.read(0, new Uint8Array(512)), { code: 'remote', retryable: true });
});

test('no such socket, nobody there', async () => {
  await using resources = new AsyncDisposableStack();
  const folder = await temporaryFolder(resources);
  await assert.rejects(connectNbd({ socketPath: join(folder, 'none') }), { code: 'not-found' });
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  await assert.rejects(connectNbd({ host: '127.0.0.1', port }), { code: 'remote', retryable: true });
  await assert.rejects(connectNbd({ host: '127.0.0.1', port }, { signal: AbortSignal.abort() }), {
    code: 'cancelled',
  });
});

type Script = (socket: Socket, take: (length: number) => Promise<Buffer>) => Promise<void>;

/** A server that does what the script says with every client. */
async function scripted(resources: AsyncDisposableStack, script: Script): Promise<{ socketPath: string }> {
  const socketPath = join(await temporaryFolder(resources), 's');
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    const gone = new Promise<never>((_, reject) => socket.once('close', () => reject(new Error('gone'))));
    const take = async (length: number): Promise<Buffer> => {
      for (;;) {
        const bytes = socket.read(length) as Buffer | null;
        if (bytes) return bytes;
        await Promise.race([once(socket, 'readable'), gone]);
      }
    };
    gone.catch(() => undefined); // not every script waits for it
    script(socket, take).catch(() => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  resources.defer(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return { socketPath };
}

function greeting(flags = 3): Buffer {
  const bytes = Buffer.alloc(18);
  bytes.writeBigUInt64BE(nbd.NBDMAGIC, 0);
  bytes.writeBigUInt64BE(nbd.IHAVEOPT, 8);
  bytes.writeUInt16BE(flags, 16);
  return bytes;
}

/** Shakes hands like a server without structured replies, then runs `then` in transmission. */
function afterHandshake(then: Script): Script {
  return async (socket, take) => {
    socket.write(greeting());
    await take(4);
    for (;;) {
      const { option, length } = options.parseOptionHeader(await take(16));
      if (length > 0) await take(length);
      if (option !== nbd.NBD_OPT_GO) {
        socket.write(options.writeOptionReply(option, nbd.NBD_REP_ERR_UNSUP));
        continue;
      }
      const info = options.writeExportInfo(1 * MiB, nbd.NBD_FLAG_HAS_FLAGS);
      socket.write(options.writeOptionReply(option, nbd.NBD_REP_INFO, info));
      socket.write(options.writeOptionReply(option, nbd.NBD_REP_ACK));
      await then(socket, take);
    }
  };
}

const greedy: Script = afterHandshake(async (socket, take) => {
  for (;;) {
    const { cookie } = nbd.parseRequest(await take(28));
    socket.write(Buffer.concat([nbd.writeSimpleReply(cookie, 0), Buffer.alloc(100_000, 7)]));
  }
});

test('servers that misbehave in the handshake', async () => {
  const scripts: [string, Script, { code: string }][] = [
    [
      'no NBD server',
      async (socket) => void socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'),
      { code: 'protocol' },
    ],
    ['ends at once', async (socket) => void socket.end(), { code: 'remote' }],
    ['says nothing', async () => undefined, { code: 'timeout' }],
    [
      'oldstyle',
      async (socket) => {
        const bytes = greeting();
        bytes.writeBigUInt64BE(nbd.NBD_CLISERV_MAGIC, 8);
        socket.write(bytes);
      },
      { code: 'unsupported' },
    ],
    [
      'answers another option',
      async (socket, take) => {
        socket.write(greeting());
        await take(4 + 16);
        socket.write(options.writeOptionReply(99, nbd.NBD_REP_ACK));
      },
      { code: 'protocol' },
    ],
    [
      'answers without end',
      async (socket, take) => {
        socket.write(greeting());
        await take(4 + 16);
        socket.write(Buffer.concat(Array.from({ length: 20_000 }, () => options.writeOptionReply(8, 2))));
      },
      { code: 'protocol' },
    ],
    [
      'an enormous reply',
      async (socket, take) => {
        socket.write(greeting());
        await take(4 + 16);
        const bytes = options.writeOptionReply(8, 2);
        bytes.writeUInt32BE(0x7fffffff, 16);
        socket.write(bytes);
      },
      { code: 'protocol' },
    ],
  ];
  for (const [what, script, expected] of scripts) {
    await using resources = new AsyncDisposableStack();
    const target = await scripted(resources, script);
    await assert.rejects(connectNbd(target, { connectTimeoutMs: 300 }), expected, what);
    const tls = {};
    await assert.rejects(connectNbd(target, { connectTimeoutMs: 300, tls }), PrimaError, what);
  }
});

test('an old server without NBD_OPT_GO, or without fixed newstyle', async () => {
  for (const flags of [0, 3]) {
    await using resources = new AsyncDisposableStack();
    const target = await scripted(resources, async (socket, take) => {
      socket.write(greeting(flags));
      await take(4);
      for (;;) {
        const { option, length } = options.parseOptionHeader(await take(16));
        if (length > 0) await take(length);
        if (option === nbd.NBD_OPT_EXPORT_NAME) break;
        socket.write(options.writeOptionReply(option, nbd.NBD_REP_ERR_UNSUP));
      }
      const answer = Buffer.alloc(flags === 0 ? 134 : 10);
      answer.writeBigUInt64BE(65_536n, 0);
      answer.writeUInt16BE(nbd.NBD_FLAG_HAS_FLAGS, 8);
      socket.write(answer);
      const { cookie, length } = nbd.parseRequest(await take(28));
      socket.write(Buffer.concat([nbd.writeSimpleReply(cookie, 0), Buffer.alloc(length, 5)]));
    });
    const device = await connectNbd(target, { exportName: 'old' });
    resources.defer(() => device.close());
    const bytes = new Uint8Array(1000);
    await device.read(3, bytes);
    assert.ok(bytes.every((byte) => byte === 5));
    assert.equal(device.size, 65_536);
  }
});

test('servers that misbehave in transmission', async () => {
  const scripts: [string, Script, { code: string }][] = [
    [
      'wrong magic',
      async (socket, take) => {
        await take(28);
        socket.write(Buffer.alloc(16, 1));
      },
      { code: 'protocol' },
    ],
    [
      'wrong cookie',
      async (socket, take) => {
        await take(28);
        socket.write(nbd.writeSimpleReply(0xfffffn, 0));
      },
      { code: 'protocol' },
    ],
    [
      'ends in the middle of a reply',
      async (socket, take) => {
        const { cookie } = nbd.parseRequest(await take(28));
        socket.end(Buffer.concat([nbd.writeSimpleReply(cookie, 0), Buffer.alloc(10_000)]));
      },
      { code: 'remote' },
    ],
    ['never answers', async () => await new Promise<never>(() => undefined), { code: 'timeout' }],
  ];
  for (const [what, script, expected] of scripts) {
    await using resources = new AsyncDisposableStack();
    const target = await scripted(resources, afterHandshake(script));
    const device = await connectNbd(target, { requestTimeoutMs: 200 });
    resources.defer(() => device.close());
    const reads = Array.from({ length: 40 }, () => device.read(0, new Uint8Array(60_000)));
    const results = await Promise.allSettled(reads);
    for (const result of results) {
      assert.equal(result.status === 'rejected' && (result.reason as PrimaError).code, expected.code, what);
    }
    await assert.rejects(device.read(0, new Uint8Array(10)), PrimaError, what);
  }
});

test('more data than was asked for is caught', async () => {
  await using resources = new AsyncDisposableStack();
  const device = await connectNbd(await scripted(resources, greedy));
  resources.defer(() => device.close());
  const memory = new Uint8Array(40_000);
  await device.read(0, memory.subarray(10_000, 30_000));
  await assert.rejects(device.read(0, new Uint8Array(10)), { code: 'protocol' });
  assert.ok(memory.subarray(30_000).every((byte) => byte === 0));
});

test('a cancelled read lets go of its memory before it says so', async () => {
  await using resources = new AsyncDisposableStack();
  const half = Promise.withResolvers<void>();
  const rest = Promise.withResolvers<void>();
  const target = await scripted(
    resources,
    afterHandshake(async (socket, take) => {
      const { cookie } = nbd.parseRequest(await take(28));
      socket.write(Buffer.concat([nbd.writeSimpleReply(cookie, 0), Buffer.alloc(250_000, 7)]));
      half.resolve();
      await rest.promise;
      socket.write(Buffer.alloc(250_000, 7));
      const next = nbd.parseRequest(await take(28));
      socket.write(Buffer.concat([nbd.writeSimpleReply(next.cookie, 0), Buffer.alloc(next.length, 9)]));
    }),
  );
  const device = await connectNbd(target);
  resources.defer(() => device.close());
  const controller = new AbortController();
  const memory = new Uint8Array(500_000);
  const reading = device.read(0, memory, controller.signal);
  const cancelled = assert.rejects(reading, { code: 'cancelled' });
  await half.promise;
  while (memory[200_000] !== 7) await new Promise(setImmediate);
  controller.abort();
  setTimeout(() => rest.resolve(), 20);
  await cancelled;
  memory.fill(1);
  const other = new Uint8Array(1000);
  await device.read(0, other);
  assert.ok(other.every((byte) => byte === 9));
  assert.ok(memory.every((byte) => byte === 1));
});

test('cancelling at random moments never touches memory afterwards, and the device stays usable', async () => {
  const seed = Number(process.env['PRIMA_SEED'] ?? Date.now() % 1_000_000);
  const random = seededRandom(seed);
  await using resources = new AsyncDisposableStack();
  const inner = memoryDevice(4 * MiB);
  const content = random.bytes(new Uint8Array(4 * MiB));
  await inner.write(0, content);
  const { client } = await pair(resources, inner, { connections: 2 });
  const given: Uint8Array[] = [];
  for (let round = 0; round < 20; round += 1) {
    const controller = new AbortController();
    const calls = Array.from({ length: 6 }, async () => {
      const offset = random.below(3 * MiB);
      const memory = new Uint8Array(random.below(700_000));
      try {
        await client.read(offset, memory, controller.signal);
        assert.equal(Buffer.compare(memory, content.subarray(offset, offset + memory.length)), 0);
      } catch (error) {
        assert.equal((error as PrimaError).code, 'cancelled', `PRIMA_SEED=${seed}: ${String(error)}`);
        given.push(memory.fill(0));
      }
    });
    for (let turns = random.below(12); turns > 0; turns -= 1) await new Promise(setImmediate);
    controller.abort();
    await Promise.all(calls);
  }
  const whole = new Uint8Array(client.size);
  await client.read(0, whole);
  assert.equal(Buffer.compare(whole, content), 0);
  const untouched = given.every((memory) => isZero(memory));
  assert.ok(untouched && given.length > 0, `PRIMA_SEED=${seed}`);
});
