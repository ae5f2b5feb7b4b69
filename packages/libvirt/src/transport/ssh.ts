/**
 * SSH: the daemon's unix socket through the connection itself; where that does not come about, through a program of the
 * host, libvirt's own `virt-ssh-helper` (which also knows where a user's own daemon listens) or netcat.
 */
import type { Duplex } from 'node:stream';
import { PrimaError, RemoteError } from '@prima/base';
import { connectSsh, type RemoteCommand, type SshConnection } from '@prima/ssh';
import type { SshTarget } from '../uri.ts';
import type { Transport, TransportOptions } from './transport.ts';

export interface SshTransportOptions extends TransportOptions {
  /** The address, for messages. */
  shown: string;
  /** What the daemon is asked to open; the helper finds the socket by it. */
  name: string;
}

/** Where the helper of libvirt is, or netcat, in the words of the host's shell. */
type Program = 'virt-ssh-helper' | 'netcat';

export async function openSshTransport(target: SshTarget, options: SshTransportOptions): Promise<Transport> {
  const { logger, signal } = options;
  const ssh = await connectSsh(target.server, { logger, signal });
  try {
    const way = await openDaemon(ssh, target, options);
    ssh.onLost((reason) => way.stream.destroy(new Error(reason)));
    return {
      stream: way.stream,
      said: way.said,
      isPrivate: true,
      openUnix: (path, given) => openSocket(ssh, path, { ...options, ...target, signal: given.signal }),
      end: () => ssh.destroy(),
    };
  } catch (error) {
    ssh.destroy();
    throw error;
  }
}

interface Way {
  stream: Duplex;
  said: () => string;
}

async function openDaemon(ssh: SshConnection, target: SshTarget, options: SshTransportOptions): Promise<Way> {
  const failures: string[] = [];
  for (const path of target.proxy === 'auto' ? target.socketPaths : []) {
    try {
      return { stream: await ssh.openUnix(path, options.signal), said: () => '' };
    } catch (error) {
      failures.push(messageOfRefusal(error));
    }
  }
  const program = await findProgram(ssh, target, options);
  if (program === undefined) {
    const without = failures.length > 0 ? `${failures.join('; ')}; and ` : '';
    throw new RemoteError(
      `connecting to ${options.shown}: ${without}the host has neither virt-ssh-helper nor ${target.netcat}`,
      { retryable: true },
    );
  }
  options.logger.info(`${options.shown}: the daemon is reached through ${program} on the host`, { failures });
  const [socket = ''] = target.socketPaths;
  const readOnly = options.readOnly ? '-r ' : '';
  const command = {
    'virt-ssh-helper': `virt-ssh-helper ${readOnly}${quote(options.name)}`,
    netcat: `${quote(target.netcat)} -U ${quote(socket)}`,
  }[program];
  return wayOf(await ssh.run(command, options.signal));
}

/** Asks the host's shell for what may be used. The helper knows usual sockets only, netcat none by itself. */
async function findProgram(
  ssh: SshConnection,
  { proxy, netcat, socketPaths }: SshTarget,
  { signal }: SshTransportOptions,
): Promise<Program | undefined> {
  const isUsual = socketPaths.every((path) => path.startsWith('/run/libvirt/'));
  const has = async (program: string) => {
    const asked = await ssh.run(`command -v ${quote(program)} >/dev/null 2>&1`, signal);
    asked.stream.resume().end();
    return (await asked.ended) === 0;
  };
  if (proxy !== 'netcat' && (isUsual || proxy === 'native') && (await has('virt-ssh-helper')))
    return 'virt-ssh-helper';
  if (proxy !== 'native' && socketPaths.length > 0 && (await has(netcat))) return 'netcat';
  return undefined;
}

interface SocketOptions {
  shown: string;
  netcat: string;
  signal: AbortSignal | undefined;
}

/** Any other socket of the host. */
async function openSocket(ssh: SshConnection, path: string, options: SocketOptions): Promise<Duplex> {
  try {
    return await ssh.openUnix(path, options.signal);
  } catch (error) {
    messageOfRefusal(error);
    const test = await ssh.run(
      `test -S ${quote(path)} && command -v ${quote(options.netcat)} >/dev/null`,
      options.signal,
    );
    test.stream.resume().end();
    if ((await test.ended) !== 0) throw error;
    return wayOf(await ssh.run(`${quote(options.netcat)} -U ${quote(path)}`, options.signal)).stream;
  }
}

function wayOf(command: RemoteCommand): Way {
  return { stream: command.stream, said: () => command.said() };
}

/** What the server says to a socket it does not open; anything else is raised. */
function messageOfRefusal(error: unknown): string {
  if (error instanceof PrimaError && (error.code === 'remote' || error.code === 'unsupported'))
    return error.message;
  throw error;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
