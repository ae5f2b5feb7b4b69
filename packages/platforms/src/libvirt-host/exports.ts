/** Disks of a stand-in as NBD exports of its QEMU. */
import { PrimaError } from '@prima/base';
import type { BlockDevice } from '@prima/block';
import type { LibvirtConnection } from '@prima/libvirt';
import { elementMaker } from '@prima/xml';
import { type DiskServer, serveDisks } from './disk-server.ts';
import type { DiskWay } from './disk-way.ts';
import type { Domain } from './domain.ts';
import { type Reached, reachDisks, type SocketPaths } from './reach.ts';
import { standInAlias, startStandIn, type StandIn } from './stand-in.ts';

/** QEMU's name for its certificates. */
const credentials = 'prima-tls';

interface QueryBlock {
  qdev?: string;
  inserted?: { 'node-name'?: string };
}

export interface ExportRequest {
  way: DiskWay;
  /** Where QEMU may make a socket: one of these. */
  sockets: readonly string[];
  writable: boolean;
}

/** Starts QEMU's NBD server with an export for each target, by its name. Answers where it serves. */
export async function exportDisks(
  standIn: StandIn,
  targets: readonly string[],
  { way, sockets, writable }: ExportRequest,
): Promise<DiskServer> {
  const devices = (await standIn.monitor('query-block')) as QueryBlock[];
  if (way.transport === 'tls') {
    await standIn.monitor('object-add', {
      'qom-type': 'tls-creds-x509',
      id: credentials,
      dir: way.certificates,
      endpoint: 'server',
      'verify-peer': true,
    });
  }
  const server = await serveDisks(way, sockets, (at) =>
    standIn.monitor('nbd-server-start', { ...serverArguments(at), 'max-connections': 64 }),
  );
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
  return server;
}

function serverArguments(server: DiskServer): object {
  if (server.transport === 'unix') return { addr: { type: 'unix', data: { path: server.socket } } };
  const data = { host: server.address, port: String(server.port) };
  return { addr: { type: 'inet', data }, 'tls-creds': credentials };
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
  socketPaths: SocketPaths;
  way: DiskWay;
}

/** A file of the host, padded with zeros to a multiple of 512, through a stand-in that has it as a raw disk. Read-only. */
export async function exportHostFile(request: ExportFileRequest): Promise<ExportedFile> {
  const { connection, domain, path, socketPaths, way } = request;
  const target = 'vda';
  const make = elementMaker({});
  const element = make('disk', { type: 'file' }, [
    make('driver', { name: 'qemu', type: 'raw' }),
    make('source', { file: path }),
  ]);
  const standIn = await startStandIn({ connection, template: domain, disks: [{ target, element }] });
  const sockets = socketPaths(standIn.dom, 'prima.sock');
  let reached: Reached | undefined;
  try {
    const server = await exportDisks(standIn, [target], { way, sockets, writable: false });
    reached = await reachDisks(connection, way, server);
    const device = await reached.open({ exportName: target });
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
