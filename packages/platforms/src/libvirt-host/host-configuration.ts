/** What would be needed to set up a libvirt host again: everything that is defined there but the machines, and files that rule it. */
import { MiB, toPrimaError } from '@prima/base';
import {
  type LibvirtConnection,
  LibvirtError,
  type Network,
  NetworkXmlFlags,
  type Secret,
  type StoragePool,
  StorageXmlFlags,
} from '@prima/libvirt';
import { elementAt, parseXml, valueOf } from '@prima/xml';
import type { HostItem, HostItemState } from '../host-item.ts';
import { readHostFolder } from './host-files.ts';

const fileLimitBytes = 1 * MiB;

/** Of libvirt itself, and of the network cards and bridges that its networks lie on, as the distributions keep them. */
const folders: readonly (readonly [path: string, wanted: RegExp])[] = [
  ['/etc/libvirt', /\.conf$/],
  ['/etc/libvirt/hooks', /./],
  ...['daemon', 'libxl', 'lxc', 'network', 'qemu'].map(
    (name) => [`/etc/libvirt/hooks/${name}.d`, /./] as const,
  ),
  ['/etc/network', /^interfaces$/],
  ['/etc/network/interfaces.d', /./],
  ['/etc/netplan', /\.yaml$/],
  ['/etc/systemd/network', /\.(?:network|netdev|link)$/],
  ['/etc/NetworkManager/system-connections', /./],
  ['/etc/sysconfig/network-scripts', /^(?:ifcfg|route)-/],
];

/** Interfaces that come and go with machines. */
const machineInterface = /^(?:vnet|macvtap|tap)\d+$/;

type Warn = (text: string) => void;

export async function* hostConfiguration(
  connection: LibvirtConnection,
  warn: Warn,
): AsyncGenerator<HostItem> {
  yield await facts(connection);
  const bridges = new Set<string>();
  for (const network of (await connection.call('connectListAllNetworks', {})).networks) {
    const { item, bridge } = await networkItem(connection, network);
    yield item;
    if (bridge !== undefined) bridges.add(bridge);
  }
  for (const pool of (await connection.call('connectListAllStoragePools', {})).pools) {
    const item = await poolItem(connection, pool);
    if (item) yield item;
  }
  for (const nwfilter of (await connection.call('connectListAllNwfilters', {})).filters) {
    const { xml } = await connection.call('nwfilterGetXmlDesc', { nwfilter });
    yield xmlItem('nwfilters', nwfilter.name, xml);
  }
  for (const secret of (await connection.call('connectListAllSecrets', {})).secrets) {
    yield await secretItem(connection, secret, warn);
  }
  const { interfaces } = await connection.call('connectListAllInterfaces', {}).catch(withoutDriver);
  for (const card of interfaces) {
    if (machineInterface.test(card.name) || bridges.has(card.name.replace(/-nic$/, ''))) continue;
    const { xml } = await connection.call('interfaceGetXmlDesc', { interface: card });
    yield xmlItem('interfaces', card.name, xml);
  }
  for (const [folder, wanted] of folders) yield* fileItems(connection, { folder, wanted, warn });
}

/** Not every daemon has a driver for the host's own network cards. */
function withoutDriver(error: unknown): { interfaces: [] } {
  if (error instanceof LibvirtError && error.code === 'unsupported') return { interfaces: [] };
  throw error;
}

async function facts(connection: LibvirtConnection): Promise<HostItem> {
  const { hostname } = await connection.call('connectGetHostname', {});
  const { version: libvirt } = await connection.call('connectGetLibVersion', {});
  const { version: hypervisor } = await connection.call('connectGetVersion', {});
  const { domains } = await connection.call('connectListAllDomains', {});
  const machines = domains.map(({ name, uuid }) => ({ name, uuid }));
  const host = { hostname, libvirt, hypervisor, machines };
  return {
    name: 'host',
    content: Buffer.from(`${JSON.stringify(host, undefined, 2)}\n`),
    state: { hostname, libvirt: versionText(libvirt), hypervisor: versionText(hypervisor) },
  };
}

export function versionText(version: number): string {
  return `${Math.floor(version / 1_000_000)}.${Math.floor((version % 1_000_000) / 1000)}.${version % 1000}`;
}

function xmlItem(sort: string, name: string, xml: string, state: HostItemState = {}): HostItem {
  return { name: `${sort}/${encodeURIComponent(name)}`, content: Buffer.from(xml), state };
}

/** What is not persistent goes with the host's next start: whatever made it makes it again. */
const stateOf = (state: { autostart: boolean; active: boolean; persistent: boolean }): HostItemState =>
  state.persistent ? { autostart: state.autostart, active: state.active } : { transient: true };

async function networkItem(
  connection: LibvirtConnection,
  network: Network,
): Promise<{ item: HostItem; bridge?: string | undefined }> {
  const { persistent } = await connection.call('networkIsPersistent', { network });
  const flags = persistent ? NetworkXmlFlags.VIR_NETWORK_XML_INACTIVE : 0;
  const { xml } = await connection.call('networkGetXmlDesc', { network, flags });
  const { autostart } = await connection.call('networkGetAutostart', { network });
  const { active } = await connection.call('networkIsActive', { network });
  const { root } = parseXml(xml, `the network ${network.name}`);
  const isOwnBridge = valueOf(elementAt(root, 'forward'), 'mode') !== 'bridge';
  const bridge = isOwnBridge ? valueOf(elementAt(root, 'bridge'), 'name') : undefined;
  return {
    item: xmlItem('networks', network.name, xml, stateOf({ autostart, active, persistent })),
    bridge,
  };
}

/** Undefined for those that Prima makes to read files with. */
async function poolItem(connection: LibvirtConnection, pool: StoragePool): Promise<HostItem | undefined> {
  const { persistent } = await connection.call('storagePoolIsPersistent', { pool });
  if (!persistent && /^prima-[0-9a-f]{12}$/.test(pool.name)) return undefined;
  const flags = persistent ? StorageXmlFlags.VIR_STORAGE_XML_INACTIVE : 0;
  const { xml } = await connection.call('storagePoolGetXmlDesc', { pool, flags });
  const { autostart } = await connection.call('storagePoolGetAutostart', { pool });
  const { active } = await connection.call('storagePoolIsActive', { pool });
  return xmlItem('pools', pool.name, xml, stateOf({ autostart, active, persistent }));
}

async function secretItem(connection: LibvirtConnection, secret: Secret, warn: Warn): Promise<HostItem> {
  const { xml } = await connection.call('secretGetXmlDesc', { secret });
  const item = xmlItem('secrets', secret.uuid, xml);
  try {
    const { value } = await connection.call('secretGetValue', { secret });
    return { ...item, value };
  } catch (error) {
    if (!(error instanceof LibvirtError)) throw error;
    if (error.libvirtCode !== 'VIR_ERR_NO_SECRET')
      warn(`the value of the secret ${secret.uuid} is not in the point: ${error.text}`);
    return item;
  }
}

async function* fileItems(
  connection: LibvirtConnection,
  { folder, wanted, warn }: { folder: string; wanted: RegExp; warn: Warn },
): AsyncGenerator<HostItem> {
  try {
    for (const file of await readHostFolder(connection, folder, { wanted, limitBytes: fileLimitBytes })) {
      const name = `${folder}/${file.name}`.slice(1);
      yield { name, content: file.bytes, state: { ...file.permissions } };
    }
  } catch (error) {
    const failure = toPrimaError(error, `reading ${folder}`);
    if (failure.code === 'cancelled' || failure.code === 'internal' || connection.failure) throw failure;
    warn(`the files of ${folder} are not in the point: ${failure.message}`);
  }
}
