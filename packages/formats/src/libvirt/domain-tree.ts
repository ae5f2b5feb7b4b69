/** Finding and making elements in a domain that is written. */
import { elementMaker, insertChild, removeChild, type XmlElement } from '@prima/xml';

const element = elementMaker({});

export function findChildren(parent: XmlElement, local: string): XmlElement[] {
  return parent.children.filter((node) => node.type === 'element' && node.local === local) as XmlElement[];
}

export function findChild(parent: XmlElement, local: string): XmlElement | undefined {
  return findChildren(parent, local)[0];
}

/** The first child called `name`, made where there is none. */
export function ensureChild(parent: XmlElement, name: string): XmlElement {
  const found = findChild(parent, name);
  if (found) return found;
  const made = element(name);
  insertChild(parent, made);
  return made;
}

export function removeChildren(parent: XmlElement, local: string): void {
  for (const child of findChildren(parent, local)) removeChild(parent, child);
}

/** Puts `child` in the place of the first of its name, or at the end. */
export function replaceChild(parent: XmlElement, child: XmlElement): void {
  const found = findChild(parent, child.local);
  if (found) parent.children[parent.children.indexOf(found)] = child;
  else insertChild(parent, child);
}

/** An empty child that is there or not: `<readonly/>`. */
export function flagChild(parent: XmlElement, name: string, isThere: boolean): void {
  if (isThere) ensureChild(parent, name);
  else removeChildren(parent, name);
}

/** Puts a device behind the last of its kind. */
export function insertDevice(devices: XmlElement, device: XmlElement): void {
  insertChild(devices, device, findChildren(devices, device.local).at(-1));
}
