/**
 * An S3 server that nobody here wrote: Ceph's object gateway with one monitor and one storage daemon that holds its
 * objects in memory, on loopback, in a private folder. Its processes die with this one, however it dies.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Logger, RemoteError, silentLogger } from '@prima/base';
import { CephCluster } from './ceph-cluster.ts';
import { ensureDebianPackages, packagesFor } from './debian-packages.ts';

/** What an S3 client signs with. */
export interface GatewayUser {
  accessKeyId: string;
  secretAccessKey: string;
}

/** A running gateway. Disposing of it ends its processes and removes its data. */
export interface ObjectGateway extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`. */
  readonly endpoint: string;
  /** The gateway's own process, for tests that stop it (SIGSTOP) and let it go on. */
  readonly pid: number;
  /** Makes a user, who may make buckets. */
  addUser(name: string): Promise<GatewayUser>;
}

/** Starts a gateway (about 15 s); installs Ceph's Debian packages where they are missing. */
export async function startObjectGateway(options: { log?: Logger } = {}): Promise<ObjectGateway> {
  const { log = silentLogger } = options;
  await ensureDebianPackages(packagesFor('objects'), { log });
  await using starting = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'prima-rgw-'));
  starting.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  const cluster = new CephCluster(folder);
  starting.defer(() => cluster.stop());
  const { gateway: port } = await cluster.start();
  cluster.spawn('radosgw', ['-n', 'client.rgw']);
  await cluster.until('the gateway to answer', () => answers(port));
  const running = starting.move();
  return {
    endpoint: `http://127.0.0.1:${port}`,
    pid: cluster.pidOf('radosgw'),
    addUser: (name) => addUser(cluster, name),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

async function addUser(cluster: CephCluster, name: string): Promise<GatewayUser> {
  const create = ['user', 'create', `--uid=${name}`, `--display-name=${name}`];
  const { stdout } = await cluster.run('radosgw-admin', create);
  const answer = JSON.parse(stdout) as { keys: { access_key: string; secret_key: string }[] };
  const key = answer.keys[0];
  if (!key) throw new RemoteError(`radosgw-admin made no key for the user ${name}`);
  return { accessKeyId: key.access_key, secretAccessKey: key.secret_key };
}

async function answers(port: number): Promise<boolean> {
  return fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(5000) }).then(
    ({ ok }) => ok,
    () => false, // nobody listens there yet
  );
}
