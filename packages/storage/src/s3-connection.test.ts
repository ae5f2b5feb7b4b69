/** What moves is waited for, what stands still is not: a server that takes and gives at the pace of a clock that only it moves. */
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as real } from 'node:timers/promises';
import { test } from 'node:test';
import { KiB, MiB } from '@prima/base';
import { getObject } from './s3-get.ts';
import { S3Connection } from './s3-connection.ts';
import { parseS3Location } from './s3-location.ts';
import { putObjectIfAbsent } from './s3-put.ts';
import { VirtualClock } from './virtual-clock-fixture.ts';

const idleMs = 10_000;

async function connected(answer: (request: IncomingMessage, response: ServerResponse) => Promise<void>) {
  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const clock = new VirtualClock();
  const connection = await S3Connection.open(
    parseS3Location(`s3://bucket?endpoint=http://127.0.0.1:${port}&region=r`),
    { idleMs, attempts: 1, clock, credentials: { accessKeyId: 'a', secretAccessKey: 'b' } },
  );
  return {
    clock,
    connection,
    [Symbol.dispose]: () => {
      connection.close();
      server.closeAllConnections();
      server.close();
    },
  };
}

/** What the systems on both sides may hold of a body that nobody takes. */
const heldBytes = 16 * MiB;
/** So much that the server takes lets the client send more. */
const stepBytes = 8 * MiB;

test('a body that goes slowly is waited for, however long it takes', async () => {
  const body = new Uint8Array(96 * MiB);
  let taken = 0;
  using lab = await connected(async (request, response) => {
    for await (const piece of request as AsyncIterable<Uint8Array>) {
      const before = Math.floor(taken / stepBytes);
      taken += piece.length;
      if (Math.floor(taken / stepBytes) === before || taken > body.length - heldBytes) continue;
      await real(5); // the client fills what was emptied
      lab.clock.pass(idleMs * 0.8);
    }
    response.writeHead(200, { ETag: '"x"' }).end();
  });
  assert.equal(await putObjectIfAbsent(lab.connection, 'packs/a', body), 'created');
  assert.equal(taken, body.length);
  assert.ok(lab.clock.time > 5 * idleMs);
});

test('a body that nobody takes is given up', async () => {
  using lab = await connected(() => new Promise(() => undefined));
  const storing = putObjectIfAbsent(lab.connection, 'packs/a', new Uint8Array(64 * MiB));
  await assert.rejects(lab.clock.run(storing), {
    code: 'timeout',
    retryable: true,
    message: /no answer within 10 s/,
  });
});

test('an object that comes slowly is waited for, and given up when no more comes', async () => {
  const length = 2 * MiB;
  let isStuck = false;
  using lab = await connected(async (_request, response) => {
    response.writeHead(200, { 'Content-Length': length });
    for (let at = 0; at < length; at += 64 * KiB) {
      if (isStuck && at > length / 2) return;
      response.write(new Uint8Array(64 * KiB));
      await real(5);
      lab.clock.pass(idleMs * 0.8);
    }
    response.end();
  });
  assert.equal((await getObject(lab.connection, 'packs/a', undefined)).length, length);
  assert.ok(lab.clock.time > 20 * idleMs);
  isStuck = true;
  await assert.rejects(lab.clock.run(getObject(lab.connection, 'packs/a', undefined)), { code: 'timeout' });
});
