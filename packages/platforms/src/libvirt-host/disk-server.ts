/** Where a QEMU on the daemon's host serves disks to us. */
import { randomInt } from 'node:crypto';
import { PrimaError, toPrimaError } from '@prima/base';
import type { TlsPeer } from '@prima/libvirt';
import type { DiskWay } from './disk-way.ts';

export type DiskServer =
  | { transport: 'unix'; socket: string }
  | { transport: 'tls'; address: string; port: number };

/** 10809 is NBD's own port. */
export const tlsPorts = { first: 10_809, count: 64 } as const;
/** A guest may be frozen meanwhile. */
const mostTurns = 16;

/**
 * Calls `serve` with where QEMU is to serve: the socket in the first of these folders that is there, or one port after the other
 * until one is free. Answers where that is.
 */
export async function serveDisks(
  way: DiskWay,
  sockets: readonly string[],
  serve: (server: DiskServer) => Promise<unknown>,
): Promise<DiskServer> {
  if (way.transport === 'tls') return serveAtFreePort(way.peer, serve);
  for (const [index, socket] of sockets.entries()) {
    const server = { transport: 'unix', socket } as const;
    try {
      await serve(server);
      return server;
    } catch (error) {
      const failure = toPrimaError(error, 'serving disks');
      const isLast = index === sockets.length - 1;
      if (isLast || !/no such file or directory|is too long/i.test(failure.message)) throw failure;
    }
  }
  throw new PrimaError('internal', 'no socket was named');
}

/** Ports are taken from anywhere in the range, so that machines that are backed up together seldom try the same. */
export async function serveAtFreePort(
  { address }: TlsPeer,
  serve: (server: DiskServer & { transport: 'tls' }) => Promise<unknown>,
): Promise<DiskServer & { transport: 'tls' }> {
  const start = randomInt(tlsPorts.count);
  for (let turn = 1; ; turn += 1) {
    const port = tlsPorts.first + ((start + turn) % tlsPorts.count);
    const server = { transport: 'tls', address, port } as const;
    try {
      await serve(server);
      return server;
    } catch (error) {
      const failure = toPrimaError(error, 'serving disks');
      if (turn === mostTurns || !/address already in use/i.test(failure.message)) throw failure;
    }
  }
}
