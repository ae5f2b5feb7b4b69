/**
 * Text that libvirt took from somewhere else may not be UTF-8: names of files above all. Such bytes become lone surrogates
 * U+DC80 to U+DCFF and the same bytes again when written (Python's "surrogateescape", PEP 383), so that a volume
 * with such a name can be listed, shown and named to the daemon.
 */
import { isUtf8 } from 'node:buffer';
import { UserError } from '@prima/base';

const escapeBase = 0xdc00;

/** Never raises. */
export function textOfBytes(bytes: Uint8Array): string {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (isUtf8(view)) return view.toString('utf8');
  const parts: string[] = [];
  for (let at = 0; at < view.length; ) {
    const length = characterLength(view, at);
    parts.push(
      length > 0 ? view.toString('utf8', at, at + length) : String.fromCharCode(escapeBase + (view[at] ?? 0)),
    );
    at += Math.max(length, 1);
  }
  return parts.join('');
}

/** Raises `usage` for surrogates that are no such byte. */
export function bytesOfText(text: string): Uint8Array {
  if (text.isWellFormed()) return Buffer.from(text, 'utf8');
  return Buffer.concat(Array.from(text, bytesOfCharacter));
}

function bytesOfCharacter(character: string): Buffer {
  const code = character.codePointAt(0) ?? 0;
  if (code < 0xd800 || code > 0xdfff) return Buffer.from(character, 'utf8');
  if (code >= escapeBase + 0x80 && code <= escapeBase + 0xff) return Buffer.from([code - escapeBase]);
  throw new UserError('usage', `the text has half a character in it (U+${code.toString(16).toUpperCase()})`);
}

/** Bytes of the UTF-8 character that begins here; 0 when none does. */
function characterLength(bytes: Buffer, at: number): number {
  for (let length = 1; length <= 4 && at + length <= bytes.length; length += 1) {
    if (isUtf8(bytes.subarray(at, at + length))) return length;
  }
  return 0;
}
