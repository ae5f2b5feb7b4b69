/**
 * Small files of the host through the daemon: as volumes of the pool over their folder, or of a transient one that is there for
 * the moment. Its `dir` pools leave folders and files as they are.
 */
import { randomBytes } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { formatBytes, PrimaError, systemClock, toPrimaError } from '@prima/base';
import {
  type LibvirtConnection,
  type StoragePool,
  StoragePoolCreateFlags,
  StorageVolType,
  type StorageVolume,
} from '@prima/libvirt';
import { elementAt, elementMaker, newDocument, parseXml, textAt, writeXml } from '@prima/xml';

const make = elementMaker({});

/** Of the pools that are there for the moment. */
const transientName = /^prima-[0-9a-f]{12}$/;
/** So long a pool is used by another run at most; one that is there for longer was left by a process that died. */
const patienceMs = 10_000;
const lookAgainMs = 50;

/** Runs `task` with the pool over `folder`. Raises `not-found` where there is no such folder. */
export async function withPoolOver<T>(
  connection: LibvirtConnection,
  folder: string,
  task: (pool: StoragePool) => Promise<T>,
  { makeFolders = false } = {},
): Promise<T> {
  const { pool, isOurs } = await poolOver(connection, folder, makeFolders);
  try {
    return await task(pool);
  } finally {
    if (isOurs) await ifThere(connection.call('storagePoolDestroy', { pool }));
  }
}

/** A folder has one pool; another run's transient one, which may go at any moment, is waited for. */
async function poolOver(
  connection: LibvirtConnection,
  folder: string,
  makeFolders: boolean,
): Promise<{ pool: StoragePool; isOurs: boolean }> {
  for (const begun = systemClock.monotonic(); ; await systemClock.sleep(lookAgainMs)) {
    const isPatient = systemClock.monotonic() - begun < patienceMs;
    const found = await presentPool(connection, folder);
    const isTransient = found !== undefined && transientName.test(found.name);
    if (isTransient && isPatient) continue;
    if (isTransient) await connection.call('storagePoolRefresh', { pool: found });
    if (found) return { pool: found, isOurs: isTransient };
    try {
      return { pool: await makePool(connection, folder, makeFolders), isOurs: true };
    } catch (error) {
      const { message } = toPrimaError(error, 'making a pool');
      if (!isPatient || !/conflict with pool/i.test(message)) throw error; // made by another run meanwhile
    }
  }
}

/** Active, and with what its folder holds by now. */
async function presentPool(connection: LibvirtConnection, folder: string): Promise<StoragePool | undefined> {
  try {
    const { pool } = await connection.call('storagePoolLookupByTargetPath', { path: folder });
    if (!transientName.test(pool.name)) await connection.call('storagePoolRefresh', { pool });
    return pool;
  } catch (error) {
    const { code } = toPrimaError(error, 'looking for a pool');
    if (code !== 'not-found' && code !== 'state') throw error;
    return undefined;
  }
}

async function makePool(
  connection: LibvirtConnection,
  folder: string,
  makeFolders: boolean,
): Promise<StoragePool> {
  const name = `prima-${randomBytes(6).toString('hex')}`;
  const xml = writeXml(
    newDocument(
      make('pool', { type: 'dir' }, [
        make('name', {}, [name]),
        make('target', {}, [make('path', {}, [folder])]),
      ]),
      "'",
    ),
  );
  const flags = makeFolders ? StoragePoolCreateFlags.VIR_STORAGE_POOL_CREATE_WITH_BUILD : 0;
  return (await connection.call('storagePoolCreateXml', { xml, flags })).pool;
}

async function ifThere(task: Promise<unknown>): Promise<void> {
  try {
    await task;
  } catch (error) {
    if (toPrimaError(error, 'removing').code !== 'not-found') throw error;
  }
}

/** Undefined when there is no such file. Raises `too-large` above `limitBytes`. */
export async function readHostFile(
  connection: LibvirtConnection,
  path: string,
  limitBytes: number,
): Promise<Uint8Array | undefined> {
  return withVolume(connection, path, async (vol) => {
    const { allocation, capacity } = await connection.call('storageVolGetInfo', { vol });
    if (Math.max(capacity, Math.min(allocation, capacity)) > limitBytes)
      throw tooLarge(path, capacity, limitBytes);
    return download(connection, vol, { offset: 0, limitBytes, path });
  });
}

export interface HostFile {
  name: string;
  bytes: Uint8Array;
  permissions: FilePermissions;
}

/** The mode in octal; the user and group by number, the daemon's own where they are left out. */
export interface FilePermissions {
  mode: string;
  owner?: string;
  group?: string;
}

/** The files of a folder whose name fits `wanted`; none where there is no such folder. Raises `unsupported` above `limitBytes`. */
export async function readHostFolder(
  connection: LibvirtConnection,
  folder: string,
  { wanted, limitBytes }: { wanted: RegExp; limitBytes: number },
): Promise<HostFile[]> {
  const files: HostFile[] = [];
  try {
    await withPoolOver(connection, folder, async (pool) => {
      const { volumes } = await connection.call('storagePoolListAllVolumes', { pool });
      for (const vol of volumes) {
        if (!wanted.test(vol.name)) continue;
        const { type, capacity } = await connection.call('storageVolGetInfo', { vol });
        if (type !== StorageVolType.VIR_STORAGE_VOL_FILE) continue;
        const path = join(folder, vol.name);
        if (capacity > limitBytes) throw tooLarge(path, capacity, limitBytes);
        const { xml } = await connection.call('storageVolGetXmlDesc', { vol });
        const bytes = await download(connection, vol, {
          offset: 0,
          ...(capacity === 0 ? { length: 0 } : {}),
          limitBytes,
          path,
        });
        files.push({ name: vol.name, bytes, permissions: permissionsOf(xml, path) });
      }
    });
  } catch (error) {
    if (isAbsentFolder(error)) return [];
    throw error;
  }
  return files.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** What is raised where a folder is not there. */
export function isAbsentFolder(error: unknown): boolean {
  const { code, message } = toPrimaError(error, 'reading a folder');
  return code === 'not-found' || /No such file or directory|Not a directory/.test(message);
}

function permissionsOf(xml: string, path: string): FilePermissions {
  const found = elementAt(parseXml(xml, `the volume ${path}`).root, 'target', 'permissions');
  const [owner, group] = [textAt(found, 'owner'), textAt(found, 'group')];
  return {
    mode: textAt(found, 'mode') ?? '0600',
    ...(owner === undefined ? {} : { owner }),
    ...(group === undefined ? {} : { group }),
  };
}

function tooLarge(path: string, bytes: number, limitBytes: number): PrimaError {
  return new PrimaError(
    'unsupported',
    `${path} has ${formatBytes(bytes)}; at most ${formatBytes(limitBytes)} was expected of such a file`,
  );
}

/** The last `bytes` of a file that may grow; undefined when there is no such file. */
export async function readHostFileEnd(
  connection: LibvirtConnection,
  path: string,
  bytes: number,
): Promise<Uint8Array | undefined> {
  return withVolume(connection, path, async (vol) => {
    const { capacity } = await connection.call('storageVolGetInfo', { vol });
    const offset = Math.max(0, capacity - bytes);
    return download(connection, vol, { offset, length: capacity - offset, limitBytes: bytes, path });
  });
}

async function download(
  connection: LibvirtConnection,
  vol: StorageVolume,
  options: { offset: number; length?: number; limitBytes: number; path: string },
): Promise<Uint8Array> {
  const { offset, length: wanted = 0, limitBytes, path } = options;
  if (options.length === 0) return new Uint8Array(0); // libvirt takes it for "all"
  const stream = await connection.openStream('storageVolDownload', { vol, offset, length: wanted });
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of stream) {
    length += piece.length;
    if (length > limitBytes) throw new PrimaError('source-changed', `${path} grows while it is read`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

/** Makes the file, or replaces what it holds. Its folder must be there, or is made, too. */
export async function writeHostFile(
  connection: LibvirtConnection,
  path: string,
  bytes: Uint8Array,
  options: { makeFolders?: boolean; permissions?: FilePermissions } = {},
): Promise<void> {
  const { mode, owner, group } = options.permissions ?? { mode: '0600' };
  const write = async (pool: StoragePool) => {
    const name = basename(path);
    await deleteVolume(connection, pool, name);
    const xml = writeXml(
      newDocument(
        make('volume', {}, [
          make('name', {}, [name]),
          make('capacity', { unit: 'bytes' }, [String(bytes.length)]),
          make('target', {}, [
            make('format', { type: 'raw' }),
            make('permissions', {}, [
              make('mode', {}, [mode]),
              ...(owner === undefined ? [] : [make('owner', {}, [owner])]),
              ...(group === undefined ? [] : [make('group', {}, [group])]),
            ]),
          ]),
        ]),
        "'",
      ),
    );
    const { vol } = await connection.call('storageVolCreateXml', { pool, xml });
    const stream = await connection.openStream('storageVolUpload', { vol, length: bytes.length });
    await stream.write(bytes);
    await stream.finish();
  };
  await withPoolOver(connection, dirname(path), write, options);
}

/** Answers whether there was one. */
export async function deleteHostFile(connection: LibvirtConnection, path: string): Promise<boolean> {
  return withPoolOver(connection, dirname(path), (pool) => deleteVolume(connection, pool, basename(path)));
}

async function deleteVolume(
  connection: LibvirtConnection,
  pool: StoragePool,
  name: string,
): Promise<boolean> {
  const vol = await volumeOf(connection, pool, name);
  if (vol) await connection.call('storageVolDelete', { vol });
  return vol !== undefined;
}

async function withVolume<T>(
  connection: LibvirtConnection,
  path: string,
  task: (vol: StorageVolume) => Promise<T>,
): Promise<T | undefined> {
  return withPoolOver(connection, dirname(path), async (pool) => {
    const vol = await volumeOf(connection, pool, basename(path));
    return vol && (await task(vol));
  });
}

/** Undefined where the pool has none of this name. */
export async function volumeOf(
  connection: LibvirtConnection,
  pool: StoragePool,
  name: string,
): Promise<StorageVolume | undefined> {
  try {
    return (await connection.call('storageVolLookupByName', { pool, name })).vol;
  } catch (error) {
    if (toPrimaError(error, 'looking for a volume').code === 'not-found') return undefined;
    throw error;
  }
}
