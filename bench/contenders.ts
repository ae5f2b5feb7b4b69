/**
 * The programs that back up and restore one disk file: Prima and its peers, each run as its users run it,
 * with its defaults but for what is said here. Where a program does not flush what it wrote, a flush is
 * run after it and its time counted, so that all end with the same promise.
 */
import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { statIfThere } from '@prima/base';
import { projectRoot } from '@prima/testbed';
import { type ProgramRun, runMeasured } from './program-run.ts';

export interface Contender {
  name: string;
  /** Makes an empty repository in `folder`, which exists; not measured. */
  prepare(folder: string): Promise<void>;
  /** Backs `disk` up into the repository. */
  backup(folder: string, disk: string): Promise<ProgramRun>;
  /** Backs the unchanged disk up again, reading all of it. */
  again?(folder: string, disk: string): Promise<ProgramRun>;
  /** Restores the newest backup as a sparse file where it can; returns the file's path too. */
  restore?(folder: string, disk: string, target: string): Promise<ProgramRun & { path: string }>;
}

const secret = 'not a secret: the benchmark';

/** Environment variables that name another place for a contender's repository than its own folder. */
export type PlaceOf = (folder: string) => Record<string, string>;

const ownFolder: PlaceOf = () => ({});

export function prima(name: string, options: { readBack: boolean; placeOf?: PlaceOf }): Contender {
  const { placeOf = ownFolder } = options;
  const environment = (folder: string) => ({
    PRIMA_REPO: join(folder, 'repository'),
    PRIMA_HOME: join(folder, 'home'),
    PRIMA_PASSPHRASE: secret,
    ...placeOf(folder),
  });
  const run = (folder: string, ...args: string[]) =>
    runMeasured([join(projectRoot, 'bin/prima'), ...args, '--quiet'], { env: environment(folder) });
  const backup = (folder: string, disk: string) =>
    run(folder, 'backup', disk, ...(options.readBack ? [] : ['--no-read-back']));
  return {
    name,
    prepare: async (folder) => void (await run(folder, 'init')),
    backup,
    again: backup,
    restore: async (folder, _disk, target) => {
      const result = await run(folder, 'restore', 'latest', '--to', target);
      const [file = ''] = (await readdir(target)).filter((entry) => entry.endsWith('.raw'));
      return { ...result, path: join(target, file) };
    },
  };
}

/** Its local repository flushes by itself. Encrypts always; default compression (`auto`, zstd) and cache. */
export function resticAt(name: string, placeOf: PlaceOf = ownFolder): Contender {
  const run = (folder: string, command: string[]) => {
    const env = {
      RESTIC_REPOSITORY: join(folder, 'repository'),
      RESTIC_PASSWORD: secret,
      RESTIC_CACHE_DIR: join(folder, 'cache'),
      ...placeOf(folder),
    };
    return runMeasured(command, { env });
  };
  return {
    name,
    prepare: async (folder) => void (await run(folder, ['restic', 'init'])),
    backup: (folder, disk) => run(folder, ['restic', 'backup', '--quiet', disk]),
    again: (folder, disk) => run(folder, ['restic', 'backup', '--quiet', '--force', disk]),
    restore: async (folder, disk, target) => {
      const path = join(target, 'disk.raw');
      // `restic restore` of this version writes every zero; piping into dd leaves holes, and is the faster way
      const script = `set -o pipefail; restic dump latest "$0" | dd of="$1" bs=1M iflag=fullblock conv=sparse,fdatasync`;
      return { ...(await run(folder, ['bash', '-c', script, disk, path])), path };
    },
  };
}

export const restic = resticAt('restic');

/** Flushes its repository by itself, not what it extracts. `repokey` is its faster encryption here. */
export const borg: Contender = {
  name: 'borg',
  prepare: async (folder) => void (await borgRun(folder, ['borg', 'init', '--encryption', 'repokey'])),
  backup: (folder, disk) => borgRun(folder, ['borg', 'create', '-C', 'zstd,1', '::first', disk]),
  again: (folder, disk) =>
    borgRun(folder, ['borg', 'create', '-C', 'zstd,1', '--files-cache', 'disabled', '::second', disk]),
  restore: async (folder, disk, target) => {
    const script = 'cd "$0" && borg extract --sparse ::first && sync "./$1"';
    const run = await borgRun(folder, ['bash', '-c', script, target, disk]);
    return { ...run, path: join(target, disk) };
  },
};

function borgRun(folder: string, command: string[]): Promise<ProgramRun> {
  const env = {
    BORG_REPO: join(folder, 'repository'),
    BORG_BASE_DIR: join(folder, 'base'),
    BORG_PASSPHRASE: secret,
  };
  return runMeasured(command, { env });
}

/** No repository at all: what compressing alone costs. */
export const zstd: Contender = {
  name: 'zstd -1 -T2',
  prepare: (folder) => mkdir(join(folder, 'repository')),
  backup: (folder, disk) => {
    const script = 'zstd -1 -T2 --quiet "$0" -o "$1" && sync "$1"';
    return runMeasured(['bash', '-c', script, disk, join(folder, 'repository/disk.zst')]);
  },
};

/** As a backup a compressed qcow2; as a restore a plain copy of the disk. */
export const qemuImg: Contender = {
  name: 'qemu-img',
  prepare: (folder) => mkdir(join(folder, 'repository')),
  backup: (folder, disk) => {
    const script =
      'qemu-img convert -f raw -O qcow2 -c -o compression_type=zstd -W -m 4 "$0" "$1" && sync "$1"';
    return runMeasured(['bash', '-c', script, disk, join(folder, 'repository/disk.qcow2')]);
  },
  restore: async (_folder, disk, target) => {
    const path = join(target, 'disk.raw');
    const script = 'qemu-img convert -f raw -O raw "$0" "$1" && sync "$1"';
    return { ...(await runMeasured(['bash', '-c', script, disk, path])), path };
  },
};

/** What the files below `folder` occupy, bytes. */
export async function storedBytes(folder: string): Promise<number> {
  let total = 0;
  if ((await statIfThere(folder)) === undefined) return 0; // it is on a server
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) total += (await stat(join(entry.parentPath, entry.name))).size;
  }
  return total;
}
