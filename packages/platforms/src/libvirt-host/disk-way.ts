/** How the disks that a host's QEMU serves are reached. */
import { PrimaError } from '@prima/base';
import type { LibvirtConnection, TlsPeer } from '@prima/libvirt';
import type { HostLink } from './link.ts';
import { checkTlsServing } from './tls-serving.ts';

/** How a host's disks are read: known, and tried where that costs nothing, before anything is done to a machine. */
export type DiskWay =
  | { transport: 'ssh' }
  | {
      transport: 'unix';
      /** The daemon's paths are ours. */
      isLocal: boolean;
    }
  | {
      transport: 'tls';
      peer: TlsPeer;
      /** The folder on the host with the server's certificate. */
      certificates: string;
    };

export interface WayRequest {
  connection: LibvirtConnection;
  link: HostLink;
  /** A folder on the host where a small file may be made for a moment. */
  folder: string;
}

/** Raises `unsupported` where there is none, with what the host lacks. */
export async function diskWay({ connection, link, folder }: WayRequest): Promise<DiskWay> {
  const { transport } = link;
  if (transport === 'ssh') return { transport };
  if (transport === 'unix') return { transport, isLocal: await link.isLocal() };
  const peer = connection.tlsPeer;
  if (!peer) {
    throw new PrimaError(
      'unsupported',
      `${connection.uri} is not encrypted, and disks do not go over it; use qemu+tls:// or qemu+ssh://`,
    );
  }
  return { transport: 'tls', peer, certificates: await checkTlsServing(connection, peer, folder) };
}
