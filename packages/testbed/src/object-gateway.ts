/**
 * An S3 server that nobody here wrote: Ceph's object gateway with one monitor and one storage daemon that holds its
 * objects in memory, on loopback, in a private folder. Its processes die with this one, however it dies.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Logger, missingProgram, PrimaError, RemoteError, runProgram, silentLogger } from '@prima/base';
import { freePorts } from './free-ports.ts';
import { ensureDebianPackages, packagesFor } from './debian-packages.ts';
import { waitUntil } from './wait.ts';

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
  const cluster = new Cluster(folder);
  starting.defer(() => cluster.stop());
  const port = await cluster.start();
  const running = starting.move();
  return {
    endpoint: `http://127.0.0.1:${port}`,
    pid: cluster.gatewayPid,
    addUser: (name) => cluster.addUser(name),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

interface Daemon {
  name: string;
  child: ChildProcess;
  ended: Promise<void>;
}

class Cluster {
  readonly #folder: string;
  readonly #daemons: Daemon[] = [];
  #configuration = '';

  constructor(folder: string) {
    this.#folder = folder;
  }

  get gatewayPid(): number {
    return this.#daemons.find(({ name }) => name === 'radosgw')?.child.pid ?? 0;
  }

  /** Resolves with the gateway's port once it answers. */
  async start(): Promise<number> {
    const [monitor = 0, gateway = 0] = await freePorts(2);
    for (const name of ['mon', 'osd', 'rgw', 'run', 'log']) await mkdir(join(this.#folder, name));
    this.#configuration = join(this.#folder, 'ceph.conf');
    const fsid = randomUUID();
    await writeFile(this.#configuration, configuration({ folder: this.#folder, fsid, monitor, gateway }));
    await this.#startMonitor(fsid, monitor);
    await this.#startStorage();
    await this.#startGateway(gateway);
    return gateway;
  }

  async addUser(name: string): Promise<GatewayUser> {
    const create = ['user', 'create', `--uid=${name}`, `--display-name=${name}`];
    const { stdout } = await this.#run('radosgw-admin', create);
    const answer = JSON.parse(stdout) as { keys: { access_key: string; secret_key: string }[] };
    const key = answer.keys[0];
    if (!key) throw new RemoteError(`radosgw-admin made no key for the user ${name}`);
    return { accessKeyId: key.access_key, secretAccessKey: key.secret_key };
  }

  async stop(): Promise<void> {
    for (const { child, ended } of this.#daemons.reverse()) {
      child.kill('SIGKILL'); // nothing of it is kept
      await ended;
    }
  }

  async #startMonitor(fsid: string, port: number): Promise<void> {
    const keyring = join(this.#folder, 'keyring');
    const map = join(this.#folder, 'monmap');
    const everything = ['--cap', 'mon', 'allow *', '--cap', 'osd', 'allow *', '--cap', 'mgr', 'allow *'];
    const key = (name: string, ...caps: string[]) =>
      runProgram('ceph-authtool', [keyring, '--gen-key', '-n', name, ...caps]);
    await runProgram('ceph-authtool', ['--create-keyring', keyring]);
    await key('mon.', '--cap', 'mon', 'allow *');
    await key('client.admin', ...everything);
    await key('osd.0', '--cap', 'mon', 'allow profile osd', '--cap', 'osd', 'allow *');
    await key('client.rgw', '--cap', 'mon', 'allow rw', '--cap', 'osd', 'allow rwx');
    const address = `[v2:127.0.0.1:${port}]`;
    await runProgram('monmaptool', ['--create', '--fsid', fsid, '--addv', 'a', address, map]);
    await this.#run('ceph-mon', ['--mkfs', '-i', 'a', '--monmap', map, '--keyring', keyring]);
    this.#spawn('ceph-mon', ['-i', 'a']);
  }

  async #startStorage(): Promise<void> {
    const id = randomUUID();
    await this.#ceph('osd', 'new', id, '0');
    await this.#run('ceph-osd', ['-i', '0', '--mkfs', '--osd-uuid', id]);
    this.#spawn('ceph-osd', ['-i', '0']);
    await this.#until('the storage daemon to be up', async () =>
      (await this.#ceph('osd', 'stat')).includes('1 up'),
    );
  }

  async #startGateway(port: number): Promise<void> {
    this.#spawn('radosgw', ['-n', 'client.rgw']);
    await this.#until('the gateway to answer', () => answers(port));
  }

  async #ceph(...args: string[]): Promise<string> {
    const { stdout } = await this.#run('ceph', args);
    return stdout;
  }

  #run(program: string, args: readonly string[]) {
    return runProgram(program, ['-c', this.#configuration, ...args], { timeoutMs: 120_000 });
  }

  /** Starts a daemon that the kernel kills when this process is gone. */
  #spawn(name: string, args: readonly string[]): void {
    const command = ['--pdeathsig', 'KILL', name, '-f', '-c', this.#configuration, ...args];
    const child = spawn('setpriv', command, { stdio: 'ignore' });
    const ended = new Promise<void>((resolve, reject) => {
      child.once('exit', () => resolve());
      child.once('error', () => reject(missingProgram('setpriv')));
    });
    ended.catch(() => undefined); // raised by whoever waits for it
    this.#daemons.push({ name, child, ended });
  }

  async #until(what: string, ready: () => Promise<boolean>): Promise<void> {
    await waitUntil(
      () => {
        const dead = this.#daemons.find(({ child }) => child.exitCode !== null || child.signalCode !== null);
        if (dead) throw new PrimaError('remote', `${dead.name} ended while waiting for ${what}`);
        return ready();
      },
      { what, timeoutMs: 180_000, intervalMs: 200 },
    );
  }
}

async function answers(port: number): Promise<boolean> {
  return fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(5000) }).then(
    ({ ok }) => ok,
    () => false, // nobody listens there yet
  );
}

interface ClusterPlan {
  folder: string;
  fsid: string;
  /** Ports of loopback. */
  monitor: number;
  gateway: number;
}

function configuration({ folder, fsid, monitor, gateway }: ClusterPlan): string {
  return `[global]
fsid = ${fsid}
mon host = [v2:127.0.0.1:${monitor}]
mon initial members = a
public network = 127.0.0.0/8
ms bind ipv6 = false
ms bind port min = 20000
ms bind port max = 32000
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = ${folder}/keyring
run dir = ${folder}/run
admin socket =
log file = ${folder}/log/$name.log
pid file = ${folder}/run/$name.pid
crash dir = ${folder}/log
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd crush chooseleaf type = 0
osd pool default pg autoscale mode = off
mon allow pool size one = true
auth allow insecure global id reclaim = false
mgr initial modules =
[mon.a]
mon data = ${folder}/mon
[osd]
osd objectstore = memstore
osd data = ${folder}/osd
memstore device bytes = 6442450944
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:${gateway}
rgw data = ${folder}/rgw
rgw thread pool size = 32
rgw enable usage log = false
`;
}
