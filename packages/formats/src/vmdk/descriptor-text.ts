/**
 * The text of a VMDK descriptor as bytes. Which encoding it has is written inside it, so lines are kept as bytes
 * (a character per byte, latin1) and decoded one by one after the `encoding` key was found.
 */
import { FormatError } from '@prima/base';

/** Decodes what was kept as one character per byte. */
export type Decode = (text: string) => string;

/**
 * @param encoding as the file names it; absent in old files, which are taken as UTF-8 and, where they are not, as
 * windows-1252. Raises `format` for an encoding that is not known, but only when something is not ASCII.
 */
export function decoderOf(encoding: string | undefined): Decode {
  return (text) => {
    if (isAscii(text)) return text;
    const bytes = Buffer.from(text, 'latin1');
    if (encoding !== undefined) return decoder(encoding).decode(bytes);
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch {
      return new TextDecoder('windows-1252').decode(bytes);
    }
  };
}

function decoder(encoding: string): TextDecoder {
  try {
    return new TextDecoder(encoding.trim().toLowerCase());
  } catch (error) {
    throw new FormatError(
      `VMDK descriptor: its encoding "${encoding}" is not known, and it holds more than ASCII; convert it to UTF-8`,
      { details: { encoding }, cause: error },
    );
  }
}

export function isAscii(text: string): boolean {
  return Buffer.byteLength(text) === text.length;
}
