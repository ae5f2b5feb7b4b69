/** Server-sent events, as the HTML standard's section 9.2 parses them. Pure: bytes in, events out. */
import { ProtocolError } from '@prima/base';

export interface StreamEvent {
  /** Undefined where none was ever sent. */
  id?: string;
  /** `message` where none is named. */
  event: string;
  data: string;
}

/** Characters of one event; a log line of a job is far from it. */
const charactersAtMost = 1024 * 1024;

export class EventStreamParser {
  readonly #decoder = new TextDecoder();
  #rest = '';
  #id: string | undefined;
  #event = '';
  #data: string[] = [];
  #characters = 0;

  /** The events that end in `bytes`. Raises `protocol` when one has no end. */
  parse(bytes: Uint8Array): StreamEvent[] {
    const text = this.#rest + this.#decoder.decode(bytes, { stream: true });
    // a CR at the end may be half of a CRLF
    const lines = text.split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? '';
    const events: StreamEvent[] = [];
    for (const line of lines) {
      const event = this.#line(line);
      if (event) events.push(event);
    }
    this.#bound(this.#rest.length);
    return events;
  }

  #line(line: string): StreamEvent | undefined {
    if (line === '') return this.#ended();
    this.#characters += line.length;
    this.#bound(0);
    const [, field = '', value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
    if (field === 'id' && !value.includes('\0')) this.#id = value;
    if (field === 'event') this.#event = value;
    if (field === 'data') this.#data.push(value);
    return undefined;
  }

  #ended(): StreamEvent | undefined {
    const [data, event] = [this.#data, this.#event];
    this.#data = [];
    this.#event = '';
    this.#characters = 0;
    if (data.length === 0) return undefined;
    return {
      event: event || 'message',
      data: data.join('\n'),
      ...(this.#id !== undefined && { id: this.#id }),
    };
  }

  #bound(more: number): void {
    if (this.#characters + more <= charactersAtMost) return;
    throw new ProtocolError(`an event of the stream has more than ${charactersAtMost} characters`);
  }
}
