/**
 * A Ceph cluster (Debian's packages) on loopback, in a private folder: one monitor and one storage daemon that holds its objects in
 * memory. Its processes die with this one, however it dies.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { missingProgram, PrimaError, runProgram } from '@prima/base';
import { ensureDebianPackages, packagesFor } from './debian-packages.ts';
import { freePorts } from './free-ports.ts';
import type { Cleanup } from './test-files.ts';
import { waitUntil } from './wait.ts';

/** A pool for the images of machines' disks. */
export interface RbdPool {
  readonly name: string;
  /** Of the monitor, on loopback. */
  readonly port: number;
  /** Of the user `admin`, base64. */
  readonly key: string;
  /** Makes an image of a file's content. */
  add(image: string, file: string): Promise<void>;
  /** Writes an image's content to a new file. */
  read(image: string, file: string): Promise<void>;
}

/** Starts a cluster with a pool (about 8 s); installs what is missing. */
export async function startRbdPool(test: Cleanup): Promise<RbdPool> {
  await ensureDebianPackages(packagesFor('rbd'));
  const folder = await mkdtemp(join(tmpdir(), 'prima-rbd-'));
  const cluster = new CephCluster(folder);
  test.after(async () => {
    await cluster.stop();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });
  const { monitor } = await cluster.start();
  const name = 'disks';
  await cluster.ceph('osd', 'pool', 'create', name, '1');
  await cluster.run('rbd', ['pool', 'init', name]);
  const key = (await cluster.ceph('auth', 'get-key', 'client.admin')).trim();
  const add = async (image: string, file: string) => {
    await cluster.run('rbd', ['import', '--no-progress', file, `${name}/${image}`]);
  };
  const read = async (image: string, file: string) => {
    await cluster.run('rbd', ['export', '--no-progress', `${name}/${image}`, file]);
  };
  return { name, port: monitor, key, add, read };
}

interface Daemon {
  name: string;
  child: ChildProcess;
  ended: Promise<void>;
}

/** One monitor and one storage daemon that holds its objects in memory. */
export class CephCluster {
  readonly #folder: string;
  readonly #daemons: Daemon[] = [];
  #configuration = '';

  constructor(folder: string) {
    this.#folder = folder;
  }

  get configuration(): string {
    return this.#configuration;
  }

  pidOf(name: string): number {
    return this.#daemons.find((daemon) => daemon.name === name)?.child.pid ?? 0;
  }

  /** Resolves with the ports of the monitor and of the gateway that may be started. */
  async start(): Promise<{ monitor: number; gateway: number }> {
    const [monitor = 0, gateway = 0] = await freePorts(2);
    for (const name of ['mon', 'osd', 'rgw', 'run', 'log']) await mkdir(join(this.#folder, name));
    this.#configuration = join(this.#folder, 'ceph.conf');
    const fsid = randomUUID();
    await writeFile(this.#configuration, configuration({ folder: this.#folder, fsid, monitor, gateway }));
    await this.#startMonitor(fsid, monitor);
    await this.#startStorage();
    return { monitor, gateway };
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
    await this.run('ceph-mon', ['--mkfs', '-i', 'a', '--monmap', map, '--keyring', keyring]);
    this.spawn('ceph-mon', ['-i', 'a']);
  }

  async #startStorage(): Promise<void> {
    const id = randomUUID();
    await this.ceph('osd', 'new', id, '0');
    await this.run('ceph-osd', ['-i', '0', '--mkfs', '--osd-uuid', id]);
    this.spawn('ceph-osd', ['-i', '0']);
    await this.until('the storage daemon to be up', async () =>
      (await this.ceph('osd', 'stat')).includes('1 up'),
    );
  }

  async ceph(...args: string[]): Promise<string> {
    const { stdout } = await this.run('ceph', args);
    return stdout;
  }

  run(program: string, args: readonly string[]) {
    return runProgram(program, ['-c', this.#configuration, ...args], { timeoutMs: 120_000 });
  }

  /** Starts a daemon that the kernel kills when this process is gone. */
  spawn(name: string, args: readonly string[]): void {
    const command = ['--pdeathsig', 'KILL', name, '-f', '-c', this.#configuration, ...args];
    const child = spawn('setpriv', command, { stdio: 'ignore' });
    const ended = new Promise<void>((resolve, reject) => {
      child.once('exit', () => resolve());
      child.once('error', () => reject(missingProgram('setpriv')));
    });
    ended.catch(() => undefined); // raised by whoever waits for it
    this.#daemons.push({ name, child, ended });
  }

  async until(what: string, ready: () => Promise<boolean>): Promise<void> {
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
rgw frontends = beast endpoint=127.0.0.1:${gateway} tcp_nodelay=1
rgw data = ${folder}/rgw
rgw thread pool size = 32
rgw enable usage log = false
`;
}
