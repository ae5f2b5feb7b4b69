/** Where a recovering machine's disks are served: a socket that its QEMU may connect to, and nobody else. */
import { chmod, chown, mkdir, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Logger, PrimaError, systemErrorCode, toPrimaError } from '@prima/base';
import type { BlockDevice } from '@prima/block';
import type { LibvirtConnection } from '@prima/libvirt';
import { serveNbd } from '@prima/nbd';
import { elementAt, elementsOf, parseXml, textAt, valueOf, type XmlElement } from '@prima/xml';

/** sun_path holds 108 bytes with its NUL (unix(7)). */
const socketPathBytes = 107;

/** @param qemu `/var/lib/libvirt/qemu` Raises `unsupported` where the path is too long for a socket. */
export function recoverySocket(qemu: string, uuid: string): string {
  const path = join(qemu, `prima-${uuid}`, 'nbd');
  if (Buffer.byteLength(path) <= socketPathBytes) return path;
  throw new PrimaError(
    'unsupported',
    `${path} is longer than a socket's path can be (${socketPathBytes} bytes)`,
  );
}

export interface ServeRequest {
  connection: LibvirtConnection;
  socket: string;
  /** The machine's XML. */
  domain: XmlElement;
  /** By the name of the export. */
  devices: ReadonlyMap<string, BlockDevice>;
  logger: Logger;
}

/** Raises `busy` where somebody serves there, `permission` where we may not. Disposing ends it; the devices stay open. */
export async function serveAtSocket(request: ServeRequest): Promise<AsyncDisposable> {
  const { connection, socket, domain, devices, logger } = request;
  const folder = dirname(socket);
  const user = await qemuUser(connection, domain);
  await makeFolder(folder);
  const exports = [...devices].map(([name, device]) => ({ name, device }));
  const server = await serveNbd({ listen: { socketPath: socket }, exports, logger });
  try {
    if (user && user.uid !== process.getuid?.()) await chown(socket, user.uid, user.gid);
  } catch (error) {
    await server.close();
    throw forRoot(error, socket);
  }
  return {
    [Symbol.asyncDispose]: async () => {
      await server.close();
      await rmdir(folder).catch((error: unknown) => {
        if (systemErrorCode(error) !== 'ENOENT') throw toPrimaError(error, `removing ${folder}`);
      });
    },
  };
}

/** Others may pass through it, and not look: the socket has its own permissions. */
async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    await chmod(folder, 0o711);
  } catch (error) {
    throw forRoot(error, folder);
  }
}

function forRoot(error: unknown, path: string): PrimaError {
  const failure = toPrimaError(error, `making ${path}`);
  if (failure.code !== 'permission') return failure;
  return new PrimaError(
    'permission',
    `the machine's disks are served at ${path}, where only root may make a socket for QEMU's user; run Prima as root (${failure.message})`,
    { cause: error },
  );
}

interface User {
  uid: number;
  gid: number;
}

/** Who a machine's QEMU runs as: what its XML says, else the daemon's default; undefined where it has our own user. */
async function qemuUser(connection: LibvirtConnection, domain: XmlElement): Promise<User | undefined> {
  const own = elementsOf(domain).find(
    (element) => element.local === 'seclabel' && valueOf(element, 'model') === 'dac',
  );
  const label = userOf(textAt(own, 'label'));
  if (label) return label;
  const { capabilities } = await connection.call('connectGetCapabilities', {});
  const host = elementAt(parseXml(capabilities, "the daemon's capabilities").root, 'host');
  const model = elementsOf(host).find(
    (element) => element.local === 'secmodel' && textAt(element, 'model') === 'dac',
  );
  return userOf(textAt(model, 'baselabel'));
}

/** `+64055:+64055` */
function userOf(label: string | undefined): User | undefined {
  const [, uid, gid] = /^\+(\d{1,10}):\+(\d{1,10})$/.exec(label ?? '') ?? [];
  return uid === undefined || gid === undefined ? undefined : { uid: Number(uid), gid: Number(gid) };
}
