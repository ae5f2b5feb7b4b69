/** What would be needed to set up a libvirt host again: everything that is defined there but the machines. */
import { MiB, toPrimaError } from '@prima/base';
import { type LibvirtConnection, LibvirtError, NetworkXmlFlags, StorageXmlFlags } from '@prima/libvirt';
import type { ConfigFile } from '../platform.ts';
import { readHostFile } from './host-files.ts';

const fileLimitBytes = 1 * MiB;
const etcFolder = '/etc/libvirt';
const etcFiles = [
  'qemu.conf',
  'libvirtd.conf',
  'virtqemud.conf',
  'hooks/qemu',
  'hooks/network',
  'hooks/daemon',
  'hooks/libvirtd',
];

export async function* hostConfiguration(connection: LibvirtConnection): AsyncGenerator<ConfigFile> {
  yield await facts(connection);
  const { networks } = await connection.call('connectListAllNetworks', {});
  for (const network of networks) {
    const flags = NetworkXmlFlags.VIR_NETWORK_XML_INACTIVE;
    const { xml } = await connection.call('networkGetXmlDesc', { network, flags });
    yield xmlFile('networks', network.name, xml);
  }
  const { pools } = await connection.call('connectListAllStoragePools', {});
  for (const pool of pools) {
    const flags = StorageXmlFlags.VIR_STORAGE_XML_INACTIVE;
    yield xmlFile('pools', pool.name, (await connection.call('storagePoolGetXmlDesc', { pool, flags })).xml);
  }
  const { filters } = await connection.call('connectListAllNwfilters', {});
  for (const nwfilter of filters) {
    yield xmlFile(
      'nwfilters',
      nwfilter.name,
      (await connection.call('nwfilterGetXmlDesc', { nwfilter })).xml,
    );
  }
  const { interfaces } = await connection.call('connectListAllInterfaces', {}).catch(withoutDriver);
  for (const card of interfaces) {
    const { xml } = await connection.call('interfaceGetXmlDesc', { interface: card });
    yield xmlFile('interfaces', card.name, xml);
  }
  yield* secrets(connection);
  for (const name of etcFiles) {
    const bytes = await etcFile(connection, name);
    if (bytes) yield { name: `etc/${name}`, bytes };
  }
}

/** Not every daemon has a driver for the host's own network cards. */
function withoutDriver(error: unknown): { interfaces: [] } {
  if (error instanceof LibvirtError && error.code === 'unsupported') return { interfaces: [] };
  throw error;
}

async function facts(connection: LibvirtConnection): Promise<ConfigFile> {
  const { hostname } = await connection.call('connectGetHostname', {});
  const { version: libvirt } = await connection.call('connectGetLibVersion', {});
  const { version: hypervisor } = await connection.call('connectGetVersion', {});
  const { domains } = await connection.call('connectListAllDomains', {});
  const machines = domains.map(({ name, uuid }) => ({ name, uuid }));
  const host = { version: 1, hostname, libvirt, hypervisor, machines };
  return { name: 'libvirt-host.json', bytes: Buffer.from(`${JSON.stringify(host, undefined, 2)}\n`) };
}

/** Names of networks and pools may hold anything but a slash. */
function xmlFile(folder: string, name: string, xml: string): ConfigFile {
  return { name: `${folder}/${encodeURIComponent(name)}.xml`, bytes: Buffer.from(xml) };
}

/** With their values, but for those that libvirt gives to nobody (`private`). */
async function* secrets(connection: LibvirtConnection): AsyncGenerator<ConfigFile> {
  for (const secret of (await connection.call('connectListAllSecrets', {})).secrets) {
    yield xmlFile('secrets', secret.uuid, (await connection.call('secretGetXmlDesc', { secret })).xml);
    try {
      const { value } = await connection.call('secretGetValue', { secret });
      yield { name: `secrets/${secret.uuid}.value`, bytes: value };
    } catch (error) {
      if (!(error instanceof LibvirtError)) throw error; // it has no value, or keeps it to itself
    }
  }
}

async function etcFile(connection: LibvirtConnection, name: string): Promise<Uint8Array | undefined> {
  try {
    return await readHostFile(connection, `${etcFolder}/${name}`, fileLimitBytes);
  } catch (error) {
    const failure = toPrimaError(error, `reading ${name}`);
    if (failure.code === 'cancelled' || connection.failure) throw failure;
    return undefined; // no hooks, no such daemon
  }
}
