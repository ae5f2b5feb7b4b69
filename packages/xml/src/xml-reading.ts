/**
 * Reading a tree and knowing what was read: whatever nobody asked for is listed afterwards, so that a translation
 * drops nothing in silence.
 */
import type { XmlAttribute, XmlElement } from './xml.ts';
import { attributeOf, elementsOf, textOf } from './xml-query.ts';

export class XmlReading {
  readonly #seen = new Set<XmlElement | XmlAttribute>();
  readonly #textsSeen = new Set<XmlElement>();

  /** The child elements called `local`, in any namespace; with none named, all. */
  children(parent: XmlElement | undefined, local?: string): XmlElement[] {
    const found = elementsOf(parent).filter((child) => local === undefined || child.local === local);
    for (const child of found) this.#seen.add(child);
    return found;
  }

  /** The first child called `local`; a second one stays unread. */
  child(parent: XmlElement | undefined, local: string): XmlElement | undefined {
    const found = elementsOf(parent).find((child) => child.local === local);
    if (found) this.#seen.add(found);
    return found;
  }

  attribute(element: XmlElement | undefined, local: string): string | undefined {
    const found = attributeOf(element, local);
    if (found) this.#seen.add(found);
    return found?.value;
  }

  /** The element's text without white space around it; undefined where the element is absent. */
  text(element: XmlElement | undefined): string | undefined {
    if (!element) return undefined;
    this.#textsSeen.add(element);
    return textOf(element);
  }

  /** The text of the first child called `local`. */
  childText(parent: XmlElement | undefined, local: string): string | undefined {
    return this.text(this.child(parent, local));
  }

  /** Counts an element as read with all that is in it: it says nothing, or was reported. */
  settle(element: XmlElement | undefined): void {
    if (!element) return;
    this.#seen.add(element);
    this.#textsSeen.add(element);
    for (const attribute of element.attributes) this.#seen.add(attribute);
    for (const child of elementsOf(element)) this.settle(child);
  }

  /** Counts the element itself as read. */
  mark(element: XmlElement): void {
    this.#seen.add(element);
  }

  isRead(element: XmlElement): boolean {
    return this.#seen.has(element);
  }

  /** Takes back: the element was looked at, and nothing was made of it. */
  unread(element: XmlElement | undefined): void {
    if (element) this.#seen.delete(element);
  }

  unreadAttribute(element: XmlElement, local: string): void {
    const found = attributeOf(element, local);
    if (found) this.#seen.delete(found);
  }

  /** The paths of what was not read, each with how often it is there; an element stands for all below it. */
  *unreadPaths(root: XmlElement): Generator<{ path: string; count: number; sample: string }> {
    const found = new Map<string, { count: number; sample: string }>();
    this.#collect(root, root.name, found);
    for (const [path, { count, sample }] of found) yield { path, count, sample };
  }

  #collect(element: XmlElement, path: string, found: Map<string, { count: number; sample: string }>): void {
    const add = (at: string, sample: string) => {
      const known = found.get(at);
      if (known) known.count += 1;
      else found.set(at, { count: 1, sample });
    };
    for (const attribute of element.attributes) {
      const isNamespace = attribute.name === 'xmlns' || attribute.name.startsWith('xmlns:');
      if (!isNamespace && !this.#seen.has(attribute)) add(`${path}/@${attribute.name}`, attribute.value);
    }
    const text = textOf(element);
    if (text !== '' && !this.#textsSeen.has(element)) add(`${path}/text()`, text);
    for (const child of elementsOf(element)) {
      if (this.#seen.has(child)) this.#collect(child, `${path}/${child.name}`, found);
      else add(`${path}/${child.name}`, sampleOf(child));
    }
  }
}

function sampleOf(element: XmlElement): string {
  const attributes = element.attributes.map(({ name, value }) => `${name}="${value}"`).join(' ');
  return [attributes, textOf(element)].filter((part) => part !== '').join(' ');
}
