/** The network cards of a description → items of an OVF envelope. */
import type { MachineDescription } from '../machine/description.ts';
import type { Losses } from '../machine/translation.ts';
import type { ItemMaker } from './items.ts';
import { nicSubTypes, resourceType } from './ovf-names.ts';

export function writeNicItems(items: ItemMaker, { nics }: MachineDescription, losses: Losses): void {
  for (const [at, { model, mac, network, bootIndex }] of nics.entries()) {
    const { kind, name } = network;
    const isCarried = kind === 'network' || (kind === 'none' && name === undefined);
    if (!isCarried) {
      losses.add(`nics[${at}].network`, network, 'an envelope has networks by name only');
    }
    losses.add(`nics[${at}].bootIndex`, bootIndex, 'an envelope has no order of devices');
    items.add(resourceType.ethernet, {
      name: `Network adapter ${at + 1}`,
      subType: model && nicSubTypes[model][0],
      addressOnParent: at,
      more: {
        'rasd:Address': mac,
        'rasd:AutomaticAllocation': 'true',
        'rasd:Connection': name,
      },
    });
  }
}
