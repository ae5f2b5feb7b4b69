/** Asks for a secret on a terminal without showing it. */
import { StringDecoder } from 'node:string_decoder';
import { PrimaError, UserError } from '@prima/base';

/** The part of a terminal's input stream that is needed. */
export interface SecretInput {
  setRawMode(raw: boolean): unknown;
  on(event: 'data', listener: (data: Buffer) => void): unknown;
  on(event: 'end', listener: () => void): unknown;
  off(event: 'data', listener: (data: Buffer) => void): unknown;
  off(event: 'end', listener: () => void): unknown;
  resume(): unknown;
  pause(): unknown;
  unshift(data: Buffer): unknown;
}

const lengthAtMost = 4096;

/** Collects typed characters until a line ends. Knows Backspace, Ctrl-U, Ctrl-C and Ctrl-D. */
class SecretLine {
  #typed: string[] = [];

  /** Takes what was typed; returns what is left behind the line's end, or undefined while it goes on. */
  take(text: string): string | undefined {
    const characters = Array.from(text);
    for (const [index, character] of characters.entries()) {
      if (character === '\r' || character === '\n' || character === '\u0004') {
        return characters.slice(index + 1).join('');
      }
      if (character === '\u0003')
        throw new PrimaError('cancelled', 'cancelled while asking for a passphrase');
      if (character === '\u007f' || character === '\b') this.#typed.pop();
      else if (character === '\u0015') this.#typed = [];
      else if (character >= ' ') this.#typed.push(character);
      if (this.#typed.length > lengthAtMost) {
        throw new UserError('usage', `a passphrase may have at most ${lengthAtMost} characters`);
      }
    }
    return undefined;
  }

  get text(): string {
    return this.#typed.join('');
  }
}

/**
 * Asks once and resolves with the line that was typed, without its end.
 * Raises `cancelled` on Ctrl-C or when the signal is aborted, `usage` when the input ends.
 */
export async function askSecret(
  prompt: string,
  terminal: { input: SecretInput; write: (text: string) => void },
  signal?: AbortSignal,
): Promise<string> {
  const { input } = terminal;
  const decoder = new StringDecoder('utf8');
  const line = new SecretLine();
  const answer = Promise.withResolvers<string>();
  const onData = (data: Buffer) => {
    try {
      const rest = line.take(decoder.write(data));
      if (rest === undefined) return;
      input.off('data', onData);
      if (rest !== '') input.unshift(Buffer.from(rest));
      answer.resolve(line.text);
    } catch (error) {
      answer.reject(error);
    }
  };
  const onEnd = () => answer.reject(new UserError('usage', 'the input ended before a passphrase was typed'));
  const onAbort = () => answer.reject(signal?.reason);
  input.setRawMode(true); // before the prompt: what is typed at once must not show either
  terminal.write(prompt);
  input.on('data', onData);
  input.on('end', onEnd);
  signal?.addEventListener('abort', onAbort, { once: true });
  input.resume();
  try {
    return await answer.promise;
  } finally {
    input.off('data', onData);
    input.off('end', onEnd);
    signal?.removeEventListener('abort', onAbort);
    input.pause();
    input.setRawMode(false);
    terminal.write('\n');
  }
}
