/** The server's certificate: what is given, or one of its own making, kept in the home folder and made anew before it expires. */
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { replaceFile, systemErrorCode, toPrimaError } from '@prima/base';

export interface Certificate {
  cert: string;
  key: string;
  /** `sha256:…`, hex: what clients pin. */
  fingerprint: string;
}

const day = 86_400_000;
const validDays = 825;
const renewedBeforeDays = 30;

/** Raises `io`, `format`. */
export async function certificateOf(
  home: string,
  given: { cert: string; key: string } | undefined,
): Promise<Certificate> {
  if (given) return described(await read(given.cert), await read(given.key));
  const [certPath, keyPath] = [join(home, 'server.crt'), join(home, 'server.pem')];
  try {
    const [cert, key] = [await readFile(certPath, 'utf8'), await readFile(keyPath, 'utf8')];
    const found = described(cert, key);
    if (Date.parse(new X509Certificate(cert).validTo) - Date.now() > renewedBeforeDays * day) return found;
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw toPrimaError(error, "reading the server's certificate");
  }
  const made = await make();
  await replaceFile(keyPath, made.key);
  await replaceFile(certPath, made.cert, 0o644);
  return described(made.cert, made.key);
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw toPrimaError(error, `reading ${path}`);
  }
}

function described(cert: string, key: string): Certificate {
  try {
    const digest = new X509Certificate(cert).fingerprint256.replaceAll(':', '').toLowerCase();
    return { cert, key, fingerprint: `sha256:${digest}` };
  } catch (error) {
    throw toPrimaError(error, "reading the server's certificate");
  }
}

async function make(): Promise<{ cert: string; key: string }> {
  const { generate } = await import('selfsigned');
  const name = hostname();
  const made = await generate([{ name: 'commonName', value: name }], {
    keyType: 'ec',
    curve: 'P-256',
    algorithm: 'sha256',
    notAfterDate: new Date(Date.now() + validDays * day),
    extensions: [
      { name: 'basicConstraints', cA: false },
      { name: 'extKeyUsage', serverAuth: true },
      {
        name: 'subjectAltName',
        altNames: [
          { type: 2, value: name },
          { type: 2, value: 'localhost' },
          { type: 7, ip: '127.0.0.1' },
          { type: 7, ip: '::1' },
        ],
      },
    ],
  });
  return { cert: made.cert, key: made.private };
}
