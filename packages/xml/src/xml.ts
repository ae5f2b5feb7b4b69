/**
 * XML 1.0 with namespaces as a tree that is written as it was read: order, comments, text and prefixes stay.
 * Refused: document types (and with them every entity but the five of XML and characters by number), more than
 * 4 MiB, 100,000 nodes or 64 levels. Nothing outside the text is ever read. See docs/decisions/0014-xml.md.
 */
import { FormatError } from '@prima/base';
import { SaxesParser, type SaxesAttributeNS } from 'saxes';

export interface XmlAttribute {
  /** As written, with its prefix: `ovf:id`. */
  name: string;
  local: string;
  uri: string;
  value: string;
}

export interface XmlElement {
  type: 'element';
  /** As written, with its prefix: `rasd:InstanceID`. */
  name: string;
  local: string;
  uri: string;
  attributes: XmlAttribute[];
  children: XmlNode[];
  /** How an element without content is written: `<a/>`. */
  selfClosing: boolean;
}

export interface XmlText {
  type: 'text' | 'cdata' | 'comment' | 'instruction';
  text: string;
}

export type XmlNode = XmlElement | XmlText;

export interface XmlDocument {
  /** Without `<?xml` and `?>`; undefined: there is none. */
  declaration?: string;
  /** Comments and instructions around the root. */
  before: XmlText[];
  root: XmlElement;
  after: XmlText[];
  style: XmlStyle;
}

/** What a writer needs to know to leave a file as it was. */
export interface XmlStyle {
  quote: '"' | "'";
  newline: '\n' | '\r\n';
  /** ` />` instead of `/>`. */
  spaceBeforeSlash: boolean;
  endsWithNewline: boolean;
}

const limitBytes = 4 * 1024 * 1024;
const limitNodes = 100_000;
const limitDepth = 64;

/**
 * Parses a document: bytes, whose encoding is told by a byte order mark or the declaration, or text.
 * Raises `format` with line and column. `what` begins the messages: "the libvirt domain web.xml".
 */
export function parseXml(source: string | Uint8Array, what: string): XmlDocument {
  const size = typeof source === 'string' ? Buffer.byteLength(source) : source.length;
  if (size > limitBytes) {
    throw new FormatError(`${what}: ${size} bytes where at most ${limitBytes} were expected`);
  }
  const text = (typeof source === 'string' ? source : decode(source, what)).replace(/^\uFEFF/, '');
  const builder = new TreeBuilder(what);
  builder.parse(text);
  const root = builder.root;
  if (!root) throw new FormatError(`${what}: it has no root element`);
  const { declaration, before, after } = builder;
  return { ...(declaration === undefined ? {} : { declaration }), before, root, after, style: styleOf(text) };
}

class TreeBuilder {
  declaration: string | undefined;
  root: XmlElement | undefined;
  readonly before: XmlText[] = [];
  readonly after: XmlText[] = [];
  readonly #what: string;
  readonly #open: XmlElement[] = [];
  readonly #parser = new SaxesParser({ xmlns: true, position: true });
  #nodes = 0;

  constructor(what: string) {
    this.#what = what;
    const parser = this.#parser;
    parser.on('error', (error) => this.#fail(error.message.replace(/^\d+:\d+: /, '')));
    parser.on('doctype', () => this.#fail('a document type (DOCTYPE), which is not accepted'));
    parser.on('xmldecl', ({ version, encoding, standalone }) => {
      const named = { version, encoding, standalone };
      this.declaration = Object.entries(named)
        .flatMap(([name, value]) => (value === undefined ? [] : [`${name}="${value}"`]))
        .join(' ');
    });
    parser.on('opentag', (tag) => {
      const { name, local, uri, isSelfClosing: selfClosing } = tag;
      const attributes = Object.values(tag.attributes).map(attributeOf);
      this.#nodes += attributes.length;
      this.#openElement({ type: 'element', name, local, uri, attributes, children: [], selfClosing });
    });
    parser.on('closetag', () => this.#open.pop());
    parser.on('text', (text) => this.#add({ type: 'text', text }));
    parser.on('cdata', (text) => this.#add({ type: 'cdata', text }));
    parser.on('comment', (text) => this.#add({ type: 'comment', text }));
    parser.on('processinginstruction', ({ target, body }) =>
      this.#add({ type: 'instruction', text: body === '' ? target : `${target} ${body}` }),
    );
  }

  parse(text: string): void {
    this.#parser.write(text).close();
  }

  #fail(found: string): never {
    const { line, column } = this.#parser;
    throw new FormatError(`${this.#what}, line ${line}, column ${column}: ${found}`, {
      details: { line, column },
    });
  }

  #openElement(element: XmlElement): void {
    this.#add(element);
    this.#open.push(element);
    if (this.#open.length > limitDepth) this.#fail(`more than ${limitDepth} elements within each other`);
  }

  #add(node: XmlNode): void {
    this.#nodes += 1;
    if (this.#nodes > limitNodes) this.#fail(`more than ${limitNodes} elements, attributes and texts`);
    const parent = this.#open.at(-1);
    if (parent) parent.children.push(node);
    else if (node.type === 'element') this.root ??= node;
    else if (node.type !== 'text') (this.root ? this.after : this.before).push(node);
  }
}

function attributeOf({ name, local, uri, value }: SaxesAttributeNS): XmlAttribute {
  return { name, local, uri, value };
}

function styleOf(text: string): XmlStyle {
  return {
    quote: /^(?:<\?xml[^>]*\?>)?[^"']*'/.test(text) ? "'" : '"',
    newline: text.includes('\r\n') ? '\r\n' : '\n',
    spaceBeforeSlash: text.includes(' />'),
    endsWithNewline: text.endsWith('\n'),
  };
}

function decode(bytes: Uint8Array, what: string): string {
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 200)).toString('latin1');
  const declared = /^(?:\xEF\xBB\xBF)?<\?xml[^>]*?\sencoding\s*=\s*["']([\w.:-]{1,40})["']/.exec(start)?.[1];
  const encoding = start.startsWith('\xFF\xFE')
    ? 'utf-16le'
    : start.startsWith('\xFE\xFF')
      ? 'utf-16be'
      : (declared ?? 'utf-8');
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch (error) {
    throw new FormatError(`${what}: the bytes are not ${encoding}, as the file says or as is usual`, {
      cause: error,
    });
  }
}
