/**
 * What a client asks in the transmission phase: requests, and the payload that follows a write.
 * Pure but for the memory that the listener gives it; a client that breaks the protocol ends in a
 * ProtocolError.
 */
import { KiB, ProtocolError } from '@prima/base';
import * as nbd from './protocol.ts';
import type { ByteSink } from './wire.ts';

export interface RequestListener {
  /** Memory for a write's payload, or undefined to drop it (the request will be refused). */
  allocate(request: nbd.Request): Buffer | undefined;
  /** A request has come whole. */
  request(request: nbd.Request, payload: Buffer | undefined): void;
}

export class RequestParser implements ByteSink {
  readonly #listener: RequestListener;
  readonly #scratch = Buffer.allocUnsafe(64 * KiB);
  readonly #header = Buffer.allocUnsafe(nbd.requestBytes);
  #have = 0;
  #write: { request: nbd.Request; payload: Buffer | undefined; left: number } | undefined;
  #stopped = false;

  constructor(listener: RequestListener) {
    this.#listener = listener;
  }

  window(): Uint8Array {
    const write = this.#write;
    if (this.#stopped) return this.#scratch;
    if (!write) return this.#header.subarray(this.#have);
    if (!write.payload) return this.#scratch.subarray(0, write.left);
    return write.payload.subarray(write.payload.length - write.left);
  }

  advance(count: number): void {
    if (this.#stopped) return;
    if (this.#write) this.#payloadArrived(count);
    else this.#headerArrived(count);
  }

  ended(): void {
    this.#stopped = true;
  }

  #headerArrived(count: number): void {
    this.#have += count;
    if (this.#have < nbd.requestBytes) return;
    this.#have = 0;
    const request = nbd.parseRequest(this.#header);
    if (request.type !== nbd.NBD_CMD_WRITE) {
      this.#stopped = request.type === nbd.NBD_CMD_DISC;
      this.#listener.request(request, undefined);
      return;
    }
    if (request.length > nbd.limits.payloadBytes) {
      throw new ProtocolError(
        `NBD_CMD_WRITE of ${request.length} bytes; at most ${nbd.limits.payloadBytes} wanted`,
      );
    }
    if (request.length === 0) this.#listener.request(request, Buffer.alloc(0));
    else this.#write = { request, payload: this.#listener.allocate(request), left: request.length };
  }

  #payloadArrived(count: number): void {
    const write = this.#write;
    if (!write) return;
    write.left -= count;
    if (write.left > 0) return;
    this.#write = undefined;
    this.#listener.request(write.request, write.payload);
  }
}
