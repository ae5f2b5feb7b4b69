/** Items of a VirtualHardwareSection in the making, numbered from 1. Their children are in the order of the alphabet, as CIM's schema wants. */
import { elementMaker, type XmlElement } from '@prima/xml';
import { ovfNamespaces } from './ovf-names.ts';

const element = elementMaker(ovfNamespaces);

export interface NewItem {
  name: string;
  subType?: string;
  parent?: number;
  /** Where it is on its parent. */
  addressOnParent?: number;
  isOptional?: boolean;
  more?: Readonly<Record<string, string | number | undefined>>;
}

export interface ItemMaker {
  readonly elements: readonly XmlElement[];
  /** Returns the item's number. */
  add(resourceType: number, item: NewItem): number;
}

export function makeItems(): ItemMaker {
  const elements: XmlElement[] = [];
  return {
    elements,
    add: (resourceType, { name, subType, parent, addressOnParent, isOptional, more }) => {
      const id = elements.length + 1;
      const members: Record<string, string | number | undefined> = {
        'rasd:AddressOnParent': addressOnParent,
        'rasd:ElementName': name,
        'rasd:InstanceID': id,
        'rasd:Parent': parent,
        'rasd:ResourceSubType': subType,
        'rasd:ResourceType': resourceType,
        ...more,
      };
      const rank = (key: string) => (key.startsWith('rasd:') ? key : `~${key}`);
      const children = Object.entries(members)
        .sort(([a], [b]) => (rank(a) < rank(b) ? -1 : 1))
        .flatMap(([key, value]) =>
          value === undefined
            ? []
            : [element(key, key.startsWith('vmw:') ? { 'ovf:required': 'false' } : {}, [String(value)])],
        );
      elements.push(element('Item', isOptional ? { 'ovf:required': 'false' } : {}, children));
      return id;
    },
  };
}
