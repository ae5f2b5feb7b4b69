/** A daemon's end of a connection, for tests of what no real daemon does. */
import { duplexPair, type Duplex } from 'node:stream';
import { type Message, MessageParser, MessageStatus, MessageType, writeMessage } from './message.ts';
import { RpcConnection } from './rpc.ts';

export interface FakeDaemon {
  rpc: RpcConnection;
  /** The daemon's end. */
  end: Duplex;
  /** What the client has sent and nobody has asked for, in order; waits for one. */
  next(): Promise<Message>;
  /** Everything that came so far and nobody asked for. */
  readonly waiting: readonly Message[];
  answer(call: Message, payload: Uint8Array, more?: Partial<Message>): void;
  /** All at once. */
  send(...messages: Partial<Message>[]): void;
}

export function fakeDaemon(): FakeDaemon {
  const [clientEnd, end] = duplexPair();
  const parser = new MessageParser();
  const waiting: Message[] = [];
  const wanted: ((message: Message) => void)[] = [];
  end.on('data', (bytes: Buffer) => {
    for (const message of parser.push(bytes)) {
      const take = wanted.shift();
      if (take) take(message);
      else waiting.push(message);
    }
  });
  end.on('error', () => undefined);
  const send = (...messages: Partial<Message>[]) => {
    const defaults = {
      program: 0,
      procedure: 0,
      type: MessageType.REPLY,
      serial: 0,
      status: MessageStatus.OK,
    };
    const written = messages.map((message) =>
      writeMessage({ ...defaults, ...message }, message.payload ?? Buffer.alloc(0)),
    );
    end.write(Buffer.concat(written));
  };
  return {
    rpc: new RpcConnection(clientEnd, 'test:///fake'),
    end,
    waiting,
    next: () =>
      new Promise((resolve) => {
        const message = waiting.shift();
        if (message) resolve(message);
        else wanted.push(resolve);
      }),
    send,
    answer: (call, payload, more = {}) =>
      send({ ...call, type: MessageType.REPLY, payload: Buffer.from(payload), ...more }),
  };
}
