/** The network cards of a .vmx. */
import { type Nic, type NicModel, type NicNetwork, nicModels } from '../machine/description.ts';
import { oneOf, parseMac } from '../machine/numbers.ts';
import { defined, type Losses } from '../machine/translation.ts';
import type { VmxReading } from './vmx-reading.ts';

export function readVmxNics(reading: VmxReading, losses: Losses): Nic[] {
  return reading.indices('ethernet').flatMap((index) => {
    const key = (name: string) => `ethernet${index}.${name}`;
    if (!reading.isTrue(key('present'))) {
      losses.add(key('present'), `ethernet${index}`, 'the file does not say that it is there');
      return [];
    }
    reading.settle(key('addressType'), key('generatedAddressOffset'), key('startConnected'));
    const fixed = reading.get(key('address'));
    const mac = parseMac(fixed ?? reading.get(key('generatedAddress')), `.vmx: ${key('address')}`);
    if (fixed !== undefined) reading.settle(key('generatedAddress'));
    return [
      defined<Nic>({ model: readModel(reading, key('virtualDev')), mac, network: network(reading, key) }),
    ];
  });
}

/** `vlance` is AMD's PCnet; other names are those of descriptions. */
function readModel(reading: VmxReading, key: string): NicModel | undefined {
  const written = reading.get(key);
  const model = written?.trim().toLowerCase() === 'vlance' ? 'pcnet' : oneOf<NicModel>(nicModels, written);
  if (written !== undefined && model === undefined) reading.unread(key);
  return model;
}

function network(reading: VmxReading, key: (name: string) => string): NicNetwork {
  const named = reading.get(key('networkName'));
  const type = reading.get(key('connectionType'))?.toLowerCase();
  switch (type) {
    case 'nat':
      return defined({ kind: 'nat', name: named });
    case 'hostonly':
      return defined({ kind: 'host-only', name: named });
    case 'custom':
      return defined({ kind: 'bridge', name: reading.get(key('vnet')) });
    case 'none':
      return { kind: 'none' };
    case undefined:
    case 'bridged':
    case 'monitor_dev':
      return named === undefined ? { kind: 'bridge' } : { kind: 'network', name: named };
    default:
      reading.unread(key('connectionType'));
      return defined({ kind: named === undefined ? 'none' : 'network', name: named });
  }
}
