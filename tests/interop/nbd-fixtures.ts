/** NBD servers and test files for the interop tests; everything is stopped and removed by `resources`. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { missingProgram, runProgram, seededRandom } from '@prima/base';
import { isListening } from '@prima/testbed';

export async function temporaryFolder(resources: AsyncDisposableStack): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'prima-nbd-'));
  resources.defer(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Starts a program that makes `socketPath` and serves there until it is stopped. */
export async function startServer(
  resources: AsyncDisposableStack,
  program: string,
  { args, socketPath }: { args: readonly string[]; socketPath: string },
): Promise<void> {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  let ended = false;
  child.stderr.on('data', (bytes: Buffer) => (said = (said + bytes.toString()).slice(-2000)));
  const exited = Promise.withResolvers<void>();
  child.once('error', () => exited.resolve());
  child.once('exit', () => exited.resolve());
  void exited.promise.then(() => (ended = true));
  resources.defer(async () => {
    child.kill('SIGKILL');
    await exited.promise;
  });
  for (;;) {
    if (child.pid === undefined) {
      await once(child, 'error').catch(() => undefined);
      throw missingProgram(program);
    }
    if (ended) throw new Error(`${program} ended at once: ${said}`);
    if (await isListening(socketPath)) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A sparse file with random data in some places; returns its bytes. */
export async function makeRawDisk(path: string, size: number, seed: number): Promise<Buffer> {
  const random = seededRandom(seed);
  const bytes = Buffer.alloc(size);
  const file = await open(path, 'wx');
  try {
    await file.truncate(size);
    for (let offset = 0; offset < size; ) {
      const length = Math.min(65_536 * (1 + random.below(16)), size - offset);
      if (random.below(2) === 0) {
        random.bytes(bytes.subarray(offset, offset + length));
        await file.write(bytes, offset, length, offset);
      }
      offset += length;
    }
  } finally {
    await file.close();
  }
  return bytes;
}

/** An authority, and a certificate for `localhost` signed by it; the files are PEM. */
export async function makeCertificates(folder: string): Promise<{ ca: string; cert: string; key: string }> {
  const at = (name: string) => join(folder, name);
  const openssl = async (...args: string[]) => await runProgram('openssl', args);
  const subject = ['-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-subj'];
  await openssl(
    'req',
    '-x509',
    ...subject,
    '/CN=test authority',
    '-days',
    '2',
    '-keyout',
    at('ca-key.pem'),
    '-out',
    at('ca-cert.pem'),
  );
  const names = ['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  await openssl(
    'req',
    ...subject,
    '/CN=localhost',
    ...names,
    '-keyout',
    at('server-key.pem'),
    '-out',
    at('server.csr'),
  );
  const signing = [
    '-CA',
    at('ca-cert.pem'),
    '-CAkey',
    at('ca-key.pem'),
    '-CAcreateserial',
    '-copy_extensions',
    'copy',
  ];
  await openssl(
    'x509',
    '-req',
    '-in',
    at('server.csr'),
    ...signing,
    '-days',
    '2',
    '-out',
    at('server-cert.pem'),
  );
  return { ca: at('ca-cert.pem'), cert: at('server-cert.pem'), key: at('server-key.pem') };
}
