import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { MiB, seededRandom } from '@prima/base';
import { filterDevice, memoryDevice } from '@prima/block';
import { connectNbd } from './client.ts';
import * as options from './options.ts';
import * as nbd from './protocol.ts';
import { type NbdServerOptions, serveNbd } from './server.ts';

async function temporaryFolder(resources: AsyncDisposableStack): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'prima-nbd-'));
  resources.defer(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

async function serve(resources: AsyncDisposableStack, changes: Partial<NbdServerOptions> = {}) {
  const listen = { socketPath: join(await temporaryFolder(resources), 's') };
  const exports = [{ name: 'd', device: memoryDevice(4 * MiB), writable: true }];
  const server = await serveNbd({ listen, exports, ...changes });
  resources.defer(() => server.close());
  return { server, listen };
}

async function rawClient(resources: AsyncDisposableStack, socketPath: string): Promise<Socket> {
  const socket = connect(socketPath);
  socket.on('error', () => undefined);
  resources.defer(() => void socket.destroy());
  await once(socket, 'connect');
  return socket;
}

const hello = Buffer.from([0, 0, 0, 3]);
const go = options.writeOption(nbd.NBD_OPT_GO, options.writeInfoRequest('d', []));
const structured = options.writeOption(nbd.NBD_OPT_STRUCTURED_REPLY);

test('the socket is private, removed at the end, and never steals a place', async () => {
  await using resources = new AsyncDisposableStack();
  const { server, listen } = await serve(resources);
  assert.equal((await stat(listen.socketPath)).mode & 0o777, 0o600);
  const exports = [{ name: '', device: memoryDevice(65_536) }];
  await assert.rejects(serveNbd({ listen, exports }), { code: 'busy' });
  await server.close();
  await server.close();
  await assert.rejects(stat(listen.socketPath), { code: 'ENOENT' });

  await writeFile(listen.socketPath, 'a file');
  await assert.rejects(serveNbd({ listen, exports }), { code: 'exists' });
  await assert.rejects(serveNbd({ listen: { socketPath: '/nonexistent/x/s' }, exports }), {
    code: 'not-found',
  });
  await assert.rejects(serveNbd({ listen: { socketPath: `/tmp/${'x'.repeat(110)}` }, exports }), {
    code: 'usage',
  });
});

test('a stale socket is replaced', async () => {
  await using resources = new AsyncDisposableStack();
  const folder = await temporaryFolder(resources);
  const socketPath = join(folder, 's');
  // a socket that outlives its listener: bound in a process that was killed
  const script = `require('node:net').createServer().listen(${JSON.stringify(socketPath)}, () => process.kill(process.pid, 'SIGKILL'))`;
  const { spawn } = await import('node:child_process');
  await once(spawn(process.execPath, ['-e', script]), 'exit');
  assert.ok((await stat(socketPath)).isSocket());
  const server = await serveNbd({
    listen: { socketPath },
    exports: [{ name: '', device: memoryDevice(65_536) }],
  });
  await server.close();
});

test('a busy port and a double name are refused', async () => {
  await using resources = new AsyncDisposableStack();
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  resources.defer(() => void other.close());
  const { port } = other.address() as { port: number };
  const device = memoryDevice(65_536);
  const listen = { host: '127.0.0.1', port };
  await assert.rejects(serveNbd({ listen, exports: [{ name: '', device }] }), { code: 'busy' });
  const twice = [
    { name: 'a', device },
    { name: 'a', device },
  ];
  await assert.rejects(serveNbd({ listen, exports: twice }), { code: 'usage' });
});

test('too many clients are turned away; a signal closes the server', async () => {
  await using resources = new AsyncDisposableStack();
  const stop = new AbortController();
  const { listen } = await serve(resources, { maxClients: 2, signal: stop.signal });
  const device = await connectNbd(listen, { connections: 2 });
  resources.defer(() => device.close());
  await assert.rejects(connectNbd(listen), { code: 'remote' });
  const lost = assert.rejects(
    (async () => {
      for (;;) await device.read(0, new Uint8Array(512));
    })(),
    { code: 'remote', retryable: true },
  );
  stop.abort();
  await lost;
});

test('a client that says nothing is dropped', async () => {
  await using resources = new AsyncDisposableStack();
  const { listen } = await serve(resources, { handshakeTimeoutMs: 50 });
  const socket = await rawClient(resources, listen.socketPath);
  socket.resume();
  await once(socket, 'close');
});

test('a client that does not take its answers does not fill the memory', async () => {
  await using resources = new AsyncDisposableStack();
  let reading = 0;
  let most = 0;
  const inner = memoryDevice(64 * MiB);
  const device = filterDevice(inner, {
    read: async (offset, into, signal) => {
      reading += into.length;
      most = Math.max(most, reading);
      await inner.read(offset, into, signal);
      into[0] = 1; // zeros are not sent
    },
  });
  const { listen } = await serve(resources, { exports: [{ name: 'd', device }] });
  const socket = await rawClient(resources, listen.socketPath);
  socket.pause();
  const request = { flags: 0, type: nbd.NBD_CMD_READ, cookie: 1n, offset: 0n, length: 32 * MiB };
  socket.write(Buffer.concat([hello, structured, go]));
  const requests = Buffer.concat(Array.from({ length: 5000 }, () => nbd.writeRequest(request)));
  socket.write(requests);
  const pause = async () => await new Promise((resolve) => setTimeout(resolve, 20));
  const begun = () => most > 0;
  while (!begun()) await pause();
  for (let still = 0, before = reading; still < 5; still = reading === before ? still + 1 : 0) {
    before = reading;
    await pause();
  }
  assert.ok(most > 0 && most <= 64 * MiB, `${most} bytes were read for a client that takes none`);
  const other = await connectNbd(listen);
  await other.read(0, new Uint8Array(4096));
  await other.close();
});

test('random and damaged clients do not hurt the others', async () => {
  const seed = Number(process.env['PRIMA_SEED'] ?? Date.now() % 1_000_000);
  const random = seededRandom(seed);
  await using resources = new AsyncDisposableStack();
  const { listen } = await serve(resources);
  const device = await connectNbd(listen, { writable: true });
  resources.defer(() => device.close());
  const contexts = options.writeOption(
    nbd.NBD_OPT_SET_META_CONTEXT,
    options.writeContextRequest('d', [nbd.baseAllocation]),
  );
  for (let round = 0; round < 300; round += 1) {
    const request = (): Buffer =>
      nbd.writeRequest({
        flags: random.below(32),
        type: random.below(9),
        cookie: BigInt(random.uint32()),
        offset: BigInt(random.below(5 * MiB)),
        length: random.below(100_000),
      });
    const wire = Buffer.concat([hello, structured, contexts, go, request(), request(), request()]);
    for (let changes = random.below(4); changes > 0; changes -= 1) {
      wire[random.below(wire.length)] = random.below(256);
    }
    const socket = connect(listen.socketPath);
    socket.on('error', () => undefined);
    socket.resume();
    const closed = once(socket, 'close').catch(() => undefined);
    const hasty = random.below(2) === 0;
    socket.write(wire, () => (hasty ? socket.destroy() : socket.end()));
    await closed;
  }
  const bytes = random.bytes(new Uint8Array(9000));
  await device.write(77, bytes);
  const back = new Uint8Array(9000);
  await device.read(77, back);
  assert.deepEqual(back, bytes, `PRIMA_SEED=${seed}`);
});

test('zeros are told and not sent, where the client knows holes', async () => {
  await using resources = new AsyncDisposableStack();
  const device = memoryDevice(4 * MiB);
  await device.write(2 * MiB + 5, Buffer.from('data'));
  const { listen } = await serve(resources, { exports: [{ name: 'd', device }] });
  const socket = await rawClient(resources, listen.socketPath);
  let received = Buffer.alloc(0);
  socket.on('data', (bytes: Buffer) => (received = Buffer.concat([received, bytes])));
  socket.write(Buffer.concat([hello, structured, go]));
  const request = { flags: 0, type: nbd.NBD_CMD_READ, cookie: 7n, offset: 0n, length: 4 * MiB };
  socket.write(nbd.writeRequest(request));
  const isWhole = () => received.length > MiB && received.includes('data');
  while (!isWhole()) await once(socket, 'data');
  assert.ok(received.length < MiB + 65_536, `${received.length} bytes`);
  const client = await connectNbd(listen, { exportName: 'd' });
  resources.defer(() => client.close());
  const into = Buffer.alloc(4 * MiB, 1);
  await client.read(0, into);
  assert.ok(into.subarray(0, 2 * MiB).every((byte) => byte === 0));
  assert.equal(into.toString('latin1', 2 * MiB + 5, 2 * MiB + 9), 'data');
});
