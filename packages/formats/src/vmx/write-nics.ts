/** The network cards of a description → keys of a .vmx. */
import type { MachineDescription, Nic, NicModel, NicNetwork } from '../machine/description.ts';
import { sameValue } from '../machine/translation.ts';
import { put, type VmxWriting } from './write-description.ts';
import { isVmxTrue } from './settings.ts';

/** VMware's names; the other cards it does not have. */
const vmwareNames: Partial<Record<NicModel, string>> = {
  e1000: 'e1000',
  e1000e: 'e1000e',
  pcnet: 'vlance',
  vmxnet: 'vmxnet',
  vmxnet2: 'vmxnet2',
  vmxnet3: 'vmxnet3',
};

/** Returns the numbers of the cards. Those that the file has are used first, in its order. */
export function writeVmxNics(writing: VmxWriting, { nics }: MachineDescription): number[] {
  const { vmx, before } = writing;
  const numbers = [...vmx.keys()].flatMap((key) => /^ethernet(\d{1,3})\.present$/i.exec(key)?.[1] ?? []);
  const there = numbers
    .map(Number)
    .filter((index) => isVmxTrue(vmx.get(`ethernet${index}.present`)))
    .sort((a, b) => a - b);
  const free = Array.from({ length: nics.length + 1000 }, (_, index) => index).filter(
    (index) => !there.includes(index),
  );
  for (const index of there.slice(nics.length)) vmx.deleteAll(`ethernet${index}.`);
  return nics.map((nic, at) => {
    const number = there[at] ?? free[at - there.length] ?? at;
    const known = before?.nics[at];
    if (!sameValue({ ...known, bootIndex: 0 }, { ...nic, bootIndex: 0 })) {
      writeNic(writing, { nic, number, where: `nics[${at}]` });
    }
    return number;
  });
}

function writeNic(
  { vmx, losses }: VmxWriting,
  { nic, number, where }: { nic: Nic; number: number; where: string },
): void {
  const { model, mac, network } = nic;
  const key = (name: string) => `ethernet${number}.${name}`;
  vmx.set(key('present'), 'TRUE');
  const name = model && vmwareNames[model];
  put(vmx, key('virtualDev'), name);
  if (name === undefined)
    losses.add(`${where}.model`, model, 'VMware has no such card and chooses by guestOS');
  const isGenerated = vmx.get(key('generatedAddress'))?.toLowerCase() === mac && mac !== undefined;
  if (!isGenerated) {
    for (const old of ['generatedAddress', 'generatedAddressOffset']) vmx.delete(key(old));
    vmx.set(key('addressType'), mac === undefined ? 'generated' : 'static');
    put(vmx, key('address'), mac);
  }
  const written = connection(network);
  for (const [member, value] of Object.entries(written.keys)) put(vmx, key(member), value);
  if (written.lost !== undefined) {
    losses.add(`${where}.network`, network, `VMware has no such network: ${written.lost}`);
  }
}

interface Connection {
  keys: Record<'connectionType' | 'networkName' | 'vnet', string | undefined>;
  lost?: string;
}

function connection({ kind, name }: NicNetwork): Connection {
  const keys = { connectionType: 'bridged', networkName: name, vnet: undefined };
  switch (kind) {
    case 'network':
      return { keys };
    case 'nat':
      return { keys: { ...keys, connectionType: 'nat' } };
    case 'host-only':
      return { keys: { ...keys, connectionType: 'hostonly' } };
    case 'none':
      return name === undefined
        ? { keys: { ...keys, connectionType: 'none' } }
        : { keys: { ...keys, connectionType: 'none', networkName: undefined }, lost: 'it has no name' };
    case 'bridge':
      return name === undefined
        ? { keys }
        : { keys: { connectionType: 'custom', networkName: undefined, vnet: name } };
    default:
      return { keys, lost: 'the card is bridged' };
  }
}
