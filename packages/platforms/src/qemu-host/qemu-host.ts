/** A plain QEMU host: a folder of machines, each a folder with a .vmx and its disks, run by QEMU under QMP. */
import { readdir, readFile, realpath } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { forEachBounded, PrimaError, runProgram, toPrimaError } from '@prima/base';
import { parseVmx } from '@prima/formats';
import { accelerator } from '@prima/qemu';
import type {
  ConfigFile,
  CreateRequest,
  Machine,
  MachineReading,
  OpenForBackupOptions,
  Platform,
  PowerAction,
  PowerOptions,
  Recovery,
  RedoPlatform,
  RestoreRequest,
  RestoreTarget,
} from '../platform.ts';
import type { HostItem } from '../host-item.ts';
import { openCold } from './cold-reading.ts';
import { createMachine } from './create.ts';
import { describeDisks } from './disk-files.ts';
import { openLive } from './live-reading.ts';
import { type MachineConfig, machineConfig } from './machine-config.ts';
import { locateMachine, type MachinePaths } from './machine-folder.ts';
import { withMachineLock } from './machine-lock.ts';
import { type FoundState, machineState } from './machine-state.ts';
import { pointFiles } from './point-files.ts';
import { power } from './power.ts';
import { recoverMachine } from './recover.ts';
import { addLogs, commitLogs, discardLogs } from './redo.ts';
import { openOverLogs } from './redo-reading.ts';
import { prepareRestore } from './restore.ts';
import { consoleLog, screenshot } from './screen.ts';
import { discardFolder, removeDeadStaging } from './staging.ts';

/** Machines looked at side by side: each is a process or two for a moment. */
const lookAtOnce = 4;

/** One machine's folder, read now. */
interface Opened {
  paths: MachinePaths;
  config: MachineConfig;
  found: FoundState;
  machine: Machine;
}

/** The host whose machines lie in `root`. Raises `not-found` where there is no such folder. */
export async function openQemuHost(name: string, root: string): Promise<Platform> {
  try {
    return new QemuHost(name, await realpath(resolve(root)));
  } catch (error) {
    throw toPrimaError(error, `opening the host ${name}`);
  }
}

/**
 * The folder of a machine (or its .vmx) that no host was told about: a machine for `openForBackup` of the
 * platform beside it, which knows this one machine only.
 */
export async function openFolder(path: string): Promise<{ platform: Platform; machine: Machine }> {
  const paths = await locateMachine(path);
  const platform = new QemuHost(basename(paths.folder), resolve(paths.folder, '..'));
  return { platform, machine: (await look(paths, platform.name)).machine };
}

async function look(paths: MachinePaths, host: string): Promise<Opened> {
  const vmx = parseVmx(await readFile(paths.vmx));
  const config = machineConfig(vmx, paths.folder, basename(paths.folder));
  const [found, disks] = await Promise.all([machineState(paths), describeDisks(config)]);
  const machine: Machine = {
    id: config.id,
    name: config.name,
    host,
    state: found.state,
    accelerator: found.accelerator,
    folder: paths.folder,
    memoryBytes: config.memoryBytes,
    cpus: config.cpus,
    disks,
    agent: found.agent,
    notes: [...config.notes, ...found.notes],
  };
  return { paths, config, found, machine };
}

class QemuHost implements Platform {
  readonly kind = 'qemu';
  readonly name: string;
  readonly redo: RedoPlatform;
  readonly #root: string;

  constructor(name: string, root: string) {
    this.name = name;
    this.#root = root;
    const opened = async (machine: Machine) => {
      const { paths, config, found } = await this.#open(machine);
      return { paths, config, state: found.state };
    };
    this.redo = {
      add: async (machine, options = {}) => addLogs(await opened(machine), options),
      commit: async (machine, options = {}) => commitLogs(await opened(machine), options),
      discard: async (machine, options = {}) => discardLogs(await opened(machine), options),
    };
  }

  async test(): Promise<{ name: string; ok: boolean; detail: string }[]> {
    const checks: { name: string; ok: boolean; detail: string }[] = [];
    const check = async (name: string, task: () => Promise<string>) => {
      try {
        checks.push({ name, ok: true, detail: await task() });
      } catch (error) {
        checks.push({ name, ok: false, detail: toPrimaError(error, name).message });
      }
    };
    await check('folder', async () => `${(await this.#folders()).length} machines in ${this.#root}`);
    await check('QEMU', () => firstLine('qemu-system-x86_64', ['--version']));
    await check('block tools', () => firstLine('qemu-img', ['--version']));
    await check('locks', () => firstLine('flock', ['--version']));
    await check('accelerator', async () => {
      const { kind, reason } = await accelerator();
      return `${kind}: ${reason}`;
    });
    return checks;
  }

  async inventory(signal?: AbortSignal): Promise<Machine[]> {
    const machines: Machine[] = [];
    await forEachBounded(
      await this.#folders(),
      lookAtOnce,
      async (folder) => {
        machines.push(await this.#lookOrSay(folder));
      },
      signal,
    );
    return machines.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async find(nameOrId: string, signal?: AbortSignal): Promise<Machine> {
    const machines = await this.inventory(signal);
    const wanted = nameOrId.toLowerCase();
    const named = machines.filter(({ name }) => name === nameOrId);
    const found = named.length > 0 ? named : machines.filter(({ id }) => id === wanted);
    const [first, second] = found;
    if (second) {
      const folders = found.map(({ folder }) => folder).join(', ');
      throw new PrimaError('ambiguous', `several machines on ${this.name} are ${nameOrId}: ${folders}`);
    }
    if (first) return first;
    const names = machines.map(({ name }) => name).join(', ') || 'none';
    throw new PrimaError('not-found', `there is no machine ${nameOrId} on ${this.name}; there are: ${names}`);
  }

  async configuration(machine: Machine): Promise<ConfigFile> {
    const { paths } = await this.#open(machine);
    return { name: basename(paths.vmx), bytes: await readFile(paths.vmx) };
  }

  async openForBackup(machine: Machine, options: OpenForBackupOptions): Promise<MachineReading> {
    const opened = await this.#open(machine);
    const { paths, config, found } = opened;
    const running = found.state === 'running' || found.state === 'paused';
    if (found.state === 'unknown') {
      throw new PrimaError('state', `${config.name} does not answer: ${found.notes.join('; ')}`);
    }
    const mode = options.mode === 'auto' ? (running ? 'hot' : 'cold') : options.mode;
    if (mode === 'cold') {
      const checkOff = async () => mustBeOff(config.name, (await machineState(paths)).state);
      return openCold({ paths, config, machine: opened.machine, options, checkOff });
    }
    if (!running) {
      throw new PrimaError(
        'state',
        `${config.name} is ${found.state}; a ${mode} backup needs it running, use cold`,
      );
    }
    const { files, notes } = await pointFiles(paths, config, paths.launch);
    const request = { paths, machine: opened.machine, config, options, files };
    const reading =
      options.method === 'redo' && mode === 'hot'
        ? await openOverLogs(request)
        : await openLive({ ...request, mode });
    reading.why.push(...notes);
    return reading;
  }

  async prepareRestore(request: RestoreRequest): Promise<RestoreTarget> {
    const published = async (folder: string, start: boolean) => {
      const machine = (await this.#look(folder)).machine;
      return start
        ? this.power(machine, 'start', { signal: request.signal, logger: request.logger })
        : machine;
    };
    return prepareRestore({ root: this.#root, request, present: await this.inventory(), published });
  }

  async power(machine: Machine, action: PowerAction, options: PowerOptions = {}): Promise<Machine> {
    const { paths, config } = await this.#open(machine);
    await power({ paths, config, options }, action);
    return (await look(paths, this.name)).machine;
  }

  async screenshot(machine: Machine): Promise<Uint8Array> {
    const { paths, config, found } = await this.#open(machine);
    return screenshot(paths, config.name, found.state);
  }

  async consoleLog(machine: Machine, bytes = 65536): Promise<string> {
    return consoleLog((await this.#open(machine)).paths, bytes);
  }

  async create(request: CreateRequest): Promise<Machine> {
    const present = await this.inventory();
    if (present.some(({ name }) => name === request.name)) {
      throw new PrimaError('exists', `there is a machine ${request.name} on ${this.name} already`);
    }
    return (await this.#look(await createMachine(this.#root, request))).machine;
  }

  async delete(machine: Machine): Promise<void> {
    const { paths, config } = await this.#open(machine);
    await withMachineLock(paths, 'deleting', async () => {
      const { state } = await machineState(paths);
      if (state !== 'off' && state !== 'suspended') {
        throw new PrimaError('state', `${config.name} is ${state} and cannot be deleted; stop it`);
      }
      await discardFolder(this.#root, paths.folder);
    });
  }

  async *hostConfiguration(): AsyncGenerator<HostItem> {
    const { kind, reason } = await accelerator();
    const machines = (await this.inventory()).map(({ id, name, folder, state }) => ({
      id,
      name,
      folder,
      state,
    }));
    const qemu = await firstLine('qemu-system-x86_64', ['--version']);
    const host = { name: this.name, root: this.#root, qemu, accelerator: kind, reason, machines };
    const content = Buffer.from(`${JSON.stringify(host, null, 2)}\n`);
    yield { name: 'host', content, state: { hostname: hostname(), qemu, accelerator: kind } };
  }

  /** Nothing is held between calls. */
  async close(): Promise<void> {}

  async recover(): Promise<Recovery[]> {
    const recoveries: Recovery[] = [];
    for (const folder of await removeDeadStaging(this.#root)) {
      recoveries.push({
        machine: basename(folder),
        undone: [`the unfinished ${folder} is removed`],
        left: [],
      });
    }
    for (const folder of await this.#folders()) {
      const recovery = await recoverMachine(folder);
      if (recovery) recoveries.push(recovery);
    }
    return recoveries;
  }

  /** Folders with a machine in them, by name; hidden ones are not looked at. */
  async #folders(): Promise<string[]> {
    const folders: string[] = [];
    for (const entry of await readdir(this.#root, { withFileTypes: true })) {
      if (entry.name.startsWith('.') || !(entry.isDirectory() || entry.isSymbolicLink())) continue;
      const folder = join(this.#root, entry.name);
      const names = await readdir(folder).catch(() => []);
      if (names.some((name) => name.toLowerCase().endsWith('.vmx'))) folders.push(folder);
    }
    return folders.sort();
  }

  async #look(folder: string): Promise<Opened> {
    return look(await locateMachine(folder), this.name);
  }

  async #lookOrSay(folder: string): Promise<Machine> {
    try {
      return (await this.#look(folder)).machine;
    } catch (error) {
      const { message } = toPrimaError(error, `looking at the machine in ${folder}`);
      const nothing = { memoryBytes: 0, cpus: 0, disks: [], agent: 'unknown' as const };
      const name = basename(folder);
      return { id: '', name, host: this.name, state: 'unknown', folder, ...nothing, notes: [message] };
    }
  }

  async #open({ folder, name }: Machine): Promise<Opened> {
    if (folder === undefined)
      throw new PrimaError('not-found', `${name} is no machine of the host ${this.name}`);
    return this.#look(folder);
  }
}

function mustBeOff(name: string, state: string): void {
  if (state === 'off' || state === 'suspended') return;
  throw new PrimaError('state', `${name} is ${state}; a cold backup needs it off or suspended, use hot`);
}

async function firstLine(program: string, args: string[]): Promise<string> {
  const { stdout } = await runProgram(program, args, { timeoutMs: 20_000 });
  return stdout.split('\n')[0] ?? '';
}
