/** Reads a file system's own structures and remembers where they were, so that free space can be held against them. */
import { FormatError, mergeRanges, PrimaError, type Range, throwIfAborted } from '@prima/base';
import type { BlockDevice } from '@prima/block';

/** More than the bitmaps of 256 TiB take; ends what a wrong structure would make endless. */
const mostBytes = 16 * 1024 ** 3;

export class MetadataReader {
  /** Bytes of the part; offsets count from its beginning. */
  readonly length: number;
  readonly #device: BlockDevice;
  readonly #start: number;
  readonly #signal: AbortSignal | undefined;
  #read: Range[] = [];
  #bytes = 0;

  /** @param part the partition, or the whole disk */
  constructor(device: BlockDevice, part: Range, signal?: AbortSignal) {
    this.length = part.length;
    this.#device = device;
    this.#start = part.offset;
    this.#signal = signal;
  }

  /** Raises `format` for what lies outside the part. */
  async read(offset: number, length: number): Promise<Buffer> {
    throwIfAborted(this.#signal, 'looking for free space');
    if (!(offset >= 0 && length >= 0 && offset + length <= this.length)) {
      throw new FormatError(
        `a structure at ${offset}+${length} is outside the ${this.length} bytes of the partition`,
        {
          details: { offset },
        },
      );
    }
    this.#bytes += length;
    if (this.#bytes > mostBytes) refuse(`its structures take more than ${mostBytes} bytes`);
    const bytes = Buffer.alloc(length);
    await this.#device.read(this.#start + offset, bytes, this.#signal);
    this.#remember({ offset, length });
    return bytes;
  }

  /** Everything that was read, merged. */
  get ranges(): Range[] {
    this.#read = mergeRanges(this.#read);
    return this.#read;
  }

  #remember({ offset, length }: Range): void {
    const last = this.#read.at(-1);
    if (last && last.offset + last.length === offset) last.length += length;
    else this.#read.push({ offset, length });
    if (this.#read.length % 65_536 === 0) this.#read = mergeRanges(this.#read);
  }
}

/** Nothing of this file system may be skipped. @param why a phrase: "its journal has to be replayed" */
export function refuse(why: string): never {
  throw new PrimaError('refused', why);
}
