/** The network cards of an OVF envelope. */
import type { Nic } from '../machine/description.ts';
import { parseMac } from '../machine/numbers.ts';
import { defined } from '../machine/translation.ts';
import type { XmlReading } from '@prima/xml';
import type { OvfEnvelope } from './envelope.ts';
import { nicSubTypes, resourceType, subTypeOf } from './ovf-names.ts';

export function readOvfNics(reading: XmlReading, { items }: OvfEnvelope): Nic[] {
  return items
    .filter((item) => item.resourceType === resourceType.ethernet)
    .map(({ element, subType }) => {
      const model = subTypeOf(nicSubTypes, subType);
      if (subType !== '' && !model) reading.unread(reading.child(element, 'ResourceSubType'));
      const address = reading.childText(element, 'MACAddress') ?? reading.childText(element, 'Address');
      const name = reading.childText(element, 'Connection');
      return defined<Nic>({
        model,
        mac: parseMac(address, 'OVF: the address of a network card'),
        network: name === undefined || name === '' ? { kind: 'none' } : { kind: 'network', name },
      });
    });
}
