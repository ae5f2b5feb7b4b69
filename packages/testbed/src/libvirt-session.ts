/** A user's own libvirtd (`qemu:///session`), run by somebody without rights, with all that it keeps in a private folder. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PrimaError, RemoteError, runProgram, toPrimaError } from '@prima/base';
import { testbedCache } from './cache-folder.ts';
import { ensureDebianPackages, packagesFor } from './debian-packages.ts';
import type { Cleanup } from './test-files.ts';
import { waitUntil } from './wait.ts';

export interface LibvirtSession {
  /** The user's home, and everything below it is the user's. */
  readonly folder: string;
  /** `~/.config/libvirt` */
  readonly config: string;
  /** For the test's disks. */
  readonly disks: string;
  readonly socket: string;
  /** HOME and its like. */
  readonly env: Record<string, string>;
  /** What runs the command that follows as the user. */
  readonly within: readonly string[];
  readonly virsh: (...args: string[]) => Promise<string>;
  /** Gives the user what root has put into the folder. */
  readonly own: () => Promise<void>;
}

/** nobody, nogroup: there everywhere, and nobody else's */
const user = 65_534;

/** Needs root, to become somebody else. */
export async function startLibvirtSession(test: Cleanup): Promise<LibvirtSession> {
  await ensureDebianPackages(packagesFor('libvirt'));
  if (process.getuid?.() !== 0) throw new PrimaError('unsupported', 'a session of nobody needs root');
  const folder = await mkdtemp(join(tmpdir(), 'prima-lvs-'));
  const at = (...names: string[]) => join(folder, ...names);
  const env = {
    HOME: folder,
    TMPDIR: at('tmp'),
    XDG_RUNTIME_DIR: at('run'),
    XDG_CONFIG_HOME: at('.config'),
    XDG_CACHE_HOME: at('.cache'),
    XDG_DATA_HOME: at('.local/share'),
  };
  const config = at('.config/libvirt');
  const disks = at('disks');
  for (const name of [at('run'), at('tmp'), config, at('.cache/libvirt'), at('.local/share'), disks])
    await mkdir(name, { recursive: true, mode: 0o700 });
  await cp(join(await testbedCache(), 'libvirt'), at('.cache/libvirt'), { recursive: true }).catch(
    (error: unknown) => toPrimaError(error, 'it is probed anew'),
  );
  await writeFile(join(config, 'qemu.conf'), 'stdio_handler = "file"\n');
  const within: [string, ...string[]] = [
    'setpriv',
    `--reuid=${user}`,
    `--regid=${user}`,
    '--clear-groups',
    '--',
  ];
  const own = async () => void (await runProgram('chown', ['-R', `${user}:${user}`, folder]));
  await own();
  const socket = at('run/libvirt/libvirt-sock');
  const virsh = async (...args: string[]) => {
    const uri = `qemu+unix:///session?socket=${socket}`;
    return (await runProgram('virsh', ['-q', '-c', uri, ...args])).stdout;
  };
  await using log = await open(at('libvirtd.out'), 'a');
  const [file, ...rest] = within;
  const child = spawn(file, [...rest, 'libvirtd'], {
    stdio: ['ignore', log.fd, log.fd],
    env: { ...process.env, ...env },
    cwd: '/',
  });
  child.on('error', () => undefined); // the wait below says so
  test.after(() => end(child, folder));
  await waitUntil(
    async () => {
      if (child.exitCode !== null)
        throw new RemoteError(`libvirtd ended: ${await readFile(at('libvirtd.out'), 'utf8')}`);
      return virsh('version').then(
        () => true,
        () => false,
      );
    },
    { what: "nobody's libvirtd to answer", timeoutMs: 60_000, intervalMs: 100 },
  );
  return { folder, config, disks, socket, env, within, virsh, own };
}

/** With the machines, which would outlive it. */
async function end(child: ChildProcess, folder: string): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }
  const run = join(folder, 'run/libvirt');
  for (const name of await readdir(run, { recursive: true }).catch(() => [])) {
    if (!name.endsWith('.pid') || name === 'libvirtd.pid') continue;
    const pid = Number(await readFile(join(run, name), 'latin1').catch(() => ''));
    if (pid > 1) await runProgram('kill', ['-KILL', String(pid)], { accept: [0, 1] });
  }
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
}
