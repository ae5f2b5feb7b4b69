/** A real PostgreSQL on a private loopback port, with a folder of its own, run as nobody; ended by pid. */
import { chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runProgram } from '@prima/base';
import { ensureDebianPackages, packagesFor } from './debian-packages.ts';
import { freePorts } from './free-ports.ts';

const programs = '/usr/lib/postgresql/15/bin';
const nobody = 65_534;

export interface Postgres {
  /** Of an empty database. */
  url: string;
  /** Ends it, and removes its folder. */
  stop(): Promise<void>;
}

/** Installs PostgreSQL where it is missing and starts one. */
export async function startPostgres(): Promise<Postgres> {
  await ensureDebianPackages(packagesFor('postgres'));
  const folder = await mkdtemp(join(tmpdir(), 'prima-pg-'));
  await chown(folder, nobody, nobody); // it does not run as root
  const data = join(folder, 'data');
  const as = `--reuid ${nobody} --regid ${nobody} --clear-groups env -i LC_ALL=C.UTF-8`.split(' ');
  const run = (program: string, ...args: string[]) =>
    runProgram('setpriv', [...as, join(programs, program), ...args], { timeoutMs: 60_000 });
  let isStarted = false;
  const stop = async () => {
    if (isStarted) await run('pg_ctl', '-D', data, '-m', 'immediate', '-w', 'stop');
    isStarted = false;
    await rm(folder, { recursive: true, force: true });
  };
  await run('initdb', '-D', data, ...'-U prima -A trust --no-sync -E UTF8 --locale=C.UTF-8'.split(' '));
  const [port = 0] = await freePorts(1);
  const settings = `listen_addresses = '127.0.0.1'\nport = ${port}\nunix_socket_directories = '${folder}'\nfsync = off\n`;
  await writeFile(join(data, 'postgresql.auto.conf'), settings);
  await run('pg_ctl', '-D', data, '-l', join(folder, 'log'), '-w', 'start');
  isStarted = true;
  return { url: `postgres://prima@127.0.0.1:${port}/postgres`, stop };
}
