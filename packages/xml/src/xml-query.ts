/** Looking into a tree. */
import type { XmlAttribute, XmlElement } from './xml.ts';

/** The element's child elements. */
export function elementsOf(parent: XmlElement | undefined): XmlElement[] {
  return (parent?.children ?? []).filter((node) => node.type === 'element');
}

/** The first attribute called `local` in any namespace; one without a namespace first. */
export function attributeOf(element: XmlElement | undefined, local: string): XmlAttribute | undefined {
  const found = (element?.attributes ?? []).filter(
    (attribute) => attribute.local === local && !attribute.name.startsWith('xmlns'),
  );
  return found.find(({ uri }) => uri === '') ?? found[0];
}

/** The element's own text without white space around it. */
export function textOf(element: XmlElement): string {
  return element.children
    .map((node) => (node.type === 'text' || node.type === 'cdata' ? node.text : ''))
    .join('')
    .trim();
}

/** The element at a path of local names below `parent`, the first of each: `at(domain, 'os', 'nvram')`. */
export function elementAt(parent: XmlElement | undefined, ...path: string[]): XmlElement | undefined {
  return path.reduce<XmlElement | undefined>(
    (element, local) => elementsOf(element).find((child) => child.local === local),
    parent,
  );
}

/** The value of an attribute, whatever its namespace. */
export function valueOf(element: XmlElement | undefined, local: string): string | undefined {
  return attributeOf(element, local)?.value;
}

/** The text of the element at a path; undefined where it is absent. */
export function textAt(parent: XmlElement | undefined, ...path: string[]): string | undefined {
  const element = elementAt(parent, ...path);
  return element && textOf(element);
}
