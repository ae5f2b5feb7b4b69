/** Whether a daemon can be worked with: what `prima host test` says. */
import { PrimaError, toPrimaError } from '@prima/base';
import type { LibvirtConnection } from '@prima/libvirt';
import { tlsPorts } from './disk-server.ts';
import { diskWay } from './disk-way.ts';
import { domainsOf } from './domains-of.ts';
import { versionText } from './host-configuration.ts';
import type { HostLink } from './link.ts';
import { otherScratchFolder } from './plan.ts';

export interface DaemonCheck {
  name: string;
  ok: boolean;
  detail: string;
}

/** Raises nothing: what fails is a check that is not ok. Without a connection there is only that one. */
export async function testDaemon(link: HostLink): Promise<DaemonCheck[]> {
  const checks: DaemonCheck[] = [];
  const check = async (name: string, task: (connection: LibvirtConnection) => Promise<string>) => {
    try {
      checks.push({ name, ok: true, detail: await task(await link.connection()) });
    } catch (error) {
      checks.push({ name, ok: false, detail: toPrimaError(error, name).message });
    }
  };
  await check('connection', async (connection) => {
    const { hostname } = await connection.call('connectGetHostname', {});
    return `${link.uri} on ${hostname}`;
  });
  if (checks.some(({ ok }) => !ok)) return checks;
  await check('libvirt', async (connection) => {
    const { version } = await connection.call('connectGetLibVersion', {});
    return needsVersion(version, 7_002_000, '7.2', 'incremental backups');
  });
  await check('hypervisor', async (connection) => {
    const { type } = await connection.call('connectGetType', {});
    const { version } = await connection.call('connectGetVersion', {});
    return `${type} ${versionText(version)}`;
  });
  if (link.transport === 'tls' || link.transport === 'tcp') {
    await check('disks', async (connection) => {
      await diskWay({ connection, link, folder: otherScratchFolder });
      return `can be read over TLS, at the ports ${tlsPorts.first} to ${tlsPorts.first + tlsPorts.count - 1}`;
    });
  }
  await check('machines', async (connection) => `${(await domainsOf(connection)).length} machines`);
  return checks;
}

function needsVersion(version: number, least: number, text: string, what: string): string {
  if (version >= least) return versionText(version);
  throw new PrimaError('unsupported', `${versionText(version)} is too old: ${what} need ${text}`);
}
