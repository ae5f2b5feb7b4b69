/**
 * Disks that QEMU serves on the daemon's host: at a unix socket, directly where that is this machine, else through a tunnel; at a
 * port over TLS where the daemon is reached by TLS alone.
 */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { PrimaError, toPrimaError, withShortSocketPath } from '@prima/base';
import type { Domain as DomainRef, LibvirtConnection, TlsPeer } from '@prima/libvirt';
import {
  connectNbd,
  type NbdDevice,
  type NbdOptions,
  type NbdTarget,
  type NbdTls,
  type WritableNbdDevice,
} from '@prima/nbd';
import type { DiskServer } from './disk-server.ts';
import type { DiskWay } from './disk-way.ts';

/** Where a running machine's QEMU may make a socket of this name: one of these paths is right. */
export type SocketPaths = (dom: DomainRef, name: string) => string[];

/**
 * In the daemon's own folder for a run of a machine: it belongs to the user that QEMU runs as, and nobody else gets in. `root` is
 * `/var/lib/libvirt/qemu` for the system's daemon. libvirt cuts the machine's name in it (virDomainDefGetShortName): to 20
 * characters, but to 20 bytes where its locale is none of UTF-8.
 */
export function socketPaths(root: string, { id, name }: DomainRef, socket: string): string[] {
  const characters = Array.from(name).slice(0, 20).join('');
  const bytes = Buffer.from(name).subarray(0, 20);
  const cut = bytes.toString();
  const isWhole = Buffer.from(cut).equals(bytes);
  const names = new Set([characters, ...(isWhole ? [cut] : [])]);
  return [...names].map((short) => join(root, `domain-${id}-${short}`, socket));
}

/** What the NBD client shows and wants: the same as the connection to the daemon. */
export function nbdTls({ host, ca, cert, key }: TlsPeer): NbdTls {
  return {
    serverName: host,
    ca,
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
}

/** Opens exports of one server. */
export interface Reached {
  open(options: NbdOptions & { writable: true }): Promise<WritableNbdDevice>;
  open(options: NbdOptions): Promise<NbdDevice>;
  close(): Promise<void>;
}

/** Raises what the transport raises where there is no way. */
export async function reachDisks(
  connection: LibvirtConnection,
  way: DiskWay,
  server: DiskServer,
): Promise<Reached> {
  if (server.transport === 'tls') {
    const tls = way.transport === 'tls' ? nbdTls(way.peer) : {};
    return opening({ host: server.address, port: server.port }, { more: { tls } });
  }
  if (way.transport === 'unix') {
    const explain = way.isLocal ? undefined : (error: unknown) => notForwarded(connection, error);
    return opening({ socketPath: server.socket }, explain ? { explain } : {});
  }
  return tunnelled(connection, server.socket);
}

interface OpeningOptions {
  more?: NbdOptions;
  close?: () => Promise<void>;
  /** What is behind a failure. */
  explain?: (error: unknown) => unknown;
}

function opening(target: NbdTarget, options: OpeningOptions = {}): Reached {
  const { more = {}, close = () => Promise.resolve(), explain = (error) => error } = options;
  const connect = (at: NbdTarget, wanted: NbdOptions) => connectNbd(at, { ...wanted, ...more });
  const open = async (wanted: NbdOptions) => {
    try {
      if (!('socketPath' in target)) return await connect(target, wanted);
      return await withShortSocketPath(target.socketPath, (socketPath) => connect({ socketPath }, wanted));
    } catch (error) {
      throw explain(error);
    }
  };
  return { open: open as Reached['open'], close };
}

/** The daemon's own socket may be forwarded to this machine; QEMU's are not. */
function notForwarded({ uri }: LibvirtConnection, error: unknown): unknown {
  if (toPrimaError(error, 'opening a disk').code !== 'not-found') return error;
  return new PrimaError(
    'unsupported',
    `the daemon at ${uri} is on another computer, whose sockets of QEMU are not here; use qemu+ssh:// or qemu+tls://`,
    { cause: error },
  );
}

/** A socket in a private folder; each connection to it is one to `socketPath` on the host. */
async function tunnelled(connection: LibvirtConnection, socketPath: string): Promise<Reached> {
  const probe = await connection.openUnix(socketPath); // says why when there is no way
  probe.on('error', () => undefined).destroy();
  const folder = await mkdtemp(join(tmpdir(), 'prima-tunnel-')); // 0700
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    socket.on('error', () => undefined); // the NBD client hears of it, or has gone
    void connection
      .openUnix(socketPath)
      .then((far) => Promise.all([pipeline(socket, far), pipeline(far, socket)]))
      .catch(() => socket.destroy()); // the NBD client says that its connection was lost
  });
  const close = async () => {
    for (const socket of open) socket.destroy();
    server.close();
    await rm(folder, { recursive: true, force: true });
  };
  const path = join(folder, 'nbd');
  try {
    server.listen(path);
    await once(server, 'listening');
  } catch (error) {
    await close();
    throw toPrimaError(error, `making a tunnel to ${socketPath}`);
  }
  // no more descriptors, say: connections wait, and the NBD client gives up in time
  server.on('error', () => undefined);
  return opening({ socketPath: path }, { close });
}
