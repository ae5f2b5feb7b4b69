/** Sockets of QEMU on the daemon's host: directly where that is this machine, else through a tunnel. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Domain as DomainRef, LibvirtConnection } from '@prima/libvirt';

/** The folder in which a running machine's QEMU may make a socket. */
export type SocketFolder = (dom: DomainRef) => string;

/**
 * The daemon's own folder for a run of a machine: it belongs to the user that QEMU runs as, and nobody else gets in. `root` is
 * `/var/lib/libvirt/qemu` for the system's daemon. libvirt cuts the name in it to 20 bytes (virDomainDefGetShortName).
 */
export function runFolder(root: string, { id, name }: DomainRef): string {
  return join(root, `domain-${id}-${shortName(name)}`);
}

function shortName(name: string): string {
  const bytes = Buffer.from(name);
  let end = Math.min(bytes.length, 20);
  while (end > 0 && end < bytes.length && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.toString('utf8', 0, end);
}

export interface Reached {
  /** A unix socket on this machine. */
  socketPath: string;
  close(): Promise<void>;
}

/**
 * A socket of this machine that leads to `socketPath` on the host. In a private folder; each connection to it is one there.
 * Raises what the transport raises where it reaches nothing but the daemon.
 */
export async function reachSocket(
  connection: LibvirtConnection,
  socketPath: string,
  isLocal: boolean,
): Promise<Reached> {
  if (isLocal) return { socketPath, close: () => Promise.resolve() };
  const probe = await connection.openUnix(socketPath); // says why when there is no way
  probe.destroy();
  const folder = await mkdtemp(join(tmpdir(), 'prima-tunnel-')); // 0700
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    void connection
      .openUnix(socketPath)
      .then((far) => Promise.all([pipeline(socket, far), pipeline(far, socket)]))
      .catch(() => socket.destroy()); // the NBD client says that its connection was lost
  });
  const path = join(folder, 'nbd');
  server.listen(path);
  await once(server, 'listening');
  return {
    socketPath: path,
    close: async () => {
      for (const socket of open) socket.destroy();
      server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
