/** Puts one item of a libvirt host's configuration back: host-configuration.ts in the other direction. */
import { PrimaError, toPrimaError } from '@prima/base';
import type { LibvirtConnection } from '@prima/libvirt';
import { elementAt, parseXml, removeChild, setText, textAt, valueOf, writeXml } from '@prima/xml';
import type { HostItem, PutHostItemOptions } from '../host-item.ts';
import { type FilePermissions, writeHostFile } from './host-files.ts';

type Sort = 'networks' | 'pools' | 'nwfilters' | 'secrets' | 'etc';

interface Putting {
  connection: LibvirtConnection;
  item: HostItem;
  /** As it is to be defined. */
  xml: string;
  replaces?: HostItem;
  notes: string[];
}

/** See `HostConfigurationPlatform`. */
export function whyHostItemNotPut({ name, state }: HostItem): string | undefined {
  if (name === 'host') return 'it tells what the host was';
  if (name.startsWith('interfaces/')) return "the host's own network cards are set up by its distribution";
  if (state['transient'] === true) return 'it was transient: what made it makes it again';
  return sortOf(name) ? undefined : 'this version of Prima does not know it';
}

export async function putHostItem(
  connection: LibvirtConnection,
  item: HostItem,
  { replaces }: PutHostItemOptions = {},
): Promise<string[]> {
  const why = whyHostItemNotPut(item);
  const sort = sortOf(item.name);
  if (why !== undefined || !sort) throw new PrimaError('unsupported', `${item.name}: ${why}`);
  const notes: string[] = [];
  const xml = sort === 'etc' ? '' : definitionOf(item, replaces);
  await puts[sort]({ connection, item, xml, notes, ...(replaces ? { replaces } : {}) });
  return notes;
}

function sortOf(name: string): Sort | undefined {
  const sort = name.slice(0, Math.max(0, name.indexOf('/')));
  return Object.hasOwn(puts, sort) ? (sort as Sort) : undefined;
}

/** libvirt takes a definition of a name that is there only with the UUID that is there. */
function definitionOf({ name, content }: HostItem, replaces: HostItem | undefined): string {
  const document = parseXml(content, name);
  if (!replaces) return writeXml(document);
  const old = textAt(parseXml(replaces.content, name).root, 'uuid');
  const uuid = elementAt(document.root, 'uuid');
  if (uuid && old !== undefined) setText(uuid, old);
  else if (uuid) removeChild(document.root, uuid);
  return writeXml(document);
}

const puts: Record<Sort, (putting: Putting) => Promise<void>> = {
  networks: putNetwork,
  pools: putPool,
  nwfilters: async ({ connection, xml }) => void (await connection.call('nwfilterDefineXml', { xml })),
  secrets: putSecret,
  etc: putFile,
};

async function putNetwork(putting: Putting): Promise<void> {
  const { connection, item, xml } = putting;
  const { network } = await connection.call('networkDefineXml', { xml });
  const autostart = item.state['autostart'] === true;
  await step(putting, `autostart is not ${autostart ? 'on' : 'off'}`, async () => {
    await connection.call('networkSetAutostart', { network, autostart });
  });
  const { active } = await connection.call('networkIsActive', { network });
  if (active && putting.replaces) {
    putting.notes.push(
      'it is active: what changed is used when it is started again (virsh net-destroy, net-start)',
    );
  }
  if (active || item.state['active'] !== true) return;
  await step(
    putting,
    'it is not started',
    async () => void (await connection.call('networkCreate', { network })),
  );
}

async function putPool(putting: Putting): Promise<void> {
  const { connection, item, xml } = putting;
  const { pool } = await connection.call('storagePoolDefineXml', { xml });
  const autostart = item.state['autostart'] === true;
  await step(putting, `autostart is not ${autostart ? 'on' : 'off'}`, async () => {
    await connection.call('storagePoolSetAutostart', { pool, autostart });
  });
  const { active } = await connection.call('storagePoolIsActive', { pool });
  if (active && putting.replaces)
    putting.notes.push(
      'it is active: what changed is used when it is started again (virsh pool-destroy, pool-start)',
    );
  if (active || item.state['active'] !== true) return;
  await step(putting, 'it is not started', async () => {
    // building a pool of any other type may write over what is on its devices
    const isFolder = valueOf(parseXml(xml, item.name).root, 'type') === 'dir';
    if (isFolder) await connection.call('storagePoolBuild', { pool });
    await connection.call('storagePoolCreate', { pool });
  });
}

async function putSecret(putting: Putting): Promise<void> {
  const { connection, item, xml } = putting;
  const { secret } = await connection.call('secretDefineXml', { xml });
  const { value } = item;
  if (value) await connection.call('secretSetValue', { secret, value });
  else putting.notes.push('its value is not in the point: set it (virsh secret-set-value)');
}

async function putFile({ connection, item, notes }: Putting): Promise<void> {
  const { mode, owner, group } = item.state;
  const permissions: FilePermissions = {
    mode: typeof mode === 'string' ? mode : '0600',
    ...(typeof owner === 'string' ? { owner } : {}),
    ...(typeof group === 'string' ? { group } : {}),
  };
  const path = `/${item.name}`;
  try {
    await writeHostFile(connection, path, item.content, { permissions });
  } catch (error) {
    if (!/No such file or directory/.test(toPrimaError(error, `writing ${path}`).message)) throw error;
    await writeHostFile(connection, path, item.content, { permissions, makeFolders: true });
  }
  notes.push('it is read when libvirt (or the network) is started again');
}

/** What the definition does not need: it stays when this fails. */
async function step(
  { connection, notes }: Putting,
  whatIsNot: string,
  task: () => Promise<void>,
): Promise<void> {
  try {
    await task();
  } catch (error) {
    const failure = toPrimaError(error, whatIsNot);
    if (failure.code === 'internal' || connection.failure) throw failure;
    notes.push(`${whatIsNot}: ${failure.message}`);
  }
}
