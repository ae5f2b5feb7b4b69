/** A machine that runs from a repository: its exports, its start, the moves of its disks, its end. */
import {
  PrimaError,
  type Logger,
  silentLogger,
  systemClock,
  throwIfAborted,
  toPrimaError,
} from '@prima/base';
import type { BlockDevice } from '@prima/block';
import {
  type Domain as DomainRef,
  DomainState,
  type LibvirtConnection,
  PausedReason,
  XmlFlags,
} from '@prima/libvirt';
import type { Machine } from '../../platform.ts';
import type { AttendOptions, RecoveringMachine } from '../../recovery.ts';
import { type Domain, parseDomain } from '../domain.ts';
import type { HostLink } from '../link.ts';
import { power } from '../power.ts';
import { diskElements } from '../domain.ts';
import { DiskMoves } from './moves.ts';
import { type NotedDisk, readRecoveryNote, type RecoveryNote, writeRecoveryNote } from './note.ts';
import { deleteFile, removeRecovery } from './removal.ts';
import { type DiskNow, diskNow, settledXml } from './shape.ts';
import { serveAtSocket } from './socket.ts';

const lookEveryMs = 300;
/** How long a guest may take to start before its disks are moved all the same. */
const agentWaitMs = 60_000;
const startWaitMs = 15_000;

export interface RecoveringWork {
  link: HostLink;
  dom: DomainRef;
  note: RecoveryNote;
  notes: readonly string[];
  machine: Machine;
  /** Looks at the machine again. */
  found: () => Promise<Machine>;
}

interface Look {
  connection: LibvirtConnection;
  domain: Domain;
  state: number;
  reason: number;
}

export class LibvirtRecovery implements RecoveringMachine {
  readonly #work: RecoveringWork;
  readonly #moves = new DiskMoves();
  #isOffSaid = false;
  #isWaitSaid = false;

  constructor(work: RecoveringWork) {
    this.#work = work;
  }

  get machine(): Machine {
    return this.#work.machine;
  }

  get repository(): string {
    return this.#work.note.repository;
  }

  get point(): string {
    return this.#work.note.point;
  }

  get disks(): { disk: string; path: string }[] {
    return this.#work.note.disks.map(({ disk, overlay, final }) => ({ disk, path: final?.path ?? overlay }));
  }

  get notes(): readonly string[] {
    return this.#work.notes;
  }

  async serve(
    devices: ReadonlyMap<string, BlockDevice>,
    { logger = silentLogger }: { logger?: Logger } = {},
  ): Promise<AsyncDisposable> {
    const { note, dom } = this.#work;
    const connection = await this.#work.link.connection();
    const { xml } = await connection.call('domainGetXmlDesc', { dom });
    const exports = new Map<string, BlockDevice>();
    for (const { target, disk } of note.disks) {
      const device = devices.get(disk);
      if (device) exports.set(target, device);
    }
    const domain = parseDomain(xml, dom.name).document.root;
    return serveAtSocket({ connection, socket: note.socket, domain, devices: exports, logger });
  }

  async start({ signal }: { signal?: AbortSignal } = {}): Promise<Machine> {
    const { link, dom, found } = this.#work;
    const connection = await link.connection(signal);
    const { state } = await connection.call('domainGetState', { dom });
    const isOff = state === DomainState.VIR_DOMAIN_SHUTOFF || state === DomainState.VIR_DOMAIN_CRASHED;
    if (isOff) await power(connection, dom, 'start', { signal });
    return found();
  }

  async attend(options: AttendOptions): Promise<void> {
    const { signal, logger = silentLogger } = options;
    const begun = systemClock.monotonic();
    for (;;) {
      throwIfAborted(signal, `recovering ${this.#work.dom.name}`);
      const look = await this.#look();
      const goesOn = await this.#letRun(look, logger);
      const isReady = isStarted(look.domain, systemClock.monotonic() - begun);
      const next = this.#nextToMove(look);
      if (!next) return await this.#settle(look.connection);
      if (options.move && goesOn && isReady) {
        const { dom } = this.#work;
        await this.#moves.step({ connection: look.connection, dom, ...next, options, logger });
      }
      await systemClock.sleep(lookEveryMs, signal);
    }
  }

  /** A connection that was lost is made anew: the daemon may have been restarted. */
  async #look(): Promise<Look> {
    const { link, dom } = this.#work;
    const connection = await link.connection();
    try {
      const { xml } = await connection.call('domainGetXmlDesc', { dom });
      const { state, reason } = await connection.call('domainGetState', { dom });
      return { connection, domain: parseDomain(xml, dom.name), state, reason };
    } catch (error) {
      const failure = toPrimaError(error, `looking at ${dom.name}`);
      if (failure.code !== 'not-found') throw failure;
      throw new PrimaError('not-found', `${dom.name} was removed while it was being recovered`, {
        cause: error,
      });
    }
  }

  /**
   * QEMU finds our exports again at its second or third request after it lost them. Answers whether the machine is up, and
   * does not wait for its disks.
   */
  async #letRun({ connection, state, reason }: Look, logger: Logger): Promise<boolean> {
    const { dom } = this.#work;
    const isOff = state === DomainState.VIR_DOMAIN_SHUTOFF || state === DomainState.VIR_DOMAIN_CRASHED;
    if (isOff && !this.#isOffSaid)
      logger.warn(`${dom.name} is off; its disks still come from here: start it`);
    this.#isOffSaid = isOff;
    const waits =
      state === DomainState.VIR_DOMAIN_PAUSED && reason === PausedReason.VIR_DOMAIN_PAUSED_IOERROR;
    if (waits && !this.#isWaitSaid) logger.info(`${dom.name} was waiting for its disks and goes on`);
    this.#isWaitSaid = waits;
    if (!waits) return !isOff;
    try {
      await connection.call('domainResume', { dom });
    } catch (error) {
      // it goes on already, or has ended: the next look tells
      if (toPrimaError(error, 'resuming').code !== 'state') throw error;
    }
    return false;
  }

  /** One moves at a time: the guest reads from the same export. Undefined when all are where they belong. */
  #nextToMove({ domain }: Look): { noted: NotedDisk; now: DiskNow } | undefined {
    const { note } = this.#work;
    const elements = diskElements(domain.document);
    for (const noted of note.disks) {
      const now = diskNow(elements, noted, note.socket);
      if (now && !isThere(noted, now)) return { noted, now };
    }
    return undefined;
  }

  /** The configuration first gets its own policies; with it goes the note, and with that the recovery is over. */
  async #settle(connection: LibvirtConnection): Promise<void> {
    const { dom, note } = this.#work;
    for (const { overlay, final } of note.disks) if (final) await deleteFile(connection, overlay);
    const flags = XmlFlags.VIR_DOMAIN_XML_INACTIVE | XmlFlags.VIR_DOMAIN_XML_SECURE;
    const { xml } = await connection.call('domainGetXmlDesc', { dom, flags });
    await connection.call('domainDefineXmlFlags', { xml: settledXml(xml, note) });
    await writeRecoveryNote(connection, dom, undefined, 'live');
  }

  async cancel(): Promise<void> {
    const { link, dom, note } = this.#work;
    await removeRecovery(await link.connection(), dom, note);
  }
}

/** The file has all, or the machine has changed over to the copy. */
function isThere({ final }: NotedDisk, { needsExport, location }: DiskNow): boolean {
  return final ? location === final.location : !needsExport;
}

function isStarted({ agent, hasAgentChannel }: Domain, waitedMs: number): boolean {
  return agent === 'connected' || waitedMs > (hasAgentChannel ? agentWaitMs : startWaitMs);
}

/** Undefined where the machine is not under recovery. Raises `busy` while its recovery is being made. */
export async function findRecovery(
  link: HostLink,
  dom: DomainRef,
  about: Pick<RecoveringWork, 'machine' | 'found'>,
): Promise<LibvirtRecovery | undefined> {
  const note = await readRecoveryNote(await link.connection(), dom);
  if (!note) return undefined;
  if (!note.maker) return new LibvirtRecovery({ link, dom, note, notes: [], ...about });
  throw new PrimaError('busy', `${dom.name} is just being made by another recovery; try again later`, {
    retryable: true,
  });
}
