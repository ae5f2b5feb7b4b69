/**
 * Whether QEMU on a host that is reached by TLS alone can serve disks safely: tried on a stand-in with an empty disk, before
 * anything is done to a machine and before anything that is worth reading could be read. libvirt gives QEMU the certificates of
 * `backup_tls_x509_cert_dir`, and QEMU has to ask clients for theirs (`backup_tls_x509_verify`).
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { MiB, PrimaError, toPrimaError } from '@prima/base';
import type { LibvirtConnection, TlsPeer } from '@prima/libvirt';
import { connectNbd } from '@prima/nbd';
import { backupXml } from './backup-xml.ts';
import { type DiskServer, serveAtFreePort, tlsPorts } from './disk-server.ts';
import { parseDomain } from './domain.ts';
import { endBackup } from './job.ts';
import { nbdTls } from './reach.ts';
import { makeNamedFile } from './restore-disks.ts';
import { endStandIn, standInPattern, startStandIn, type StandIn, undefineStandIn } from './stand-in.ts';

const target = 'vda';
const sizeBytes = 1 * MiB;
const advice =
  'the daemon reads /etc/libvirt/qemu.conf when it starts; docs/operating/libvirt.md says which certificates go where';

/** A daemon's settings are what they were when it began, so each connection asks once. */
const asked = new WeakMap<LibvirtConnection, Promise<string>>();

/**
 * Answers the folder on the host with QEMU's certificates. Raises `unsupported` where the host cannot serve disks over TLS to known
 * clients alone, with what to set there; `permission` where we do not trust it. @param folder on the host, for a file of 1 MiB
 */
export function checkTlsServing(
  connection: LibvirtConnection,
  peer: TlsPeer,
  folder: string,
): Promise<string> {
  let answer = asked.get(connection);
  if (!answer) {
    answer = tryServing(connection, peer, folder);
    asked.set(connection, answer);
    answer.catch(() => asked.delete(connection));
  }
  return answer;
}

async function tryServing(connection: LibvirtConnection, peer: TlsPeer, folder: string): Promise<string> {
  if (!peer.verify) {
    throw new PrimaError(
      'unsupported',
      `${connection.uri}: with no_verify whoever answers is taken for ${peer.host}; disks go to and from a host that is verified only`,
    );
  }
  const path = join(folder, `prima-tls-${randomBytes(6).toString('hex')}.raw`);
  const disk = await makeNamedFile(connection, { target, path, size: sizeBytes });
  let standIn: StandIn | undefined;
  try {
    const template = parseDomain(standInPattern('a check of TLS'), 'a stand-in');
    standIn = await startStandIn({ connection, template, disks: [disk], isStaged: true });
    return await serveEmpty(connection, peer, { standIn, scratch: `${path}.scratch` });
  } finally {
    if (standIn) await endStandIn(standIn, connection);
    await disk.remove(connection);
    if (standIn) await undefineStandIn(connection, standIn.dom);
  }
}

interface Trial {
  standIn: StandIn;
  scratch: string;
}

async function serveEmpty(
  connection: LibvirtConnection,
  peer: TlsPeer,
  { standIn, scratch }: Trial,
): Promise<string> {
  const { dom } = standIn;
  const begin = (server: DiskServer) =>
    connection.call('domainBackupBegin', { dom, backupXml: backupXml(server, [{ target, scratch }], []) });
  let server: DiskServer & { transport: 'tls' };
  try {
    server = await serveAtFreePort(peer, begin);
  } catch (error) {
    const failure = toPrimaError(error, 'serving a disk over TLS');
    throw new PrimaError(
      'unsupported',
      `the host of ${connection.uri} cannot serve disks over TLS (${failure.message}): backup_tls_x509_cert_dir in qemu.conf has to name a folder with ca-cert.pem, server-cert.pem and server-key.pem; ${advice}`,
      { cause: error },
    );
  }
  try {
    const certificates = await certificatesOf(connection, standIn);
    await reach(connection, peer, server);
    return certificates;
  } finally {
    await endBackup(connection, dom);
  }
}

interface QomEntry {
  name: string;
  type: string;
}

/** What libvirt has told QEMU. Raises `unsupported` where anybody could read. */
async function certificatesOf(connection: LibvirtConnection, standIn: StandIn): Promise<string> {
  const objects = (await standIn.monitor('qom-list', { path: '/objects' })) as QomEntry[];
  const found = objects.find(({ type }) => type === 'child<tls-creds-x509>');
  if (!found) {
    throw new PrimaError(
      'unsupported',
      `QEMU on the host of ${connection.uri} has no certificates for its NBD server`,
    );
  }
  const path = `/objects/${found.name}`;
  if ((await standIn.monitor('qom-get', { path, property: 'verify-peer' })) !== true) {
    throw new PrimaError(
      'unsupported',
      `QEMU on the host of ${connection.uri} would serve disks to anybody: set backup_tls_x509_verify = 1 in qemu.conf, so that it asks clients for their certificates; ${advice}`,
    );
  }
  return (await standIn.monitor('qom-get', { path, property: 'dir' })) as string;
}

async function reach(
  connection: LibvirtConnection,
  peer: TlsPeer,
  { address, port }: { address: string; port: number },
): Promise<void> {
  try {
    const device = await connectNbd({ host: address, port }, { exportName: target, tls: nbdTls(peer) });
    await device.close();
  } catch (error) {
    const failure = toPrimaError(error, 'reading a disk over TLS');
    const last = tlsPorts.first + tlsPorts.count - 1;
    throw new PrimaError(
      failure.code === 'permission' ? 'permission' : 'unsupported',
      `disks of the host of ${connection.uri} cannot be read (${failure.message}): its firewall has to let us to the ports ${tlsPorts.first} to ${last}, QEMU's certificate has to be for ${peer.host} and signed by the authority in our cacert.pem, and ours (clientcert.pem) by the one in QEMU's ca-cert.pem`,
      { cause: error },
    );
  }
}
