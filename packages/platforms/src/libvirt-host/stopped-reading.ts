/** Cold backups: the disks of a machine that is off, or suspended, through a stand-in. */
import { randomBytes } from 'node:crypto';
import { PrimaError, silentLogger, toPrimaError } from '@prima/base';
import type { BlockDevice } from '@prima/block';
import type { Domain as DomainRef, LibvirtConnection } from '@prima/libvirt';
import type { ConfigFile, MachineReading, OpenForBackupOptions } from '../platform.ts';
import { deleteCheckpoint, forgetCheckpoint, listCheckpoints, tellCheckpoint } from './checkpoints.ts';
import { closeAll } from './close-all.ts';
import type { Domain } from './domain.ts';
import { serveDisks } from './disk-server.ts';
import { diskWay } from './disk-way.ts';
import { type ExportedFile, exportHostFile } from './exports.ts';
import { endBackup } from './job.ts';
import type { HostLink } from './link.ts';
import { type Plan, planBackup } from './plan.ts';
import { checkpointOf, jobOf, openDisks } from './pull.ts';
import { type Reached, reachDisks, type SocketPaths } from './reach.ts';
import { endStandIn, startStandIn, type StandIn } from './stand-in.ts';
import { removeStrayBitmaps } from './stray-bitmaps.ts';
import { asLibvirtCheckpoint, checkpointPrefix, newCheckpointName } from './tracking.ts';

export interface StoppedRequest {
  link: HostLink;
  dom: DomainRef;
  domain: Domain;
  options: OpenForBackupOptions;
  files: readonly ConfigFile[];
  socketPaths: SocketPaths;
  /** The file on the host that the machine's memory was saved to. */
  savedMemory?: string;
}

/** Opens a machine that does not run. See `Platform.openForBackup`. */
export async function openStopped(request: StoppedRequest): Promise<MachineReading> {
  const run = new StoppedReading(request);
  try {
    return await run.open();
  } catch (error) {
    const failure = toPrimaError(error, `opening ${request.domain.name} for a cold backup`);
    await closeAll([run], request.options.logger ?? silentLogger);
    throw failure;
  }
}

class StoppedReading {
  readonly #request: StoppedRequest;
  readonly #checkpoint: string;
  readonly #devices: BlockDevice[] = [];
  #standIn: StandIn | undefined;
  #plan: Plan | undefined;
  #reached: Reached | undefined;
  #memory: ExportedFile | undefined;
  #succeeded = false;
  #closed: Promise<void> | undefined;

  constructor(request: StoppedRequest) {
    this.#request = request;
    this.#checkpoint = newCheckpointName(request.options.owner);
  }

  async open(): Promise<MachineReading> {
    const { link, domain, options, socketPaths, savedMemory, files } = this.#request;
    const { signal } = options;
    const connection = await link.connection(signal);
    const standIn = await startStandIn({
      connection,
      template: domain,
      disks: domain.disks.filter(({ excluded }) => excluded === undefined),
    });
    this.#standIn = standIn;
    const run = randomBytes(4).toString('hex');
    const { dom } = standIn;
    const since = asLibvirtCheckpoint(options.since);
    const strays = await removeStrayBitmaps(standIn, checkpointPrefix(options.owner), since?.name);
    const isLocal = await link.isLocal(signal);
    const plan = await planBackup({ connection, dom, domain, options, run, isLocal, isStandIn: true });
    this.#plan = plan;
    const way = await diskWay({ connection, link, folder: plan.scratchFolder });
    const sockets = socketPaths(dom, 'prima.sock');
    const pointInTime = Date.now();
    const server = await serveDisks(way, sockets, (at) => {
      const job = jobOf(plan, domain, { server: at, checkpoint: this.#checkpoint });
      return connection.call('domainBackupBegin', { dom, ...job }, { timeoutMs: 60_000 });
    });
    this.#reached = await reachDisks(connection, way, server);
    const disks = await openDisks(plan, this.#reached, {
      devices: this.#devices,
      explain: async (disk) => this.#explain(disk, connection),
      ...(signal ? { signal } : {}),
    });
    if (savedMemory !== undefined) {
      this.#memory = await exportHostFile({ connection, domain, path: savedMemory, socketPaths, way });
    }
    const state = this.#memory ? 'suspended: its memory is in the point' : 'off';
    return {
      mode: 'cold',
      quiesced: false,
      why: [
        `the machine is ${state}; its disks are read through a stand-in that never runs`,
        ...plan.why,
        ...(strays > 0 ? [`${strays} change bitmaps of backups that died are removed`] : []),
      ],
      pointInTime,
      disks,
      skipped: plan.skipped,
      files: [...files],
      checkpoint: checkpointOf(plan, this.#checkpoint),
      ...(this.#memory ? { memory: this.#memory.device } : {}),
      succeed: () => this.#succeed(),
      close: () => this.close(),
    };
  }

  async #explain(disk: string, connection: LibvirtConnection): Promise<PrimaError | undefined> {
    if (!connection.failure) return undefined;
    return new PrimaError(
      'source-changed',
      `reading ${disk}: the connection to the host was lost, and with it the stand-in that the disks were read through`,
      { cause: connection.failure, retryable: true },
    );
  }

  /** The bitmaps are in the disks' files: the machine is told of their checkpoint, and forgets those before. */
  async #succeed(): Promise<void> {
    const { link, dom, options } = this.#request;
    const standIn = this.#standIn;
    if (!standIn || !this.#plan) return;
    const connection = await link.connection();
    const tracked = this.#plan.disks.filter((planned) => planned.tracked).map(({ disk }) => disk.slot);
    this.#succeeded = true;
    const since = asLibvirtCheckpoint(options.since)?.name;
    const prefix = checkpointPrefix(options.owner);
    for (const { name } of await listCheckpoints(connection, dom)) {
      if (name.startsWith(prefix)) await forgetCheckpoint(connection, dom, name);
    }
    if (tracked.length > 0) {
      const made = Math.floor(Date.now() / 1000);
      await tellCheckpoint(connection, dom, { name: this.#checkpoint, tracked, made, validate: false });
    }
    if (since !== undefined) await deleteCheckpoint(connection, standIn.dom, since);
    await removeStrayBitmaps(standIn, prefix, this.#checkpoint);
  }

  close(): Promise<void> {
    this.#closed ??= this.#takeBack();
    return this.#closed;
  }

  async #takeBack(): Promise<void> {
    const { link, options } = this.#request;
    await closeAll([...this.#devices, this.#memory, this.#reached], options.logger ?? silentLogger);
    const standIn = this.#standIn;
    if (!standIn) return;
    const connection = await link.connection();
    try {
      await endBackup(connection, standIn.dom);
      if (!this.#succeeded) await deleteCheckpoint(connection, standIn.dom, this.#checkpoint);
    } finally {
      await endStandIn(standIn, connection);
    }
  }
}
