/**
 * The point in time of a running machine: freeze · begin the job with its checkpoint · thaw. With memory:
 * stop · save the memory · begin the job · go on.
 */
import { systemClock, toPrimaError } from '@prima/base';
import { type Domain as DomainRef, type LibvirtConnection, SnapshotCreateFlags } from '@prima/libvirt';
import { elementMaker, newDocument, writeXml } from '@prima/xml';
import type { Domain } from './domain.ts';
import { thawGuest } from './undo.ts';

/** Freezing flushes the guest's caches to its disks first. */
const freezeTimeoutMs = 60_000;
/** The agent's words for a command that it does not run now: while the guest is frozen it does not freeze again. */
const frozenByOthers = /has been disabled|frozen state/i;
/** All of the memory goes to a file. */
const memoryTimeoutMs = 3_600_000;

export interface WindowRequest {
  connection: LibvirtConnection;
  dom: DomainRef;
  domain: Domain;
  /** Begins the job, with its checkpoint. */
  begin: () => Promise<void>;
  /** Freeze through the guest's agent. */
  freezes: boolean;
  /** Stop for as long as the memory takes to be written to this file on the host. */
  memoryFile?: string;
}

export interface WindowResult {
  pointInTime: number;
  quiesced: boolean;
  why: string[];
  frozenMs?: number;
  pausedMs?: number;
}

/** Whatever fails, the guest is thawed and goes on as far as can be; the note tells the rest to whoever undoes it. */
export async function takePointInTime(request: WindowRequest): Promise<WindowResult> {
  const { connection, dom, memoryFile } = request;
  if (memoryFile === undefined) return takeFrozen(request);
  const stopped = systemClock.monotonic();
  await connection.call('domainSuspend', { dom });
  try {
    const pointInTime = systemClock.now();
    await saveMemory(request, memoryFile);
    await request.begin();
    return { pointInTime, quiesced: false, why: [], pausedMs: systemClock.monotonic() - stopped };
  } finally {
    await connection.call('domainResume', { dom });
  }
}

async function takeFrozen(request: WindowRequest): Promise<WindowResult> {
  const { connection, dom, freezes } = request;
  const why: string[] = [];
  const since = systemClock.monotonic();
  const quiesced = freezes && (await freeze(request, why));
  let pointInTime: number;
  try {
    pointInTime = systemClock.now();
    await request.begin();
  } finally {
    if (quiesced) await thawGuest(connection, dom);
  }
  const frozen = quiesced ? { frozenMs: systemClock.monotonic() - since } : {};
  return { pointInTime, quiesced, why, ...frozen };
}

async function freeze({ connection, dom }: WindowRequest, why: string[]): Promise<boolean> {
  try {
    const { filesystems } = await connection.call('domainFsFreeze', { dom }, { timeoutMs: freezeTimeoutMs });
    if (filesystems === 0) why.push('the guest agent found no file system to freeze');
    else why.push(`the guest agent froze ${filesystems} file ${filesystems === 1 ? 'system' : 'systems'}`);
    return filesystems > 0;
  } catch (error) {
    const failure = toPrimaError(error, 'freezing');
    why.push(`not quiesced: ${failure.message}`);
    if (frozenByOthers.test(failure.message)) return false; // whoever froze it counts on that
    await thawGuest(connection, dom).catch((fault: unknown) => {
      // it may have frozen without telling: the note says so, and whoever undoes it tries again
      if (failure.code === 'timeout') throw fault;
    });
    return false;
  }
}

/** An external snapshot of the memory alone: the machine stays stopped, its disks stay what they are. */
async function saveMemory({ connection, dom, domain }: WindowRequest, file: string): Promise<void> {
  const make = elementMaker({});
  const disks = domain.disks.map(({ target }) => make('disk', { name: target, snapshot: 'no' }));
  const xml = writeXml(
    newDocument(
      make('domainsnapshot', {}, [make('memory', { snapshot: 'external', file }), make('disks', {}, disks)]),
      "'",
    ),
  );
  const flags = SnapshotCreateFlags.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA;
  await connection.call('domainSnapshotCreateXml', { dom, xml, flags }, { timeoutMs: memoryTimeoutMs });
}
