/** A disk behind an NBD server: a BlockDevice over one or several connections to one export. */
import {
  alignDown,
  alignUp,
  assert,
  assertWithin,
  KiB,
  MiB,
  mergeRanges,
  PrimaError,
  ProtocolError,
  Semaphore,
  throwIfAborted,
} from '@prima/base';
import type { BlockDevice, Extent, ExtentKind, ExtentOptions, Range, WritableDevice } from '@prima/block';
import type { Command, NbdConnection } from './connection.ts';
import type { BlockSizes } from './options.ts';
import * as nbd from './protocol.ts';

/** A run of bytes that have the same flags in one context. */
export interface BlockStatus extends Range {
  flags: number;
}

/**
 * Reads and writes are cut into pieces of this size, which spread over the connections. Measured with
 * qemu-nbd (bench/nbd.ts): larger ones leave its cache, smaller ones cost more turns.
 */
const pieceBytes = 512 * KiB;
/** Commands without payload (zero, trim, status, cache) are cut so that each ends well within its deadline. */
const rangeBytes = 128 * MiB;
const statusBytes = 1024 * MiB;

/** A read-only export. Made by `connectNbd`. */
export class NbdDevice implements BlockDevice {
  readonly size: number;
  readonly blockSize: number;
  /** The meta contexts that the server granted. */
  readonly contexts: readonly string[];
  /** How many connections are open. */
  readonly connections: number;
  readonly #connections: readonly NbdConnection[];
  protected readonly sizes: BlockSizes;
  protected readonly flags: number;
  /** What this is, for messages. */
  protected readonly name: string;

  constructor(name: string, connections: readonly NbdConnection[]) {
    const [first] = connections;
    assert(first, 'a device has a connection');
    const { info, contexts } = first.negotiated;
    this.name = name;
    this.size = info.size;
    this.flags = info.flags;
    this.sizes = blockSizes(info.blockSizes);
    this.blockSize = Math.max(512, Math.min(this.sizes.preferred, pieceBytes));
    this.contexts = [...contexts.keys()];
    this.connections = connections.length;
    this.#connections = connections;
  }

  /** Raises `remote` (retryable) when the connection is lost, `timeout`, or the server's own error. */
  async read(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<void> {
    assertWithin({ offset, length: into.length }, this.size);
    const { minimum } = this.sizes;
    const start = alignUp(offset, minimum);
    const end = alignDown(offset + into.length, minimum);
    if (minimum === 1 || (start === offset && end === offset + into.length)) {
      await this.#readAligned(offset, into, signal);
      return;
    }
    // the server takes whole blocks only: read what surrounds the range
    const from = alignDown(offset, minimum);
    const whole = new Uint8Array(alignUp(offset + into.length, minimum) - from);
    await this.#readAligned(from, whole, signal);
    into.set(whole.subarray(offset - from, offset - from + into.length));
  }

  async *extents(range: Range, options: ExtentOptions = {}): AsyncGenerator<Extent> {
    assertWithin(range, this.size);
    throwIfAborted(options.signal, `asking for the allocation of ${this.name}`);
    if (!this.contexts.includes(nbd.baseAllocation)) {
      if (range.length > 0) yield { ...range, kind: 'data' };
      return;
    }
    let pending: Extent | undefined;
    for await (const { offset, length, flags } of this.blockStatus(range, nbd.baseAllocation, options)) {
      const kind = extentKind(flags);
      if (pending?.kind === kind) {
        pending.length += length;
        continue;
      }
      if (pending) yield pending;
      pending = { offset, length, kind };
    }
    if (pending) yield pending;
  }

  /**
   * The flags of one context over `range`: ascending, gapless, clipped to the range; neighbours may have
   * the same flags. Raises `unsupported` when the server did not grant the context.
   */
  async *blockStatus(
    range: Range,
    context: string,
    options: ExtentOptions = {},
  ): AsyncGenerator<BlockStatus> {
    assertWithin(range, this.size);
    const connection = this.#connections[0];
    const id = connection?.negotiated.contexts.get(context);
    if (!connection || id === undefined) {
      const has = this.contexts.length === 0 ? 'none' : this.contexts.join(', ');
      throw new PrimaError('unsupported', `${this.name}: does not offer "${context}"; it offers: ${has}`);
    }
    if (range.length === 0) return;
    const { minimum } = this.sizes;
    const stop = alignUp(range.offset + range.length, minimum);
    let position = alignDown(range.offset, minimum);
    while (position < stop) {
      const length = Math.min(stop - position, statusBytes);
      const command = this.command(
        nbd.NBD_CMD_BLOCK_STATUS,
        position,
        length,
        'asking for the allocation of',
      );
      const reply = await connection.run({ ...command, signal: options.signal });
      const entries = reply.status?.get(id);
      if (!entries) throw this.#broken(connection, `${command.doing}: no answer for "${context}"`);
      for (const entry of entries) {
        const end = position + entry.length;
        const from = Math.max(position, range.offset);
        const to = Math.min(end, range.offset + range.length);
        if (to > from) yield { offset: from, length: to - from, flags: entry.flags };
        position = end;
        if (position >= stop) break;
      }
    }
  }

  /** The ranges that QEMU's dirty bitmap `bitmapName` marks as changed; ask for its context when connecting. */
  async dirtyRanges(
    bitmapName: string,
    range: Range = { offset: 0, length: this.size },
    signal?: AbortSignal,
  ): Promise<Range[]> {
    const dirty: Range[] = [];
    const context = `qemu:dirty-bitmap:${bitmapName}`;
    const options = signal ? { signal } : {};
    for await (const { offset, length, flags } of this.blockStatus(range, context, options)) {
      if ((flags & 1) === 0) continue;
      const last = dirty.at(-1);
      if (last && last.offset + last.length === offset) last.length += length;
      else dirty.push({ offset, length });
    }
    return mergeRanges(dirty);
  }

  /** Asks the server to have `range` ready; does nothing where the server cannot. */
  async cache(range: Range, signal?: AbortSignal): Promise<void> {
    assertWithin(range, this.size);
    if ((this.flags & nbd.NBD_FLAG_SEND_CACHE) === 0) return;
    await this.runPieces(this.#whole(range), rangeBytes, (offset, length) => ({
      ...this.command(nbd.NBD_CMD_CACHE, offset, length, 'caching'),
      signal,
    }));
  }

  async close(): Promise<void> {
    await Promise.all(this.#connections.map((connection) => connection.close()));
  }

  async #readAligned(offset: number, into: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    await this.runPieces({ offset, length: into.length }, this.payloadBytes, (at, length) => ({
      ...this.command(nbd.NBD_CMD_READ, at, length, 'reading'),
      into: into.subarray(at - offset, at - offset + length),
      signal,
    }));
  }

  /** Longest payload of one request. */
  protected get payloadBytes(): number {
    const { minimum, maximum } = this.sizes;
    return alignDown(Math.min(pieceBytes, maximum), minimum);
  }

  protected command(type: number, offset: number, length: number, verb: string): Command {
    return { type, offset, length, doing: `${verb} ${offset}+${length} of ${this.name}` };
  }

  /**
   * Runs a command for every piece of `range`, at most 64 at a time, and waits for all that were begun,
   * so that nobody uses the caller's memory when this ends.
   */
  protected async runPieces(
    range: Range,
    length: number,
    command: (offset: number, length: number) => Command,
  ): Promise<void> {
    const end = range.offset + range.length;
    if (range.length <= length) {
      if (range.length > 0) await this.run(command(range.offset, range.length));
      return;
    }
    let position = range.offset;
    let failure: unknown;
    const worker = async () => {
      while (position < end && failure === undefined) {
        const at = position;
        position = Math.min(at + length, end);
        try {
          await this.run(command(at, position - at));
        } catch (error) {
          failure ??= error;
        }
      }
    };
    const workers = Math.min(64, Math.ceil(range.length / length));
    await Promise.all(Array.from({ length: workers }, worker));
    if (failure !== undefined) throw failure;
  }

  /** Runs a command on the connection with the least to do. */
  protected async run(command: Command): Promise<void> {
    throwIfAborted(command.signal, command.doing);
    const [first, ...others] = this.#connections;
    assert(first, 'a device has a connection');
    const dead = this.#connections.find((connection) => connection.failure);
    const idlest = others.reduce((least, other) => (other.load < least.load ? other : least), first);
    await (dead ?? idlest).run(command);
  }

  #whole(range: Range): Range {
    const { minimum } = this.sizes;
    const offset = alignDown(range.offset, minimum);
    return { offset, length: alignUp(range.offset + range.length, minimum) - offset };
  }

  #broken(connection: NbdConnection, message: string): PrimaError {
    const error = new ProtocolError(message);
    connection.destroy(error);
    return error;
  }
}

/** A writable export. Made by `connectNbd` with `writable: true`. */
export class WritableNbdDevice extends NbdDevice implements WritableDevice {
  readonly #unaligned = new Semaphore(1);

  async write(offset: number, from: Uint8Array, signal?: AbortSignal): Promise<void> {
    await this.#write(offset, from, 0, signal);
  }

  /** Like `write`, and durable when it resolves. */
  async writeThrough(offset: number, from: Uint8Array, signal?: AbortSignal): Promise<void> {
    const fua = (this.flags & nbd.NBD_FLAG_SEND_FUA) !== 0;
    await this.#write(offset, from, fua ? nbd.NBD_CMD_FLAG_FUA : 0, signal);
    if (!fua) await this.flush();
  }

  async zero(range: Range, signal?: AbortSignal): Promise<void> {
    assertWithin(range, this.size);
    const { minimum } = this.sizes;
    const start = alignUp(range.offset, minimum);
    const end = alignDown(range.offset + range.length, minimum);
    if (end <= start || (this.flags & nbd.NBD_FLAG_SEND_WRITE_ZEROES) === 0) {
      await this.#writeZeros(range, signal);
      return;
    }
    await this.#writeZeros({ offset: range.offset, length: start - range.offset }, signal);
    await this.runPieces({ offset: start, length: end - start }, rangeBytes, (offset, length) => ({
      ...this.command(nbd.NBD_CMD_WRITE_ZEROES, offset, length, 'zeroing'),
      signal,
    }));
    await this.#writeZeros({ offset: end, length: range.offset + range.length - end }, signal);
  }

  /** Tells the server that `range` is not needed; what it reads as afterwards is undefined. */
  async trim(range: Range, signal?: AbortSignal): Promise<void> {
    assertWithin(range, this.size);
    if ((this.flags & nbd.NBD_FLAG_SEND_TRIM) === 0) return;
    const { minimum } = this.sizes;
    const offset = alignUp(range.offset, minimum);
    const length = Math.max(0, alignDown(range.offset + range.length, minimum) - offset);
    await this.runPieces({ offset, length }, rangeBytes, (at, count) => ({
      ...this.command(nbd.NBD_CMD_TRIM, at, count, 'trimming'),
      signal,
    }));
  }

  /** Everything written before is durable when it resolves; nothing to do where the server has no flush. */
  async flush(): Promise<void> {
    if ((this.flags & nbd.NBD_FLAG_SEND_FLUSH) === 0) return;
    await this.run(this.command(nbd.NBD_CMD_FLUSH, 0, 0, 'flushing'));
  }

  async #write(offset: number, from: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    assertWithin({ offset, length: from.length }, this.size);
    const { minimum } = this.sizes;
    if (offset % minimum === 0 && from.length % minimum === 0) {
      await this.#writeAligned(offset, from, flags, signal);
      return;
    }
    // the server takes whole blocks only: put the bytes into what surrounds them, one at a time
    await this.#unaligned.run(async () => {
      const start = alignDown(offset, minimum);
      const whole = new Uint8Array(alignUp(offset + from.length, minimum) - start);
      await this.read(start, whole, signal);
      whole.set(from, offset - start);
      await this.#writeAligned(start, whole, flags, signal);
    });
  }

  async #writeAligned(offset: number, from: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    await this.runPieces({ offset, length: from.length }, this.payloadBytes, (at, length) => ({
      ...this.command(nbd.NBD_CMD_WRITE, at, length, 'writing'),
      flags,
      payload: from.subarray(at - offset, at - offset + length),
      signal,
    }));
  }

  async #writeZeros(range: Range, signal?: AbortSignal): Promise<void> {
    const zeros = new Uint8Array(Math.min(range.length, 256 * KiB));
    for (let done = 0; done < range.length; done += zeros.length) {
      const part = zeros.subarray(0, Math.min(zeros.length, range.length - done));
      await this.#write(range.offset + done, part, 0, signal);
    }
  }
}

function blockSizes(sizes: BlockSizes | undefined): BlockSizes {
  const maximum = nbd.limits.payloadBytes;
  if (!sizes) return { minimum: 1, preferred: nbd.limits.preferredBlockBytes, maximum };
  return { ...sizes, maximum: Math.max(sizes.minimum, Math.min(sizes.maximum, maximum)) };
}

function extentKind(flags: number): ExtentKind {
  if ((flags & nbd.NBD_STATE_ZERO) === 0) return 'data';
  return (flags & nbd.NBD_STATE_HOLE) === 0 ? 'zero' : 'hole';
}
