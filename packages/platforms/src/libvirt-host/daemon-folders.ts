/** Where a daemon keeps what belongs to machines: the system's in places that are fixed, a user's own in that user's. */
import { dirname, join } from 'node:path';
import { PrimaError } from '@prima/base';
import { type LibvirtConnection, parseLibvirtUri } from '@prima/libvirt';
import { parseDomain } from './domain.ts';
import { endStandIn, standInPattern, startStandIn } from './stand-in.ts';

export interface DaemonFolders {
  /** Of QEMU's driver; saved memory is in its `save`. */
  qemu: string;
  /** With a folder for each run of a machine. */
  runs: string;
  /** Disks for which nothing else is told. */
  images: string;
  /** States of emulated TPMs. */
  tpm: string;
}

/** @param root `/var/lib/libvirt` unless told */
export function systemFolders(root = '/var/lib/libvirt'): DaemonFolders {
  const qemu = join(root, 'qemu');
  return { qemu, runs: qemu, images: join(root, 'images'), tpm: join(root, 'swtpm') };
}

/** Raises what starting a stand-in does, where another user's daemon has to be asked. */
export async function daemonFolders(uri: string, connection: LibvirtConnection): Promise<DaemonFolders> {
  const { target, name } = parseLibvirtUri(uri);
  if (!name.endsWith('/session')) return systemFolders();
  const isOurs = target.transport === 'unix' && target.isUsual;
  return isOurs ? ownFolders() : userFolders(await askForConfig(connection));
}

function ownFolders(): DaemonFolders {
  const home = process.env['HOME'] ?? '/';
  const config = process.env['XDG_CONFIG_HOME'] || join(home, '.config');
  const data = process.env['XDG_DATA_HOME'] || join(home, '.local/share');
  return userFolders(join(config, 'libvirt'), join(data, 'libvirt'));
}

/** @param config `~/.config/libvirt`, @param data `~/.local/share/libvirt` */
function userFolders(config: string, data = config.replace(/\.config\/libvirt$/, '.local/share/libvirt')) {
  const qemu = join(config, 'qemu');
  return { qemu, runs: join(qemu, 'lib'), images: join(data, 'images'), tpm: join(qemu, 'swtpm') };
}

/** Another user's HOME is not ours: a stand-in without disks has a file in the daemon's folders, and tells where. */
async function askForConfig(connection: LibvirtConnection): Promise<string> {
  const template = parseDomain(standInPattern('the folders of this daemon'), 'a stand-in');
  const standIn = await startStandIn({ connection, template, disks: [] });
  try {
    const file = await standIn.monitor('qom-get', { path: '/objects/masterKey0', property: 'file' });
    if (typeof file !== 'string' || !file.startsWith('/')) {
      throw new PrimaError('remote', `QEMU at ${connection.uri} does not tell where it keeps its files`);
    }
    return dirname(dirname(dirname(dirname(file)))); // CONFIG/qemu/lib/domain-1-name/master-key.aes
  } finally {
    await endStandIn(standIn, connection);
  }
}
