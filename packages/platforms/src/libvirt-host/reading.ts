/** Hot and warm backups: a running machine's disks at one point in time, read over NBD from its own QEMU. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import {
  type Logger,
  ownIdentity,
  PrimaError,
  silentLogger,
  systemClock,
  throwIfAborted,
  toPrimaError,
} from '@prima/base';
import type { BlockDevice } from '@prima/block';
import type { Domain as DomainRef, LibvirtConnection } from '@prima/libvirt';
import { afterFailure } from '../after-failure.ts';
import type { ConfigFile, Machine, MachineReading, OpenForBackupOptions } from '../platform.ts';
import { deleteOlderCheckpoints } from './checkpoints.ts';
import { closeAll } from './close-all.ts';
import type { Domain } from './domain.ts';
import { type DiskServer, serveDisks } from './disk-server.ts';
import { type DiskWay, diskWay } from './disk-way.ts';
import { type ExportedFile, exportHostFile } from './exports.ts';
import { type Guard, startGuard } from './guard.ts';
import { checkNoBlockJob, checkNoJob, isOurBackup } from './job.ts';
import type { HostLink } from './link.ts';
import { type Plan, planBackup } from './plan.ts';
import { checkpointOf, jobOf, openDisks } from './pull.ts';
import { type Reached, reachDisks, type SocketPaths } from './reach.ts';
import { readRunNote, type RunNote, writeRunNote } from './run-note.ts';
import { type ScratchWatch, watchScratch } from './scratch-watch.ts';
import { newCheckpointName } from './tracking.ts';
import { undoLeftRun, undoRun } from './undo.ts';
import { takePointInTime, type WindowResult } from './window.ts';

const beginTimeoutMs = 60_000;
/** QEMU lets go of its disks at the end of saving memory, and takes its bitmaps back when the machine goes on. */
const whyWarmIsFull =
  'its change bitmap cannot be read while the machine stands still after its memory was saved';
const looksForEnd = 20;
/** Two that looked for a note at once have both written theirs by then, and the last one stands. */
const settleMs = 100;

export interface ReadingRequest {
  link: HostLink;
  dom: DomainRef;
  /** As it runs, or as it is defined where it does not. */
  domain: Domain;
  machine: Machine;
  mode: 'hot' | 'warm';
  options: OpenForBackupOptions;
  files: readonly ConfigFile[];
  socketPaths: SocketPaths;
}

/** Opens a running machine. See `Platform.openForBackup`. */
export async function openRunning(request: ReadingRequest): Promise<MachineReading> {
  const run = new RunningReading(request);
  try {
    return await run.open();
  } catch (error) {
    const failure = toPrimaError(error, `opening ${request.domain.name} for a ${request.mode} backup`);
    throw await run.giveUp(failure);
  }
}

function whyNotFrozen({ state }: Machine, { hasAgentChannel }: Domain): string {
  if (state !== 'running') return 'the machine is paused';
  return hasAgentChannel
    ? 'the guest agent is not connected'
    : 'the machine has no channel for a guest agent (org.qemu.guest_agent.0)';
}

/** One backup of a running machine, from its note to the note's removal. */
class RunningReading {
  readonly #request: ReadingRequest;
  readonly #logger: Logger;
  readonly #run = randomBytes(4).toString('hex');
  readonly #devices: BlockDevice[] = [];
  /** Begun at once: it takes as long as all that comes before it is needed. */
  #guard: Promise<Guard> | undefined;
  #note: RunNote | undefined;
  #watch: ScratchWatch | undefined;
  #reached: Reached | undefined;
  #memory: ExportedFile | undefined;
  #succeeded = false;
  #closed: Promise<void> | undefined;

  constructor(request: ReadingRequest) {
    this.#request = request;
    this.#logger = request.options.logger ?? silentLogger;
  }

  async open(): Promise<MachineReading> {
    const { link, dom, domain, mode, options, machine } = this.#request;
    const { signal } = options;
    this.#guard = startGuard(link.uri, domain.uuid, this.#run);
    this.#guard.catch(() => undefined); // told when it is needed
    const connection = await link.connection(signal);
    for (const undone of await undoLeftRun(connection, dom)) this.#logger.warn(undone);
    await checkNoJob(connection, dom);
    const isLocal = await link.isLocal(signal);
    const plan = await planBackup({
      connection,
      dom,
      domain,
      options,
      run: this.#run,
      isLocal,
      ...(mode === 'warm' ? { whyFull: whyWarmIsFull } : {}),
    });
    const way = await diskWay({ connection, link, folder: plan.scratchFolder });
    await checkNoBlockJob(
      connection,
      dom,
      plan.disks.map(({ disk }) => disk.name),
    );
    const why = [...plan.why];
    const freezes = mode === 'hot' && machine.state === 'running' && domain.agent === 'connected';
    if (mode === 'hot' && !freezes) why.push(`not quiesced: ${whyNotFrozen(machine, domain)}`);
    if (mode === 'warm') why.push('not quiesced: the point holds the memory, file systems need not be');
    const note = await this.#announce(connection, plan, { freezes, way });
    const { server, ...moment } = await this.#begin(connection, plan, { note, way });
    why.push(...moment.why);
    const memory = note.memoryFile === undefined ? undefined : await this.#openMemory(note.memoryFile, way);
    this.#reached = await reachDisks(connection, way, server);
    const disks = await openDisks(plan, this.#reached, {
      devices: this.#devices,
      explain: (disk) => this.#explain(disk),
      ...(signal ? { signal } : {}),
    });
    return {
      ...moment,
      mode,
      why,
      disks,
      skipped: plan.skipped,
      files: [...this.#request.files],
      checkpoint: checkpointOf(plan, note.checkpoint ?? ''),
      ...(memory ? { memory } : {}),
      committing: () => this.#committing(),
      succeed: () => this.#succeed(),
      close: () => this.#close(),
    };
  }

  #sockets(): string[] {
    const { dom, socketPaths } = this.#request;
    return socketPaths(dom, `prima-${this.#run}.sock`);
  }

  /** Written down, and guarded, before anything is done. Raises `busy` where somebody else is at work. */
  async #announce(
    connection: LibvirtConnection,
    plan: Plan,
    { freezes, way }: { freezes: boolean; way: DiskWay },
  ): Promise<RunNote> {
    const { dom, machine, mode, options } = this.#request;
    const note: RunNote = {
      version: 1,
      run: this.#run,
      process: await ownIdentity(),
      purpose: `a ${mode} backup`,
      begun: new Date().toISOString(),
      inWindow: true,
      wasRunning: machine.state === 'running',
      freezes,
      checkpoint: newCheckpointName(options.owner),
      socket: way.transport === 'tls' ? 'tls' : (this.#sockets()[0] ?? ''),
      ...(mode === 'warm' ? { memoryFile: join(plan.scratchFolder, `prima-${this.#run}.memory`) } : {}),
    };
    await this.#guard;
    const other = await readRunNote(connection, dom); // planning took its time
    if (other === undefined) {
      this.#note = note;
      await writeRunNote(connection, dom, note);
      await systemClock.sleep(settleMs);
      const winner = await readRunNote(connection, dom);
      if (winner?.run === note.run) return note;
      this.#note = undefined; // it is another's now, who does not know of us
    }
    throw new PrimaError('busy', `another backup of ${dom.name} began at the same moment; try again later`, {
      retryable: true,
    });
  }

  async #begin(
    connection: LibvirtConnection,
    plan: Plan,
    { note, way }: { note: RunNote; way: DiskWay },
  ): Promise<WindowResult & { server: DiskServer }> {
    const { link, dom, domain, options } = this.#request;
    throwIfAborted(options.signal, 'opening a machine for backup');
    const { checkpoint } = note;
    let server: DiskServer = { transport: 'unix', socket: note.socket };
    const moment = await takePointInTime({
      connection,
      dom,
      domain,
      begin: async () => {
        server = await serveDisks(way, this.#sockets(), (at) => {
          const job = jobOf(plan, domain, { server: at, checkpoint });
          return connection.call('domainBackupBegin', { dom, ...job }, { timeoutMs: beginTimeoutMs });
        });
      },
      freezes: note.freezes,
      ...(note.memoryFile === undefined ? {} : { memoryFile: note.memoryFile }),
    });
    const socket = server.transport === 'unix' ? server.socket : note.socket;
    this.#note = { ...note, socket, inWindow: false };
    await writeRunNote(connection, dom, this.#note);
    this.#watch = watchScratch({
      connection: () => link.connection(),
      dom,
      plan,
      isLocal: await link.isLocal(),
      run: note.run,
    });
    return { ...moment, server };
  }

  /** The saved memory lies on the host: a stand-in serves it as if it were a disk. */
  async #openMemory(path: string, way: DiskWay): Promise<BlockDevice> {
    const { link, domain, options, socketPaths } = this.#request;
    this.#memory = await exportHostFile({
      connection: await link.connection(options.signal),
      domain,
      path,
      socketPaths,
      way,
    });
    return this.#memory.device;
  }

  async #explain(disk: string): Promise<PrimaError | undefined> {
    if (this.#watch?.failure) return this.#watch.failure;
    const { link, dom } = this.#request;
    const connection = await link.connection();
    // the daemon may hear of QEMU's end later than we do
    for (let look = 0; await isOurBackup(connection, dom, this.#run); look += 1) {
      if (look === looksForEnd) return undefined;
      await systemClock.sleep(100);
    }
    return new PrimaError(
      'source-changed',
      `reading ${disk}: the machine ended, or its backup job was ended by somebody else, while it was being backed up`,
      { retryable: true },
    );
  }

  async #committing(): Promise<void> {
    if (!this.#note) return;
    const { link, dom } = this.#request;
    this.#note = { ...this.#note, isCommitting: true };
    await writeRunNote(await link.connection(), dom, this.#note);
  }

  async #succeed(): Promise<void> {
    this.#succeeded = true;
    const { link, dom, options } = this.#request;
    const connection = await link.connection();
    await deleteOlderCheckpoints(connection, dom, options.owner, this.#note?.checkpoint ?? '');
  }

  #close(): Promise<void> {
    this.#closed ??= this.#takeBack();
    return this.#closed;
  }

  async #takeBack(): Promise<void> {
    await this.#watch?.stop();
    await closeAll([...this.#devices, this.#reached, this.#memory], this.#logger);
    const { link, dom } = this.#request;
    const guard = await this.#guard?.catch(() => undefined); // without it nothing was begun
    if (!this.#note) {
      await guard?.release();
      return;
    }
    try {
      const keep = this.#succeeded ? 'keep' : 'discard';
      await undoRun(await link.connection(), dom, this.#note, keep);
    } catch (error) {
      // the daemon does not answer, or the machine hangs: the guardian looks, and tries longer
      this.#logger.warn(`taking a backup back: ${toPrimaError(error, 'undoing').message}`);
      if (await guard?.abandon()) return;
      this.#logger.warn(
        `${dom.name}: a guardian process goes on trying to take the backup back until the host can be reached`,
      );
      return;
    }
    await guard?.release();
  }

  /** After a failure to open: everything back; the error to raise says it when that failed as well. */
  giveUp(failure: PrimaError): Promise<PrimaError> {
    return afterFailure(failure, 'taking a backup back', () => this.#close());
  }
}
