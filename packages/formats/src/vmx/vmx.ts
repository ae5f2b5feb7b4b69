/**
 * `.vmx`, the configuration of a VMware machine: `key = "value"` lines. Keys are found in any case;
 * order, comments and everything unknown stay as they were.
 *
 *   # comment                     also "#!/usr/bin/vmware" as the first line
 *   .encoding = "UTF-8"           how the file's bytes are text; absent in old files (taken as UTF-8)
 *   displayName = "a |22b|22"     |XX is a byte in hexadecimal: |22 a quotation mark, |7C the bar itself
 *   memsize = 512                 old files leave the quotation marks out
 */
import { FormatError, UserError } from '@prima/base';

export interface VmxEntry {
  key: string;
  value: string;
}

interface Line {
  /** The line as it is in the file, without its end. */
  text: string;
  entry?: VmxEntry;
}

/** Larger files are no .vmx. */
const limitBytes = 1024 * 1024;
const limitLines = 10_000;

/** A configuration; made by `parseVmx`, or empty with `new Vmx()`. */
export class Vmx {
  readonly #lines: Line[] = [];
  readonly #byKey = new Map<string, Line>();
  readonly #newline: string;

  constructor(newline: '\n' | '\r\n' = '\n') {
    this.#newline = newline;
  }

  /** The value of `key` in any case, or undefined. */
  get(key: string): string | undefined {
    return this.#byKey.get(key.toLowerCase())?.entry?.value;
  }

  has(key: string): boolean {
    return this.#byKey.has(key.toLowerCase());
  }

  /** Changes the value in place, or adds a line at the end. Raises `usage` for a key that cannot be written. */
  set(key: string, value: string): void {
    if (!keyPattern.test(key)) throw new UserError('usage', `"${key}" cannot be a key of a .vmx file`);
    const line = this.#byKey.get(key.toLowerCase());
    if (line?.entry) {
      if (line.entry.value === value) return;
      line.entry = { key: line.entry.key, value };
      line.text = writeLine(line.entry);
    } else {
      this.addLine(writeLine({ key, value }), { key, value });
    }
  }

  /** Removes the line of `key`; false when there was none. */
  delete(key: string): boolean {
    const line = this.#byKey.get(key.toLowerCase());
    if (!line) return false;
    this.#byKey.delete(key.toLowerCase());
    this.#lines.splice(this.#lines.indexOf(line), 1);
    return true;
  }

  /** Removes all lines whose key begins with `prefix` in any case: `scsi0:1.`, `ethernet0.`. */
  deleteAll(prefix: string): void {
    const wanted = prefix.toLowerCase();
    const found = Array.from(this.keys(), (key) => key.toLowerCase());
    for (const key of found) if (key.startsWith(wanted)) this.delete(key);
  }

  /** The keys as they are spelled in the file, in its order. */
  *keys(): Generator<string> {
    for (const { key } of this.entries()) yield key;
  }

  *entries(): Generator<VmxEntry> {
    for (const { entry } of this.#lines) if (entry) yield { ...entry };
  }

  /** For the parser: a line as it stands. Raises `format` when its key is there already. */
  addLine(text: string, entry?: VmxEntry): void {
    const line: Line = entry ? { text, entry } : { text };
    if (entry) {
      const key = entry.key.toLowerCase();
      if (this.#byKey.has(key)) throw new FormatError(`${entry.key} is set a second time`);
      this.#byKey.set(key, line);
    }
    this.#lines.push(line);
  }

  /** The text of the file. */
  toString(): string {
    return this.#lines.map(({ text }) => text + this.#newline).join('');
  }
}

/**
 * Parses a file: bytes (their encoding is looked up in the file) or text.
 * Raises `format`, with the line's number in `details.line` where it is about one.
 */
export function parseVmx(source: string | Uint8Array): Vmx {
  const bytes = typeof source === 'string' ? Buffer.byteLength(source) : source.length;
  if (bytes > limitBytes)
    throw new FormatError(`.vmx: ${bytes} bytes where at most ${limitBytes} were expected`);
  const text = typeof source === 'string' ? source : decode(source);
  const lines = text.replace(/^\uFEFF/, '').split('\n');
  if (lines.at(-1) === '') lines.pop();
  if (lines.length > limitLines) {
    throw new FormatError(`.vmx: ${lines.length} lines where at most ${limitLines} were expected`);
  }
  const vmx = new Vmx(lines[0]?.endsWith('\r') ? '\r\n' : '\n');
  for (const [index, line] of lines.entries()) addParsed(vmx, line.replace(/\r$/, ''), index + 1);
  return vmx;
}

/** The file's bytes, always UTF-8; a file that had another encoding says so afterwards. */
export function writeVmx(vmx: Vmx): string {
  const encoding = vmx.get('.encoding');
  if (encoding !== undefined && !/^utf-?8$/i.test(encoding)) {
    const copy = parseVmx(vmx.toString());
    copy.set('.encoding', 'UTF-8');
    return copy.toString();
  }
  return vmx.toString();
}

const keyPattern = /^[^\s=#"|]{1,1024}$/;
/** No two neighbouring parts can take the same characters: a line is read in linear time. */
const entryPattern = /^\s*([^\s=#"|]{1,1024})\s*=\s*(?:"([^"]*)"\s*|([^"#\s][^"#]*)?)(?:#.*)?$/;

function addParsed(vmx: Vmx, line: string, number: number): void {
  try {
    if (/^\s*(?:#.*)?$/.test(line)) {
      vmx.addLine(line);
      return;
    }
    const match = entryPattern.exec(line);
    if (!match) throw new FormatError(`"${line.slice(0, 80)}" where key = "value" was wanted`);
    const [, key = '', quoted, plain = ''] = match;
    vmx.addLine(line, { key, value: quoted === undefined ? plain.trimEnd() : unescape(quoted) });
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw new FormatError(`.vmx line ${number}: ${error.message}`, { details: { line: number } });
  }
}

function writeLine({ key, value }: VmxEntry): string {
  const escaped = value.replaceAll(/["|\p{Cc}]/gu, (character) =>
    Buffer.from(character).toString('hex').toUpperCase().replaceAll(/../g, '|$&'),
  );
  return `${key} = "${escaped}"`;
}

/** A bar without two hexadecimal digits stands for itself; neighbouring escapes are UTF-8 together. */
function unescape(text: string): string {
  return text.replaceAll(/(?:\|[0-9a-fA-F]{2})+/g, (run) =>
    Buffer.from(run.replaceAll('|', ''), 'hex').toString('utf8'),
  );
}

function decode(bytes: Uint8Array): string {
  const ascii = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
  const encoding = /^[ \t]*\.encoding[ \t]*=[ \t]*"([^"\r\n]{1,40})"/im.exec(ascii)?.[1] ?? 'UTF-8';
  let decoder: TextDecoder;
  try {
    decoder = new TextDecoder(encoding, { fatal: true });
  } catch (error) {
    throw new FormatError(`.vmx: the encoding "${encoding}" is not known`, { cause: error });
  }
  try {
    return decoder.decode(bytes);
  } catch (error) {
    throw new FormatError(`.vmx: the file is not ${encoding}, as its .encoding line says or as is usual`, {
      cause: error,
    });
  }
}
