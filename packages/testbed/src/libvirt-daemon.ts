/**
 * A real libvirtd (Debian: libvirt-daemon) for tests, with a mount namespace, folders and sockets of its own: nothing of
 * the machine's own /etc/libvirt, /run/libvirt or /var/lib/libvirt is seen or touched. Ended by pid, with its machines.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { cp, mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { PrimaError, RemoteError, runProgram, systemErrorCode, withDeadline } from '@prima/base';
import { testbedCache } from './cache-folder.ts';
import { ensureDebianPackages, packagesFor } from './debian-packages.ts';
import type { Cleanup } from './test-files.ts';
import { waitUntil } from './wait.ts';

export interface LibvirtDaemonOptions {
  /** Lines for libvirtd.conf (5-ish; the file explains itself), after our own. */
  config?: string;
  /** Lines for qemu.conf, before our own: libvirt takes what comes first. */
  qemuConfig?: string;
  /** More folders that it sees in another place: `{ '/etc/sasl2': '/tmp/x/sasl2' }`. Both have to be there. */
  binds?: Readonly<Record<string, string>>;
  /** What the daemon takes its host to be called: machines do not migrate to a host of the same name. */
  hostname?: string;
  /** More of libvirtd's arguments: `--listen`. */
  arguments?: readonly string[];
}

export interface LibvirtDaemon {
  /** Everything it keeps: etc, run, lib, log, cache. Removed at the end. */
  readonly folder: string;
  /** A folder for the test's disks, which the daemon sees at the same path. */
  readonly disks: string;
  readonly socket: string;
  /** `qemu+unix:///system?socket=…` */
  readonly uri: string;
  /** Of the process that runs now. */
  readonly pid: number;
  /** virsh against it; returns what it printed. */
  virsh(...args: string[]): Promise<string>;
  /** `/var/lib/libvirt` of the daemon, as others see it. */
  readonly root: string;
  /** What runs the command that follows where the daemon's own folders are at their usual places. */
  readonly within: readonly string[];
  /** Ends the daemon as a crash would; its machines run on. */
  kill(): Promise<void>;
  /** Starts it again after `kill`, or asks it to end and starts it. */
  restart(): Promise<void>;
  /** The pid of a machine's QEMU; undefined when it does not run. */
  machinePid(name: string): Promise<number | undefined>;
}

const qemuConfig = `
user = "root"
group = "root"
dynamic_ownership = 0
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "logd"
swtpm_user = "root"
swtpm_group = "root"
`;

const daemonConfig = 'auth_unix_rw = "none"\nmax_client_requests = 5\n';

/** Where the daemon looks, and what is there instead. */
const places = {
  '/run/libvirt': 'run',
  '/var/lib/libvirt': 'lib',
  '/var/log/libvirt': 'log',
  '/var/cache/libvirt': 'cache',
  '/etc/libvirt': 'etc',
} as const;

/** Installs libvirtd where it is missing and starts one. Needs root, for the mount namespace. */
export async function startLibvirtDaemon(
  test: Cleanup,
  options: LibvirtDaemonOptions = {},
): Promise<LibvirtDaemon> {
  await ensureDebianPackages(packagesFor('libvirt'));
  if (process.getuid?.() !== 0)
    throw new PrimaError('unsupported', 'a private libvirtd needs root, for its mount namespace');
  const folder = await mkdtemp(join(tmpdir(), 'prima-lv-'));
  const daemon = new Daemon(folder, options);
  test.after(() => daemon.end());
  const path = (name: string) => join(folder, name);
  for (const name of [...Object.values(places), 'etc/qemu/networks', 'disks'])
    await mkdir(path(name), { recursive: true });
  // probing what QEMU can do takes 8 s
  const warmCache = join(await testbedCache(), 'libvirt');
  const isWarm = await readdir(warmCache).then(
    (names) => names.length > 0,
    () => false,
  );
  if (isWarm) await cp(warmCache, path('cache'), { recursive: true });
  await writeFile(path('etc/qemu.conf'), (options.qemuConfig ?? '') + qemuConfig);
  await writeFile(path('etc/libvirtd.conf'), daemonConfig + (options.config ?? ''));
  await writeFile(path('etc/virtlogd.conf'), '');
  await writeAccounts(folder);
  await daemon.start();
  if (!isWarm) await cp(path('cache'), warmCache, { recursive: true });
  return daemon;
}

/** Debian's libvirt wants a user and groups that only its package for systemd makes; here they are there for it alone. */
async function writeAccounts(folder: string): Promise<void> {
  const passwd = await readFile('/etc/passwd', 'utf8');
  const group = await readFile('/etc/group', 'utf8');
  const isThere = (text: string, name: string) => text.includes(`\n${name}:`);
  const user = isThere(passwd, 'libvirt-qemu')
    ? ''
    : 'libvirt-qemu:x:64055:64055::/var/lib/libvirt:/bin/false\n';
  const groups = ['libvirt-qemu:x:64055:', 'kvm:x:64056:', 'tss:x:64057:']
    .filter((line) => !isThere(group, line.slice(0, line.indexOf(':'))))
    .map((line) => `${line}\n`);
  await writeFile(join(folder, 'passwd'), passwd + user);
  await writeFile(join(folder, 'group'), group + groups.join(''));
}

class Daemon implements LibvirtDaemon {
  readonly folder: string;
  readonly #options: LibvirtDaemonOptions;
  #keeper: ChildProcess | undefined;
  #pids = new Map<'libvirtd' | 'virtlogd', number>();

  constructor(folder: string, options: LibvirtDaemonOptions) {
    this.folder = folder;
    this.#options = options;
  }

  get disks(): string {
    return join(this.folder, 'disks');
  }

  get socket(): string {
    return join(this.folder, 'run/libvirt-sock');
  }

  get uri(): string {
    return `qemu+unix:///system?socket=${this.socket}`;
  }

  get pid(): number {
    return this.#pids.get('libvirtd') ?? 0;
  }

  async virsh(...args: string[]): Promise<string> {
    const { stdout } = await runProgram('virsh', ['-q', '-c', this.uri, ...args]);
    return stdout;
  }

  get root(): string {
    return join(this.folder, 'lib');
  }

  get within(): readonly string[] {
    const names = this.#options.hostname === undefined ? [] : ['-u'];
    return ['nsenter', '-t', String(this.#keeper?.pid), '-m', ...names, '--'];
  }

  async start(): Promise<void> {
    if (!this.#keeper) await this.#makeNamespace();
    if (!this.#pids.has('virtlogd')) await this.#spawn('virtlogd', []);
    await this.#spawn('libvirtd', this.#options.arguments ?? []);
    let last = '';
    await waitUntil(
      async () => {
        try {
          await this.virsh('version');
          return true;
        } catch (error) {
          last = error instanceof Error ? error.message : String(error);
          if (!isAlive(this.pid)) throw new RemoteError(`libvirtd ended: ${await this.#said('libvirtd')}`);
          return false;
        }
      },
      { what: `libvirtd to answer (${last})`, timeoutMs: 60_000, intervalMs: 100 },
    );
  }

  async kill(): Promise<void> {
    await endProcess(this.pid, 'SIGKILL');
    this.#pids.delete('libvirtd');
  }

  async restart(): Promise<void> {
    const { pid } = this;
    if (pid > 0) await endProcess(pid, 'SIGTERM');
    await this.start();
  }

  async machinePid(name: string): Promise<number | undefined> {
    try {
      const pid = Number(await readFile(join(this.folder, 'run/qemu', `${name}.pid`), 'latin1'));
      return isAlive(pid) ? pid : undefined;
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** With the machines, which would outlive it, and with the folder; logs are copied into the folder that PRIMA_TEST_LOGS names. */
  async end(): Promise<void> {
    await this.kill();
    const run = await readdir(join(this.folder, 'run/qemu'), { recursive: true }).catch(() => []);
    for (const name of run.filter((entry) => entry.endsWith('.pid'))) {
      const pid = Number(await readFile(join(this.folder, 'run/qemu', name), 'latin1').catch(() => ''));
      if (pid > 0) await endProcess(pid, 'SIGKILL');
    }
    await endProcess(this.#pids.get('virtlogd') ?? 0, 'SIGKILL');
    this.#keeper?.kill('SIGKILL');
    const kept = process.env['PRIMA_TEST_LOGS'];
    if (kept) await cp(join(this.folder, 'log'), join(kept, basename(this.folder)), { recursive: true });
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  /** A process that does nothing holds the namespace, so that it stays while the daemon is away. */
  async #makeNamespace(): Promise<void> {
    const binds = Object.entries({
      ...Object.fromEntries(Object.entries(places).map(([to, name]) => [to, join(this.folder, name)])),
      ...this.#options.binds,
    });
    for (const [to] of binds) await mkdir(to, { recursive: true });
    for (const name of ['passwd', 'group']) binds.push([`/etc/${name}`, join(this.folder, name)]);
    const mounts = binds.map(([to, from]) => `mount --bind ${quote(from)} ${quote(to)}`);
    const { hostname } = this.#options;
    if (hostname !== undefined) mounts.push(`echo ${quote(hostname)} >/proc/sys/kernel/hostname`);
    const script = mounts.join(' && ');
    const keeper = spawn(
      'unshare',
      [
        ...(hostname === undefined ? [] : ['-u']),
        '-m',
        '--propagation',
        'private',
        'sh',
        '-c',
        `${script} && echo ready && exec sleep infinity`,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    this.#keeper = keeper;
    let said = '';
    keeper.stderr.on('data', (data: Buffer) => (said += data.toString()));
    await withDeadline(10_000, 'making a mount namespace', () => {
      const ready = Promise.withResolvers<void>();
      keeper.stdout.once('data', () => ready.resolve());
      keeper.once('error', ready.reject);
      keeper.once('exit', (status) =>
        ready.reject(new RemoteError(`unshare ended with status ${status}: ${said}`)),
      );
      return ready.promise;
    });
    keeper.unref();
  }

  async #spawn(program: 'libvirtd' | 'virtlogd', args: readonly string[]): Promise<void> {
    const pidFile = join(this.folder, `${program}.pid`);
    await rm(pidFile, { force: true });
    await using log = await open(this.#logOf(program), 'a');
    const command = [program, '-p', pidFile, '-f', join(this.folder, `etc/${program}.conf`), ...args];
    const [file = '', ...rest] = [...this.within, ...command];
    const child = spawn(file, rest, { stdio: ['ignore', log.fd, log.fd], detached: true });
    child.on('error', () => undefined); // the wait below says so
    child.unref();
    const pid = await waitUntil(
      async () => {
        if (child.exitCode !== null) throw new RemoteError(`${program} ended: ${await this.#said(program)}`);
        return Number(await readFile(pidFile, 'latin1').catch(() => '')) || undefined;
      },
      { what: `${program}'s pid file` },
    );
    this.#pids.set(program, pid);
  }

  #logOf(program: string): string {
    return join(this.folder, `${program}.out`);
  }

  async #said(program: string): Promise<string> {
    return (await readFile(this.#logOf(program), 'utf8')).trim().slice(-2000);
  }
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return pid > 0;
  } catch (error) {
    if (systemErrorCode(error) === 'ESRCH') return false;
    throw error;
  }
}

async function endProcess(pid: number, signal: NodeJS.Signals): Promise<void> {
  if (pid <= 0 || !isAlive(pid)) return;
  process.kill(pid, signal);
  await waitUntil(async () => !isAlive(pid) || (await isZombie(pid)), {
    what: `process ${pid} to end`,
    intervalMs: 10,
  });
}

async function isZombie(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '');
  return stat === '' || /\) Z /.test(stat);
}
