/** New disks for a machine that is being restored: volumes of the pool over their folder, or of one that was named. */
import { basename, dirname, join } from 'node:path';
import { PrimaError, toPrimaError } from '@prima/base';
import type { LibvirtConnection, StoragePool, StorageVolume } from '@prima/libvirt';
import {
  elementAt,
  elementMaker,
  elementsOf,
  newDocument,
  parseXml,
  textAt,
  valueOf,
  writeXml,
  type XmlElement,
} from '@prima/xml';
import type { RestoreDisk } from '../platform.ts';
import { withPoolOver } from './host-files.ts';

const make = elementMaker({});

export interface NewDisk {
  target: string;
  /** A <disk> with the source and its driver. */
  element: XmlElement;
  /** For people. */
  path: string;
  format: string;
  /** Removes what was made. */
  remove(connection: LibvirtConnection): Promise<void>;
}

export interface NewDiskRequest {
  connection: LibvirtConnection;
  disk: RestoreDisk;
  target: string;
  machine: string;
  /** The <disk> of the point's configuration. */
  original: XmlElement | undefined;
  /** The pool that all disks go to. */
  pool?: string;
  /** Instead of the one it had. */
  format?: 'raw' | 'qcow2';
  /** Of a file, where it is free. Default: the name that it had. */
  fileName?: string;
  /** Where files go whose folder is not on this host, or that were none. */
  fallbackFolder: string;
  notes: string[];
}

/** Raises `exists` where something has the name, `not-found` for a pool or folders that are not there, `no-space`. */
export async function makeDisk(request: NewDiskRequest): Promise<NewDisk> {
  const { connection, pool, fallbackFolder, target, notes } = request;
  if (pool !== undefined) return makeInPool(request, (await lookUpPool(connection, pool)).pool);
  const wanted = fileOf(request.original);
  const makeIn = (folder: string) =>
    withPoolOver(connection, folder, (over) => makeFile(request, over, folder));
  if (wanted !== undefined) {
    try {
      return await makeIn(dirname(wanted));
    } catch (error) {
      if (!isNoFolder(error)) throw error;
      notes.push(`${target} goes to ${fallbackFolder}: ${dirname(wanted)} is not on this host`);
    }
  }
  try {
    return await makeIn(fallbackFolder);
  } catch (error) {
    if (!isNoFolder(error)) throw error;
    const was = wanted === undefined ? '' : `${dirname(wanted)}, where ${target} was, and `;
    throw new PrimaError(
      'not-found',
      `${was}${fallbackFolder} are not on this host: name a storage pool for the disks (--to-pool; virsh pool-list has them)`,
      { cause: error },
    );
  }
}

/** libvirt's own words for a folder that its pool cannot open. */
function isNoFolder(error: unknown): boolean {
  return /cannot open directory|No such file|not exist/i.test(toPrimaError(error, 'making a disk').message);
}

async function lookUpPool(connection: LibvirtConnection, name: string): Promise<{ pool: StoragePool }> {
  try {
    return await connection.call('storagePoolLookupByName', { name });
  } catch (error) {
    if (toPrimaError(error, 'looking').code !== 'not-found') throw error;
    const { pools } = await connection.call('connectListAllStoragePools', {});
    const names = pools.map((pool) => pool.name).join(', ') || 'none';
    throw new PrimaError('not-found', `there is no storage pool ${name}; there are: ${names}`, {
      cause: error,
    });
  }
}

function fileOf(original: XmlElement | undefined): string | undefined {
  return original ? valueOf(elementAt(original, 'source'), 'file') : undefined;
}

const inFolders = new Set(['dir', 'fs', 'netfs']);

/** Pools of folders hold qcow2 as well as raw; all others have volumes that are as raw as the device. */
async function makeInPool(request: NewDiskRequest, pool: StoragePool): Promise<NewDisk> {
  const { connection } = request;
  const { xml } = await connection.call('storagePoolGetXmlDesc', { pool });
  const { root } = parseXml(xml, `the pool ${pool.name}`);
  const type = valueOf(root, 'type') ?? '';
  if (inFolders.has(type)) {
    const folder = textAt(root, 'target', 'path') ?? '';
    return makeFile(request, pool, folder);
  }
  const { disk, target, machine, notes } = request;
  if (disk.format !== 'raw')
    notes.push(`${disk.name} was ${disk.format} and becomes raw: the pool ${pool.name} has no formats`);
  const vol = await makeVolume(connection, pool, {
    name: `${machine}-${target}`,
    size: disk.size,
    format: undefined,
  });
  const { path } = await connection.call('storageVolGetPath', { vol });
  if (type === 'rbd') return newDisk(target, { ...rbdSource(root, vol.name), path, format: 'raw', vol });
  const source =
    type === 'logical' ||
    type === 'disk' ||
    type === 'iscsi' ||
    type === 'zfs' ||
    type === 'mpath' ||
    type === 'scsi'
      ? { type: 'block', source: make('source', { dev: path }) }
      : { type: 'volume', source: make('source', { pool: pool.name, volume: vol.name }) };
  return newDisk(target, { ...source, path, format: 'raw', vol });
}

/** libvirt does not give volumes of these pools to machines as such: the disk names cluster and user itself. */
function rbdSource(pool: XmlElement, volume: string): Pick<Made, 'type' | 'source' | 'auth'> {
  const from = elementAt(pool, 'source');
  const [auth, secret] = [elementAt(from, 'auth'), elementAt(from, 'auth', 'secret')];
  const hosts = elementsOf(from).filter(({ local }) => local === 'host');
  const name = `${textAt(from, 'name') ?? ''}/${volume}`;
  return {
    type: 'network',
    source: make('source', { protocol: 'rbd', name }, hosts),
    ...(auth && secret
      ? {
          auth: make('auth', { username: valueOf(auth, 'username') }, [
            make('secret', { type: 'ceph', uuid: valueOf(secret, 'uuid'), usage: valueOf(secret, 'usage') }),
          ]),
        }
      : {}),
  };
}

/** A raw file with this very name, which must be free. */
export async function makeNamedFile(
  connection: LibvirtConnection,
  { target, path, size }: { target: string; path: string; size: number },
): Promise<NewDisk> {
  return withPoolOver(connection, dirname(path), async (pool) => {
    const vol = await makeVolume(connection, pool, { name: basename(path), size, format: 'raw' });
    return newDisk(target, {
      type: 'file',
      source: make('source', { file: path }),
      path,
      format: 'raw',
      vol,
    });
  });
}

async function makeFile(request: NewDiskRequest, pool: StoragePool, folder: string): Promise<NewDisk> {
  const { connection, disk, target, machine, notes, original } = request;
  const format = request.format ?? (disk.format === 'qcow2' ? 'qcow2' : 'raw');
  if (format !== disk.format && request.format === undefined)
    notes.push(`${disk.name} was ${disk.format} and becomes raw`);
  const before = fileOf(original);
  const own = before !== undefined && disk.format === format ? basename(before) : undefined;
  const wanted = request.fileName ?? own;
  const names = [
    ...(wanted === undefined ? [] : [wanted]),
    ...Array.from({ length: 100 }, (_, index) =>
      index === 0 ? `${machine}-${target}.${format}` : `${machine}-${target}-${index}.${format}`,
    ),
  ];
  for (const name of names) {
    try {
      const vol = await makeVolume(connection, pool, { name, size: disk.size, format });
      const path = join(folder, name);
      return newDisk(target, { type: 'file', source: make('source', { file: path }), path, format, vol });
    } catch (error) {
      if (toPrimaError(error, 'making a volume').code !== 'exists') throw error;
    }
  }
  throw new PrimaError(
    'exists',
    `${folder} has files of all names that ${disk.name} of ${machine} could get`,
  );
}

interface Made {
  type: string;
  source: XmlElement;
  auth?: XmlElement;
  path: string;
  format: string;
  vol: StorageVolume;
}

function newDisk(target: string, { type, source, auth, path, format, vol }: Made): NewDisk {
  const element = make('disk', { type, device: 'disk' }, [
    make('driver', { name: 'qemu', type: format }),
    ...(auth ? [auth] : []),
    source,
  ]);
  const remove = async (connection: LibvirtConnection) => {
    if (type !== 'file') return void (await connection.call('storageVolDelete', { vol }));
    await withPoolOver(connection, dirname(path), async (pool) => {
      const found = await connection.call('storageVolLookupByName', { pool, name: vol.name });
      await connection.call('storageVolDelete', found);
    });
  };
  return { target, element, path, format, remove };
}

async function makeVolume(
  connection: LibvirtConnection,
  pool: StoragePool,
  { name, size, format }: { name: string; size: number; format: string | undefined },
): Promise<StorageVolume> {
  const target =
    format === undefined
      ? []
      : [
          make('target', {}, [
            make('format', { type: format }),
            make('permissions', {}, [make('mode', {}, ['0600'])]),
            ...(format === 'qcow2' ? [make('compat', {}, ['1.1'])] : []),
          ]),
        ];
  const volume = make('volume', {}, [
    make('name', {}, [name]),
    make('capacity', { unit: 'bytes' }, [String(size)]),
    ...(format === undefined ? [] : [make('allocation', { unit: 'bytes' }, ['0'])]),
    ...target,
  ]);
  const xml = writeXml(newDocument(volume, "'"));
  return (await connection.call('storageVolCreateXml', { pool, xml }, { timeoutMs: 300_000 })).vol;
}
