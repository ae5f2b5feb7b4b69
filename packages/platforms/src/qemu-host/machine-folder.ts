/**
 * Where things lie in the folder of a machine:
 *
 *   NAME.vmx           configuration
 *   *.raw *.qcow2 …    disks
 *   machine.memory     memory of a suspended machine; machine.launch.json beside it: what it ran on
 *   .run/              0700: what belongs to one run, QEMU's working directory
 *     lock             held (flock) by who backs up, starts, suspends, restores or deletes
 *     backup.json      what a live backup has done to QEMU and must be undone; see intent.ts
 *     guardian.log     what could not be undone, and why
 *     launch.json      what the present or last run was started with
 *     qmp-control.sock qmp-backup.sock qga.sock nbd.sock memory.sock serial.log qemu.log …
 */
import { mkdir, readdir, readFile, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { PrimaError, systemErrorCode, toPrimaError, UserError, statIfThere } from '@prima/base';

export interface MachinePaths {
  readonly folder: string;
  readonly vmx: string;
  readonly run: string;
  readonly lock: string;
  readonly intent: string;
  readonly launch: string;
  readonly control: string;
  readonly backup: string;
  readonly agent: string;
  readonly serial: string;
  readonly memory: string;
  readonly memoryLaunch: string;
}

/** Names inside the run folder, as QEMU (which works there) sees them. */
export const runNames = {
  control: 'qmp-control.sock',
  backup: 'qmp-backup.sock',
  agent: 'qga.sock',
  serial: 'serial.log',
  nbd: 'nbd.sock',
  memory: 'memory.sock',
} as const;

const runFolderName = '.run';
export const memoryName = 'machine.memory';
export const memoryLaunchName = 'machine.launch.json';

/** Names of machines: also names of folders and files. */
const machineNamePattern = /^[A-Za-z0-9][A-Za-z0-9._ -]{0,79}$/;

export function checkMachineName(name: string): void {
  if (machineNamePattern.test(name) && !name.endsWith(' ')) return;
  throw new UserError(
    'usage',
    `"${name}" cannot be a machine's name: begin with a letter or digit, then letters, digits, spaces, ". _ -", 80 at most`,
  );
}

export function machinePaths(folder: string, vmxName: string): MachinePaths {
  const run = join(folder, runFolderName);
  return {
    folder,
    vmx: join(folder, vmxName),
    run,
    lock: join(run, 'lock'),
    intent: join(run, 'backup.json'),
    launch: join(run, 'launch.json'),
    control: join(run, runNames.control),
    backup: join(run, runNames.backup),
    agent: join(run, runNames.agent),
    serial: join(run, runNames.serial),
    memory: join(folder, memoryName),
    memoryLaunch: join(folder, memoryLaunchName),
  };
}

/**
 * The paths of the machine at `path`: its folder, or its .vmx. Raises `not-found` when there is none,
 * `ambiguous` when the folder has several and none is named like it.
 */
export async function locateMachine(path: string): Promise<MachinePaths> {
  const whole = resolve(path);
  const info = await stat(whole).catch((error: unknown) => {
    throw toPrimaError(error, `looking for a machine at ${whole}`);
  });
  if (!info.isDirectory()) {
    if (whole.toLowerCase().endsWith('.vmx')) {
      return machinePaths(await realpath(dirname(whole)), basename(whole));
    }
    throw new PrimaError('not-found', `${whole} is no machine: name its folder or its .vmx file`);
  }
  const folder = await realpath(whole);
  const names = (await readdir(folder)).filter((name) => name.toLowerCase().endsWith('.vmx')).sort();
  const own = names.find((name) => name === `${basename(folder)}.vmx`);
  const [first] = own === undefined ? names : [own];
  if (first === undefined) throw new PrimaError('not-found', `there is no .vmx file in ${folder}`);
  if (own === undefined && names.length > 1) {
    const message = `${folder} holds several machines: ${names.join(', ')}; name one of these files`;
    throw new PrimaError('ambiguous', message);
  }
  return machinePaths(folder, first);
}

/** Makes the run folder; only its owner may enter. */
export async function makeRunFolder(paths: MachinePaths): Promise<void> {
  try {
    await mkdir(paths.run, { mode: 0o700 });
  } catch (error) {
    if (systemErrorCode(error) !== 'EEXIST') throw toPrimaError(error, `making ${paths.run}`);
  }
}

/** The file's text, or undefined when it is not there. */
export async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw toPrimaError(error, `reading ${path}`);
  }
}

export async function fileExists(path: string): Promise<boolean> {
  return (await statIfThere(path)) !== undefined;
}
