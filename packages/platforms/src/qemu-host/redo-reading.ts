/**
 * A hot backup by redo logs, as ESX did it: the guest writes to logs while its disks, which nobody changes now, are read
 * as the files that they are; at the end the logs are merged. Needs nothing of QEMU but `blockdev-snapshot` and
 * `block-commit`, and no NBD server; changes are not tracked.
 */
import { dirname } from 'node:path';
import { statfs } from 'node:fs/promises';
import { formatBytes, GiB, MiB, ownIdentity, PrimaError, silentLogger, toPrimaError } from '@prima/base';
import { type BlockDevice, filterDevice, openRawFile } from '@prima/block';
import { openWithQemu } from '@prima/qemu';
import type {
  ConfigFile,
  DiskReading,
  Machine,
  MachineDisk,
  MachineReading,
  OpenForBackupOptions,
} from '../platform.ts';
import { describeDisks, knownFormat, logsOverMapping } from './disk-files.ts';
import type { MachineConfig } from './machine-config.ts';
import type { MachinePaths } from './machine-folder.ts';
import { lockMachine, type MachineLock } from './machine-lock.ts';
import { LogWork, type RedoMachine } from './redo.ts';

export interface LogReadingRequest {
  paths: MachinePaths;
  machine: Machine;
  config: MachineConfig;
  options: OpenForBackupOptions;
  files: readonly ConfigFile[];
}

/** The guest's writes need room meanwhile: with less the backup does not begin, and with much less it ends. */
const roomToBegin = 1 * GiB;
const roomToGoOn = 256 * MiB;
const lookEveryMs = 2_000;

/** Opens a running machine. See `Platform.openForBackup`. */
export async function openOverLogs(request: LogReadingRequest): Promise<MachineReading> {
  const { paths, config } = request;
  const folders = [...new Set(config.disks.map(({ path }) => dirname(path)))];
  await mustHaveRoom(folders, roomToBegin);
  const lock = await lockMachine(paths, { purpose: 'a hot backup by redo logs', guardian: true });
  const run = new LogReading(request, lock, folders);
  try {
    return await run.open();
  } catch (error) {
    const failure = toPrimaError(
      error,
      `opening the machine in ${paths.folder} for a hot backup by redo logs`,
    );
    await run.abandon();
    throw failure;
  }
}

class LogReading {
  readonly #request: LogReadingRequest;
  readonly #lock: MachineLock;
  readonly #folders: readonly string[];
  readonly #devices: BlockDevice[] = [];
  #work: LogWork | undefined;
  #watch: NodeJS.Timeout | undefined;
  #noRoom: PrimaError | undefined;
  #closed: Promise<void> | undefined;

  constructor(request: LogReadingRequest, lock: MachineLock, folders: readonly string[]) {
    this.#request = request;
    this.#lock = lock;
    this.#folders = folders;
  }

  async open(): Promise<MachineReading> {
    const { paths, machine, config, options, files } = this.#request;
    const { signal, logger = silentLogger } = options;
    const target: RedoMachine = { paths, config, state: machine.state };
    this.#work = await LogWork.begin(target, { runs: true, logger, signal });
    const before = await describeDisks(config);
    const pointInTime = Date.now();
    const owner = await ownIdentity();
    const added = await this.#work.add({ purpose: 'backup', owner, signal });
    this.#watchRoom();
    const slots = new Set(added.done.map(({ disk }) => disk));
    const disks: DiskReading[] = [];
    const skipped: MachineReading['skipped'] = [];
    for (const disk of before) {
      if (slots.has(disk.slot)) disks.push(await this.#read(disk, signal));
      else skipped.push({ disk, why: whyWithoutLog(disk) });
    }
    return {
      mode: 'hot',
      quiesced: added.frozenMs !== undefined,
      why: [...added.why, 'read while the guest writes to redo logs, which are merged at the end'],
      pointInTime,
      ...(added.frozenMs !== undefined && { frozenMs: added.frozenMs }),
      disks,
      skipped,
      files: [...files],
      checkpoint: { platform: 'qemu', version: 1, disks: [] },
      succeed: async () => undefined,
      close: () => (this.#closed ??= this.#takeBack()),
    };
  }

  /** The guardian merges the logs. */
  async abandon(): Promise<void> {
    clearInterval(this.#watch);
    for (const device of this.#devices) await device.close();
    await this.#lock.abandon();
  }

  async #read(disk: MachineDisk, signal?: AbortSignal): Promise<DiskReading> {
    const format = knownFormat(disk);
    const file =
      format === 'raw' ? await openRawFile(disk.path) : await openWithQemu(disk.path, { format, signal });
    this.#devices.push(file);
    const device = roomy(file, () => this.#noRoom);
    return { disk, device, whyFull: 'changes are not tracked when a machine is read by redo logs' };
  }

  #watchRoom(): void {
    this.#watch = setInterval(() => {
      mustHaveRoom(this.#folders, roomToGoOn).catch((error: unknown) => {
        this.#noRoom ??= toPrimaError(error, 'looking for free room');
      });
    }, lookEveryMs);
    this.#watch.unref();
  }

  async #takeBack(): Promise<void> {
    clearInterval(this.#watch);
    for (const device of this.#devices) await device.close();
    try {
      await this.#work?.commit({ level: 0 });
    } catch (error) {
      await this.#lock.abandon();
      throw toPrimaError(error, 'merging the redo logs of a backup');
    }
    await this.#lock.release();
  }
}

/** Fails its reads once there is no room any more for what the guest writes. */
function roomy(device: BlockDevice, problem: () => PrimaError | undefined): BlockDevice {
  return filterDevice(device, {
    read: async (offset, into, signal) => {
      const failure = problem();
      if (failure) throw failure;
      await device.read(offset, into, signal);
    },
  });
}

async function mustHaveRoom(folders: readonly string[], least: number): Promise<void> {
  for (const folder of folders) {
    const { bavail, bsize } = await statfs(folder).catch((error: unknown) => {
      throw toPrimaError(error, `looking for free room in ${folder}`);
    });
    if (bavail * bsize >= least) continue;
    throw new PrimaError(
      'no-space',
      `${folder} has ${formatBytes(bavail * bsize)} of free room; what the guest writes while it is read goes there, and ` +
        `${formatBytes(least)} is the least for that`,
    );
  }
}

function whyWithoutLog({ excluded, lun }: MachineDisk): string {
  return excluded ?? (lun ? logsOverMapping : 'it is independent: it has no redo logs');
}
