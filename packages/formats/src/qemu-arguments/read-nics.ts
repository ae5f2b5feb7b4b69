/** The network cards of QEMU's arguments. */
import type { Nic, NicModel, NicNetwork } from '../machine/description.ts';
import { nameOf } from '../libvirt/domain-names.ts';
import { parseMac } from '../machine/numbers.ts';
import { defined } from '../machine/translation.ts';
import type { QemuArguments } from './arguments.ts';
import type { QemuOption } from './option.ts';
import { driverSpellings, hasIde, nicDrivers } from './qemu-names.ts';

export function readQemuNics(options: QemuArguments, machineType: string | undefined): Nic[] {
  const byId = new Map(options.all('netdev').map((netdev) => [netdev.get('id') ?? '', netdev]));
  const nics: Nic[] = [];
  for (const device of options.all('device')) {
    const model = modelOf(device);
    if (!model) continue;
    device.settle('driver', 'id', 'addr', 'bus', 'romfile');
    const netdev = byId.get(device.get('netdev') ?? '');
    nics.push(
      defined<Nic>({
        model,
        mac: parseMac(device.get('mac'), `${device.where}, mac`),
        network: netdev ? networkOf(netdev, netdev.get('type')) : { kind: 'none' },
        bootIndex: device.below('bootindex', 2 ** 31),
      }),
    );
  }
  for (const option of options.all('nic')) {
    const type = option.get('type');
    if (type !== 'none') nics.push(shortNic(option, 'mac', networkOf(option, type)));
  }
  nics.push(...legacyNics(options));
  const isSaid = ['netdev', 'nic', 'net', 'nodefaults'].some((name) => options.has(name)) || nics.length > 0;
  return isSaid ? nics : [{ model: hasIde(machineType) ? 'e1000' : 'e1000e', network: { kind: 'nat' } }];
}

function modelOf(device: QemuOption): NicModel | undefined {
  const names = [...Object.values(nicDrivers), ...Object.keys(driverSpellings)];
  const driver = names.find((name) => device.is('driver', name));
  return nameOf(nicDrivers, driver === undefined ? undefined : (driverSpellings[driver] ?? driver));
}

function shortNic(option: QemuOption, macKey: string, network: NicNetwork): Nic {
  const written = option.get('model');
  const model = nameOf(nicDrivers, written === undefined ? undefined : (driverSpellings[written] ?? written));
  if (written !== undefined && !model) option.unreadKey('model');
  return defined<Nic>({ model, mac: parseMac(option.get(macKey), `${option.where}, ${macKey}`), network });
}

/** `-net nic -net user`: all on one hub. */
function legacyNics(options: QemuArguments): Nic[] {
  const all = options.all('net');
  const cards = all.filter((option) => option.is('type', 'nic'));
  const others = all.filter((option) => !option.is('type', 'nic') && !option.is('type', 'none'));
  for (const option of all) option.settle('type');
  for (const option of others.slice(1)) option.unread();
  const [hub] = others;
  const network = hub ? networkOf(hub, hub.get('type')) : { kind: 'none' as const };
  return cards.map((card) => shortNic(card, 'macaddr', { ...network }));
}

function networkOf(option: QemuOption, type: string | undefined): NicNetwork {
  option.settle('id');
  switch (type) {
    case 'user':
      return { kind: 'nat' };
    case 'bridge':
      option.settle('helper');
      return defined({ kind: 'bridge', name: option.get('br') });
    case 'tap':
      option.settle('script', 'downscript', 'vhost');
      return defined({ kind: 'tap', name: option.get('ifname') });
    default:
      option.unread();
      return { kind: 'none' };
  }
}
