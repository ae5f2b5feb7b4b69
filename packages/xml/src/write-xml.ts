/** An XML tree → text, always UTF-8; and making and changing trees. */
import { assert } from '@prima/base';
import type { XmlAttribute, XmlDocument, XmlElement, XmlNode, XmlStyle } from './xml.ts';

export function writeXml(document: XmlDocument): string {
  const { declaration, before, root, after, style } = document;
  const lines = [
    ...(declaration === undefined ? [] : [`<?xml ${utf8(declaration)}?>`]),
    ...before.map((node) => writeNode(node, style)),
    writeNode(root, style),
    ...after.map((node) => writeNode(node, style)),
  ];
  const text = lines.join('\n') + (style.endsWithNewline ? '\n' : '');
  return style.newline === '\n' ? text : text.replaceAll('\n', '\r\n');
}

const utf8 = (declaration: string): string =>
  declaration.replace(/encoding="(?!utf-8")[^"]*"/i, 'encoding="UTF-8"');

function writeNode(node: XmlNode, style: XmlStyle): string {
  switch (node.type) {
    case 'text':
      return escapeText(node.text);
    case 'cdata':
      return `<![CDATA[${node.text}]]>`;
    case 'comment':
      return `<!--${node.text}-->`;
    case 'instruction':
      return `<?${node.text}?>`;
    default:
      return writeElement(node, style);
  }
}

function writeElement(element: XmlElement, style: XmlStyle): string {
  const { name, attributes, children, selfClosing } = element;
  const { quote } = style;
  const start = `<${name}${attributes
    .map((attribute) => ` ${attribute.name}=${quote}${escapeValue(attribute.value, quote)}${quote}`)
    .join('')}`;
  if (children.length === 0 && selfClosing) return `${start}${style.spaceBeforeSlash ? ' ' : ''}/>`;
  return `${start}>${children.map((child) => writeNode(child, style)).join('')}</${name}>`;
}

function escapeText(text: string): string {
  assert(isXmlText(text), 'text that XML cannot hold was replaced before');
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('\r', '&#13;');
}

function escapeValue(value: string, quote: string): string {
  return escapeText(value)
    .replaceAll(quote, quote === '"' ? '&quot;' : '&apos;')
    .replaceAll('\n', '&#10;')
    .replaceAll('\t', '&#9;');
}

/** False for control characters and half surrogates: XML 1.0 has no way to write them. */
function isXmlText(text: string): boolean {
  return !notXml.test(text);
}

/** What XML cannot hold, replaced by U+FFFD. */
export function toXmlText(text: string): string {
  return text.replaceAll(new RegExp(notXml, 'gu'), '\uFFFD');
}

const notXml = /(?![\t\n\r])\p{Cc}(?<![\x7F-\x9F])|[\uD800-\uDFFF\uFFFE\uFFFF]/u;

/** Text or an element for `newElement`. */
export type XmlContent = XmlElement | string;

/** What a new tree's elements are made of: prefixes and their namespaces; '' is the default one. */
export type XmlNamespaces = Readonly<Record<string, string>>;

/** Makes elements of one set of namespaces; attributes that are undefined are left out. */
export function elementMaker(namespaces: XmlNamespaces) {
  return (
    name: string,
    attributes: Readonly<Record<string, string | number | undefined>> = {},
    children: readonly XmlContent[] = [],
  ): XmlElement => {
    const { local, uri } = qualified(name, namespaces, namespaces[''] ?? '');
    return {
      type: 'element',
      name,
      local,
      uri,
      attributes: Object.entries(attributes).flatMap(([key, value]) =>
        value === undefined ? [] : [newAttribute(key, String(value), namespaces)],
      ),
      children: children.map((child) => (typeof child === 'string' ? { type: 'text', text: child } : child)),
      selfClosing: true,
    };
  };
}

function newAttribute(name: string, value: string, namespaces: XmlNamespaces): XmlAttribute {
  return { name, value, ...qualified(name, namespaces, '') };
}

function qualified(name: string, namespaces: XmlNamespaces, none: string): { local: string; uri: string } {
  const colon = name.indexOf(':');
  if (colon < 0) return { local: name, uri: none };
  return { local: name.slice(colon + 1), uri: namespaces[name.slice(0, colon)] ?? '' };
}

/** Sets an attribute without a namespace, in place where it is there; undefined removes it. */
export function setAttribute(element: XmlElement, name: string, value: string | number | undefined): void {
  const at = element.attributes.findIndex((attribute) => attribute.name === name);
  const found = element.attributes[at];
  if (value === undefined) {
    if (at >= 0) element.attributes.splice(at, 1);
  } else if (found) found.value = String(value);
  else element.attributes.push({ name, local: name, uri: '', value: String(value) });
}

/** Replaces the text of an element; comments in it stay. */
export function setText(element: XmlElement, text: string): void {
  element.children = element.children.filter(({ type }) => type === 'comment' || type === 'element');
  if (text !== '') element.children.push({ type: 'text', text });
}

/** Puts `child` after the sibling `after`, or at the end, indented as its neighbours are. */
export function insertChild(parent: XmlElement, child: XmlElement, after?: XmlNode): void {
  const at = after ? parent.children.indexOf(after) + 1 : endOf(parent);
  const indent = indentIn(parent);
  const pieces: XmlNode[] = indent === undefined ? [child] : [{ type: 'text', text: indent }, child];
  parent.children.splice(at, 0, ...pieces);
}

/** Takes `child` out, with the white space before it. */
export function removeChild(parent: XmlElement, child: XmlNode): void {
  const at = parent.children.indexOf(child);
  if (at < 0) return;
  const before = parent.children[at - 1];
  const isBlank = before?.type === 'text' && before.text.trim() === '';
  parent.children.splice(isBlank ? at - 1 : at, isBlank ? 2 : 1);
}

function endOf({ children }: XmlElement): number {
  const last = children.at(-1);
  return last?.type === 'text' && last.text.trim() === '' ? children.length - 1 : children.length;
}

function indentIn({ children }: XmlElement): string | undefined {
  const at = children.findIndex(({ type }) => type === 'element');
  const before = children[at - 1];
  return before?.type === 'text' && before.text.includes('\n') ? before.text : undefined;
}

/** Indents a tree that has no white space of its own; elements with text stay on one line. */
function indent(element: XmlElement, level = 0): XmlElement {
  if (!element.children.some(({ type }) => type === 'element')) return element;
  if (element.children.some((child) => child.type === 'text' && child.text.trim() !== '')) return element;
  const line = (depth: number): XmlNode => ({ type: 'text', text: `\n${'  '.repeat(depth)}` });
  const nodes = element.children.filter(({ type }) => type !== 'text');
  element.children = [
    ...nodes.flatMap((node) => [line(level + 1), node.type === 'element' ? indent(node, level + 1) : node]),
    line(level),
  ];
  return element;
}

/** A document around a new tree. */
export function newDocument(root: XmlElement, quote: '"' | "'", declaration?: string): XmlDocument {
  return {
    ...(declaration === undefined ? {} : { declaration }),
    before: [],
    root: indent(root),
    after: [],
    style: { quote, newline: '\n', spaceBeforeSlash: false, endsWithNewline: true },
  };
}
