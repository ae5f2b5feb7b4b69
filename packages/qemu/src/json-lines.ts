/**
 * JSON objects, one a line, as QMP and the guest agent speak them; cut out of whatever pieces the
 * socket delivers, with a limit on the length of a line. Pure: bytes in, objects out.
 */
import { ProtocolError } from '@prima/base';

export type JsonObject = Record<string, unknown>;

export interface JsonLineOptions {
  /** Longest line in bytes, its end not counted. Default 16 MiB. */
  limitBytes?: number;
  /**
   * For the guest agent: a byte 0xFF (never part of UTF-8) throws away what came before it on its line,
   * and lines that are no JSON objects are dropped. Default false: they raise.
   */
  resync?: boolean;
}

const defaultLimitBytes = 16 * 1024 * 1024;
const newline = 0x0a;
const sentinel = 0xff;

/** An incremental parser; after it has raised it must not be used again. */
export class JsonLineParser {
  readonly #limitBytes: number;
  readonly #resync: boolean;
  #pieces: Uint8Array[] = [];
  #held = 0;

  constructor(options: JsonLineOptions = {}) {
    this.#limitBytes = options.limitBytes ?? defaultLimitBytes;
    this.#resync = options.resync ?? false;
  }

  /**
   * Takes the next bytes and yields the objects that they complete. Raises ProtocolError for a line
   * over the limit and, unless resynchronising, for a line that is not a JSON object.
   */
  *push(bytes: Uint8Array): Generator<JsonObject, void> {
    let rest = bytes;
    for (let end = rest.indexOf(newline); end >= 0; end = rest.indexOf(newline)) {
      this.#hold(rest.subarray(0, end));
      rest = rest.subarray(end + 1);
      const object = this.#line();
      if (object) yield object;
    }
    this.#hold(rest);
  }

  #hold(piece: Uint8Array): void {
    let kept = piece;
    const mark = this.#resync ? piece.lastIndexOf(sentinel) : -1;
    if (mark >= 0) {
      this.#pieces = [];
      this.#held = 0;
      kept = piece.subarray(mark + 1);
    }
    if (kept.length === 0) return;
    this.#held += kept.length;
    if (this.#held > this.#limitBytes) {
      throw new ProtocolError(`a line of over ${this.#limitBytes} bytes came where a JSON object was wanted`);
    }
    this.#pieces.push(kept);
  }

  #line(): JsonObject | undefined {
    const text = Buffer.concat(this.#pieces).toString('utf8').trim();
    this.#pieces = [];
    this.#held = 0;
    if (text === '') return undefined;
    const value = parseOrUndefined(text);
    if (isJsonObject(value)) return value;
    if (this.#resync) return undefined;
    throw new ProtocolError(
      `"${printable(text.slice(0, 80))}" came where a line with a JSON object was wanted`,
    );
  }
}

/** True for `{…}`, false for arrays, null and plain values. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // the caller decides what a line that is no JSON means
  }
}

function printable(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, '.');
}
