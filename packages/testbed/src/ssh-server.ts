/** A real OpenSSH server on a private loopback port, for tests of SFTP: its own keys, its own folder, ended by pid. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { RemoteError, runProgram, systemErrorCode } from '@prima/base';
import { freePorts } from './free-ports.ts';
import { ensureDebianPackages } from './debian-packages.ts';
import { waitUntil } from './wait.ts';

/** A running server. Disposing of it ends it with all its connections and removes what it kept. */
export interface SshServer extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** The process that listens; those of connections are below it. */
  readonly pid: number;
  /** A folder for the files of tests, as this machine sees it and as the server does. */
  readonly folder: string;
  /** The private key that the server lets in. */
  readonly identity: string;
  /** A known_hosts file with the server's key. */
  readonly knownHosts: string;
  /** `sftp://…` of a folder below `folder`, with key and known hosts; `parameters` are added or replace these. */
  url(name: string, parameters?: Record<string, string>): string;
  /** The processes of all connections. */
  connections(): Promise<number[]>;
  /** Sends a signal to the processes of all connections (not to the one that listens). Returns how many. */
  signalConnections(signal: NodeJS.Signals): Promise<number>;
}

export interface SshServerOptions {
  /** Lines for sshd_config (5), before all others. */
  config?: string;
  /** What serves SFTP: `internal-sftp` unless told, or a command. */
  sftpServer?: string;
}

/** Installs OpenSSH where it is missing (see `ensureDebianPackages`) and starts a server. */
export async function startSshServer(options: SshServerOptions = {}): Promise<SshServer> {
  await ensureDebianPackages(['openssh-server', 'openssh-client']);
  const home = await mkdtemp(join(tmpdir(), 'prima-ssh-'));
  const path = (name: string) => join(home, name);
  let server: ChildProcess | undefined;
  const stop = async () => {
    const pid = server?.pid;
    if (server && pid !== undefined && server.exitCode === null && server.signalCode === null) {
      const ended = once(server, 'exit');
      const connections = await descendants(pid);
      server.kill('SIGKILL'); // first, so that nobody new comes in
      for (const connection of connections) sendSignal(connection, 'SIGKILL');
      await ended;
    }
    await rm(home, { recursive: true });
  };
  try {
    await mkdir(path('files'));
    if (process.getuid?.() === 0) await mkdir('/run/sshd', { recursive: true, mode: 0o755 });
    for (const name of ['host', 'user'])
      await runProgram('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', path(name)]);
    const [port = 0] = await freePorts(1);
    await writeConfig(home, port, options);
    server = spawn('/usr/sbin/sshd', ['-D', '-f', path('config'), '-E', path('log')], { stdio: 'ignore' });
    await listening(server, home, port);
    const pid = server.pid ?? 0;
    return {
      host: '127.0.0.1',
      port,
      user: userInfo().username,
      pid,
      folder: path('files'),
      identity: path('user'),
      knownHosts: path('known_hosts'),
      url: (name, parameters = {}) => {
        const all = { identity: path('user'), 'known-hosts': path('known_hosts'), ...parameters };
        const query = new URLSearchParams(all).toString();
        return `sftp://${userInfo().username}@127.0.0.1:${port}${path('files')}/${name}?${query}`;
      },
      connections: () => descendants(pid),
      signalConnections: async (signal) => {
        const connections = await descendants(pid);
        for (const connection of connections) sendSignal(connection, signal);
        return connections.length;
      },
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function writeConfig(home: string, port: number, options: SshServerOptions): Promise<void> {
  const { config = '', sftpServer = 'internal-sftp' } = options;
  await writeFile(join(home, 'authorized_keys'), await readFile(join(home, 'user.pub')));
  const [type, key] = (await readFile(join(home, 'host.pub'), 'utf8')).split(' ');
  await writeFile(join(home, 'known_hosts'), `[127.0.0.1]:${port} ${type} ${key}\n`);
  await writeFile(
    join(home, 'config'),
    `${config}
Port ${port}
ListenAddress 127.0.0.1
HostKey ${join(home, 'host')}
PidFile ${join(home, 'pid')}
AuthorizedKeysFile ${join(home, 'authorized_keys')}
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
MaxStartups 100
Subsystem sftp ${sftpServer}
`,
  );
}

async function listening(server: ChildProcess, home: string, port: number): Promise<void> {
  let failure: Error | undefined;
  server.once('error', (error) => (failure = error));
  await waitUntil(
    async () => {
      const log = await readFile(join(home, 'log'), 'utf8').catch((error: unknown) => {
        if (systemErrorCode(error) === 'ENOENT') return '';
        throw error;
      });
      if (failure || server.exitCode !== null) {
        throw new RemoteError(`sshd ended: ${failure?.message ?? log}`, { cause: failure });
      }
      return log.includes(`Server listening on 127.0.0.1 port ${port}`);
    },
    { what: 'sshd to listen', intervalMs: 10 },
  );
}

/** The processes below `root`, found by their parents in /proc/PID/stat. */
async function descendants(root: number): Promise<number[]> {
  const parents = new Map<number, number>();
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await readFile(`/proc/${name}/stat`, 'latin1').catch(() => ''); // it has just ended
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    if (stat !== '') parents.set(Number(name), parent);
  }
  const found: number[] = [];
  for (let level = [root]; level.length > 0; ) {
    level = [...parents].filter(([, parent]) => level.includes(parent)).map(([pid]) => pid);
    found.push(...level);
  }
  return found;
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (systemErrorCode(error) !== 'ESRCH') throw error;
  }
}
