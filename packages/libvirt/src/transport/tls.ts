/**
 * TLS as libvirt's daemons speak it (https://libvirt.org/kbase/tlscerts.html): both sides have certificates, found in libvirt's
 * usual places, and the daemon says with one byte, 1, that it takes ours.
 */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { isIP, type Socket } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import {
  type Logger,
  PrimaError,
  ProtocolError,
  systemErrorCode,
  toPrimaError,
  UserError,
} from '@prima/base';
import type { TlsTarget } from '../uri.ts';

interface Certificates {
  ca: string;
  cert?: string;
  key?: string;
}

/** How a daemon's host was reached, so that another port of it can be reached in the same way. */
export interface TlsPeer {
  /** The IP address that answered. */
  address: string;
  /** Whose certificate it has to be. */
  host: string;
  /** False: whoever answers is taken for the host. */
  verify: boolean;
  /** PEM. */
  ca: string;
  cert?: string;
  key?: string;
}

export interface TlsOptions {
  /** The address, for messages. */
  shown: string;
  logger: Logger;
  signal: AbortSignal;
}

/** Raises `permission` when one side does not accept the other's certificate, `not-found` when ours are not there. */
export async function openTls(
  socket: Socket,
  target: TlsTarget,
  options: TlsOptions,
): Promise<{ stream: TLSSocket; peer: TlsPeer }> {
  const { host, verify } = target;
  const { shown, logger, signal } = options;
  const { ca, ...own } = await loadCertificates(target);
  if (!verify) logger.warn(`${shown}: no_verify is set, so whoever answers is taken for ${host}`);
  const tls = connectTls({
    socket,
    host,
    ca,
    ...own,
    ...(isIP(host) === 0 && { servername: host }),
    rejectUnauthorized: verify,
    minVersion: 'TLSv1.2',
  });
  const peer: TlsPeer = { address: socket.remoteAddress ?? host, host, verify, ca, ...own };
  const onAbort = () => tls.destroy();
  signal.addEventListener('abort', onAbort, { once: true });
  tls.on('error', () => undefined); // it is told below, and later by the stream's end
  try {
    await once(tls, 'secureConnect').catch((cause: unknown) => {
      throw refusedByUs(cause, shown, host);
    });
    await accepted(tls, shown, own.cert !== undefined);
    return { stream: tls, peer };
  } catch (error) {
    tls.destroy();
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** With TLS 1.3 the daemon looks at our certificate only after the handshake has ended for us. */
async function accepted(tls: TLSSocket, shown: string, hasCertificate: boolean): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const refuse = () => reject(refusedByDaemon(shown, hasCertificate));
  const look = () => {
    const byte = tls.read(1) as Buffer | null;
    if (byte === null) return;
    if (byte[0] === 1) resolve();
    else reject(new ProtocolError(`${shown}: the daemon answers TLS with the byte ${byte[0]}; 1 is wanted`));
  };
  tls.on('readable', look).once('error', refuse).once('end', refuse).once('close', refuse);
  try {
    await promise;
  } finally {
    tls.off('readable', look).off('error', refuse).off('end', refuse).off('close', refuse);
  }
}

function refusedByUs(cause: unknown, shown: string, host: string): PrimaError {
  const reason = toPrimaError(cause, 'connecting').message;
  if (systemErrorCode(cause) === 'ECONNRESET') return refusedByDaemon(shown, true);
  return new PrimaError(
    'permission',
    `connecting to ${shown}: no trust in who answers: ${reason}. Its certificate has to be signed by the authority in ` +
      `cacert.pem and to be for ${host}`,
    { cause },
  );
}

function refusedByDaemon(shown: string, hasCertificate: boolean): PrimaError {
  const why = hasCertificate
    ? 'the daemon does not take our certificate (clientcert.pem); its log says why'
    : 'the daemon wants a certificate; put clientcert.pem and clientkey.pem where cacert.pem is, or name the folder by ?pkipath=';
  return new PrimaError('permission', `connecting to ${shown}: ${why}`);
}

/** The folder that is named; else the user's, except root's; else the system's. */
async function loadCertificates({ pkiFolder }: TlsTarget): Promise<Certificates> {
  const inFolder = (folder: string) =>
    ['cacert.pem', 'clientcert.pem', 'clientkey.pem'].map((name) => join(folder, name));
  const system = [
    '/etc/pki/CA/cacert.pem',
    '/etc/pki/libvirt/clientcert.pem',
    '/etc/pki/libvirt/private/clientkey.pem',
  ];
  const places: string[][] = [];
  if (pkiFolder !== undefined) places.push(inFolder(pkiFolder));
  else if (process.getuid?.() !== 0) places.push(inFolder(join(homedir(), '.pki/libvirt')));
  if (pkiFolder === undefined) places.push(system);
  const first = async (index: number) => {
    for (const files of places) {
      const text = await readIfThere(files[index] ?? '');
      if (text !== undefined) return text;
    }
    return undefined;
  };
  const [ca, cert, key] = [await first(0), await first(1), await first(2)];
  if (ca === undefined) {
    const looked = places.map(([file]) => file).join(' and ');
    throw new UserError(
      'not-found',
      `the certificate of the authority is not there: looked for ${looked}; ?pkipath= names another folder`,
    );
  }
  if ((cert === undefined) !== (key === undefined)) {
    throw new UserError(
      'not-found',
      'of clientcert.pem and clientkey.pem only one is there; both are wanted, or none',
    );
  }
  return { ca, ...(cert !== undefined && key !== undefined && { cert, key }) };
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw toPrimaError(error, `reading ${file}`);
  }
}
