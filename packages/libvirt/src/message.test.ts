import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type MessageHeader, type Message, MessageParser, MessageType, writeMessage } from './message.ts';

const header: MessageHeader = {
  program: 0x20008086,
  procedure: 14,
  type: MessageType.REPLY,
  serial: 7,
  status: 0,
};

function parsed(parser: MessageParser, bytes: Buffer, pieceBytes: number): Message[] {
  const messages: Message[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    messages.push(...parser.push(bytes.subarray(at, at + pieceBytes)));
  }
  return messages;
}

test('the header is as libvirt has it', () => {
  const bytes = writeMessage(header, Buffer.from('abcd'));
  assert.equal(bytes.toString('hex'), '0000002020008086000000010000000e00000001000000070000000061626364');
});

test('messages are found wherever the bytes are cut', () => {
  const payloads = [0, 1, 3000, 70_000].map((length) => Buffer.alloc(length, length % 251));
  const bytes = Buffer.concat(
    payloads.map((payload, serial) => writeMessage({ ...header, serial }, payload)),
  );
  for (const pieceBytes of [1, 7, 27, 28, 29, 4096, bytes.length]) {
    const messages = parsed(new MessageParser(), bytes, pieceBytes);
    assert.deepEqual(
      messages.map(({ serial, payload }) => [serial, payload.length]),
      payloads.map(({ length }, serial) => [serial, length]),
    );
    for (const [index, { payload }] of messages.entries())
      assert.ok(payload.equals(payloads[index] ?? payload));
  }
});

test('a length that no message has ends it, before memory is taken', () => {
  for (const length of [0, 27, 32 * 1024 * 1024 + 5, 0x48545450]) {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(length);
    assert.throws(() => parsed(new MessageParser(), bytes, 4), { code: 'protocol' });
  }
});

test('another version than 1 is refused', () => {
  const bytes = writeMessage(header, Buffer.alloc(0));
  bytes.writeUInt32BE(2, 8);
  assert.throws(() => parsed(new MessageParser(), bytes, bytes.length), /version 2/);
});
