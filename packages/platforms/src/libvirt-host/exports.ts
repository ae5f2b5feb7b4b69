/** Disks of a stand-in as NBD exports of its QEMU. */
import { join } from 'node:path';
import { PrimaError, withShortSocketPath } from '@prima/base';
import type { BlockDevice } from '@prima/block';
import type { LibvirtConnection } from '@prima/libvirt';
import { connectNbd } from '@prima/nbd';
import { elementMaker } from '@prima/xml';
import type { Domain } from './domain.ts';
import { type Reached, reachSocket, type SocketFolder } from './reach.ts';
import { standInAlias, startStandIn, type StandIn } from './stand-in.ts';

interface QueryBlock {
  qdev?: string;
  inserted?: { 'node-name'?: string };
}

/** Starts QEMU's NBD server at `socket` with an export for each target, by its name. */
export async function exportDisks(
  standIn: StandIn,
  socket: string,
  targets: readonly string[],
  { writable }: { writable: boolean },
): Promise<void> {
  const devices = (await standIn.monitor('query-block')) as QueryBlock[];
  await standIn.monitor('nbd-server-start', {
    addr: { type: 'unix', data: { path: socket } },
    'max-connections': 64,
  });
  for (const target of targets) {
    const path = `/machine/peripheral/${standInAlias(target)}`;
    const device = devices.find(({ qdev }) => qdev === path || qdev?.startsWith(`${path}/`));
    const node = device?.inserted?.['node-name'];
    if (node === undefined) throw new PrimaError('remote', `QEMU does not show the disk ${target}`);
    // the device gets something else, so that the export alone has the disk
    const nothing = `prima-nothing-${target}`;
    await standIn.monitor('blockdev-add', { driver: 'null-co', 'node-name': nothing, size: 512 });
    await standIn.monitor('qom-set', { path, property: 'drive', value: nothing });
    await standIn.monitor('block-export-add', {
      type: 'nbd',
      id: `prima-${target}`,
      'node-name': node,
      name: target,
      writable,
    });
  }
}

export interface ExportedFile {
  readonly device: BlockDevice;
  close(): Promise<void>;
}

export interface ExportFileRequest {
  connection: LibvirtConnection;
  /** Whose QEMU is the pattern for the stand-in's. */
  domain: Domain;
  /** Of a file on the host. */
  path: string;
  /** Where a machine's QEMU may make a socket that we reach. */
  socketFolder: SocketFolder;
  isLocal: boolean;
}

/** A file of the host, padded with zeros to a multiple of 512, through a stand-in that has it as a raw disk. Read-only. */
export async function exportHostFile(request: ExportFileRequest): Promise<ExportedFile> {
  const { connection, domain, path, socketFolder, isLocal } = request;
  const target = 'vda';
  const make = elementMaker({});
  const element = make('disk', { type: 'file' }, [
    make('driver', { name: 'qemu', type: 'raw' }),
    make('source', { file: path }),
  ]);
  const standIn = await startStandIn({ connection, template: domain, disks: [{ target, element }] });
  const socket = join(socketFolder(standIn.dom), 'prima.sock');
  let reached: Reached | undefined;
  try {
    await exportDisks(standIn, socket, [target], { writable: false });
    reached = await reachSocket(connection, socket, isLocal);
    const device = await withShortSocketPath(reached.socketPath, (socketPath) =>
      connectNbd({ socketPath }, { exportName: target }),
    );
    const close = async () => {
      try {
        await device.close();
        await reached?.close();
      } finally {
        await standIn.close();
      }
    };
    return { device, close };
  } catch (error) {
    await reached?.close();
    await standIn.close();
    throw error;
  }
}
