/**
 * libvirt's messages (virnetprotocol.x): a length of four bytes, which counts itself, a header of six units, the rest.
 *
 * | bytes | field |
 * |---|---|
 * | 0-3 | length of all of it, 28 to 33 554 436 |
 * | 4-7 | program |
 * | 8-11 | version, 1 |
 * | 12-15 | procedure |
 * | 16-19 | type |
 * | 20-23 | serial, of the call that it belongs to |
 * | 24-27 | status |
 */
import { ProtocolError } from '@prima/base';

export const MessageType = {
  CALL: 0,
  REPLY: 1,
  EVENT: 2,
  STREAM: 3,
  CALL_WITH_FDS: 4,
  REPLY_WITH_FDS: 5,
  STREAM_HOLE: 6,
} as const;

export const MessageStatus = { OK: 0, ERROR: 1, CONTINUE: 2 } as const;

export interface MessageHeader {
  program: number;
  procedure: number;
  type: number;
  serial: number;
  status: number;
}

export interface Message extends MessageHeader {
  payload: Buffer;
}

const lengthBytes = 4;
const headerBytes = 24;
const version = 1;
const messageLimitBytes = 32 * 1024 * 1024;
/** What any daemon takes in one message of a stream (VIR_NET_MESSAGE_LEGACY_PAYLOAD_MAX). */
export const streamPayloadBytes = 262_120;

export function writeMessage(header: MessageHeader, payload: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(lengthBytes + headerBytes + payload.length);
  const { program, procedure, type, serial, status } = header;
  for (const [index, value] of [bytes.length, program, version, procedure, type, serial, status].entries()) {
    bytes.writeUInt32BE(value, index * 4);
  }
  bytes.set(payload, lengthBytes + headerBytes);
  return bytes;
}

/** Cuts what arrives into messages. Holds at most one message that is not complete. */
export class MessageParser {
  #pieces: Buffer[] = [];
  #held = 0;
  /** Length of the message that is arriving, once it is known. */
  #wanted: number | undefined;

  /** The messages that are complete with these bytes. Raises `protocol`; nothing can be read after that. */
  *push(bytes: Buffer): Generator<Message> {
    this.#pieces.push(bytes);
    this.#held += bytes.length;
    for (;;) {
      this.#wanted ??= this.#held < lengthBytes ? undefined : checkedLength(this.#joined().readUInt32BE(0));
      if (this.#wanted === undefined || this.#held < this.#wanted) return;
      const all = this.#joined();
      const message = parse(all.subarray(0, this.#wanted));
      this.#pieces = [all.subarray(this.#wanted)];
      this.#held -= this.#wanted;
      this.#wanted = undefined;
      yield message;
    }
  }

  #joined(): Buffer {
    const [first, ...others] = this.#pieces;
    if (first && others.length === 0) return first;
    const all = Buffer.concat(this.#pieces);
    this.#pieces = [all];
    return all;
  }
}

function checkedLength(length: number): number {
  if (length >= lengthBytes + headerBytes && length <= lengthBytes + messageLimitBytes) return length;
  throw new ProtocolError(
    `a message of ${length} bytes is announced; 28 to ${messageLimitBytes + lengthBytes} are possible. Is it libvirt that answers?`,
    { details: { offset: 0, length } },
  );
}

function parse(bytes: Buffer): Message {
  const field = (index: number) => bytes.readUInt32BE(index * 4);
  if (field(2) !== version) {
    throw new ProtocolError(
      `a message of version ${field(2)} of program 0x${field(1).toString(16)}; 1 is known`,
    );
  }
  return {
    program: field(1),
    procedure: field(3),
    type: field(4),
    serial: field(5),
    status: field(6),
    payload: bytes.subarray(lengthBytes + headerBytes),
  };
}
