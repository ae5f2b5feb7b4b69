/** A server at a unix socket that plays a peer's part, for the tests of this package. */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type JsonObject, JsonLineParser } from './json-lines.ts';

export interface FakePeer extends AsyncDisposable {
  path: string;
  /** Every object that a client sent, in order. */
  received: JsonObject[];
}

export interface FakePart {
  /** What is sent when a client connects. */
  greeting?: string;
  /** Answers one object of the client's. */
  onMessage?(message: JsonObject, socket: Socket): void;
}

/** Listens in a folder of its own; disposing it removes everything. */
export async function fakePeer(part: FakePart): Promise<FakePeer> {
  const folder = await mkdtemp(join(tmpdir(), 'prima-fake-'));
  const path = join(folder, 'peer.sock');
  const received: JsonObject[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    const parser = new JsonLineParser({ resync: true });
    socket.on('error', () => undefined); // the client may go at any time
    socket.on('data', (bytes: Buffer) => {
      for (const message of parser.push(bytes)) {
        received.push(message);
        part.onMessage?.(message, socket);
      }
    });
    if (part.greeting !== undefined) socket.write(part.greeting);
  });
  await new Promise<void>((resolve) => {
    server.listen(path, resolve);
  });
  return {
    path,
    received,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => {
        server.close(resolve);
      });
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Writes an object as a line. */
export function say(socket: Socket, message: object): void {
  socket.write(`${JSON.stringify(message)}\n`);
}
