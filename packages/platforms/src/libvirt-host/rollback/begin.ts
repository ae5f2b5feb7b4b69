/** Begins a rollback point: the note first, then overlays on all disks at one moment. */
import { randomBytes } from 'node:crypto';
import { ownIdentity, PrimaError, silentLogger, throwIfAborted, toPrimaError } from '@prima/base';
import {
  type Domain as DomainRef,
  type LibvirtConnection,
  LibvirtError,
  SnapshotCreateFlags,
  XmlFlags,
} from '@prima/libvirt';
import { elementAt } from '@prima/xml';
import type { MachineState } from '../../platform.ts';
import type { RollbackOptions } from '../../rollback.ts';
import { type Domain, type DomainDisk, parseDomain } from '../domain.ts';
import { deleteHostFile, readHostFile, writeHostFile } from '../host-files.ts';
import { checkNoBlockJob, checkNoJob } from '../job.ts';
import { fileLimitBytes } from '../machine-files.ts';
import { checkNotRecovering } from '../recovery/note.ts';
import { startStandIn } from '../stand-in.ts';
import { undoLeftRun } from '../undo.ts';
import {
  type NotedOverlay,
  nvramCopyPath,
  overlayPath,
  readRollbackNote,
  type RollbackNote,
  writeRollbackNote,
} from './note.ts';
import { placeOf, snapshotXml, switchedXml } from './overlays.ts';

export interface RollbackRequest {
  connection: LibvirtConnection;
  dom: DomainRef;
  /** As it runs, or as it is defined where it does not. */
  domain: Domain;
  state: MachineState;
  options: RollbackOptions;
}

/** With the freezing of the guest, which flushes its caches. */
const snapshotTimeoutMs = 120_000;

/** See `RollbackPlatform.begin`. */
export async function beginRollback(request: RollbackRequest): Promise<RollbackNote> {
  const { connection, dom, domain, options } = request;
  await checkMayBegin(request);
  const id = randomBytes(4).toString('hex');
  const note: RollbackNote = {
    version: 1,
    id,
    machine: dom.uuid,
    made: new Date().toISOString(),
    phase: 'beginning',
    process: await ownIdentity(),
    quiesced: false,
    disks: disksFor(domain).map(({ target, location, format }) => ({
      target,
      base: location,
      format,
      overlay: overlayPath(location, id, target),
    })),
    ...(domain.nvram === undefined
      ? {}
      : { nvram: { path: domain.nvram, copy: nvramCopyPath(domain.nvram, id) } }),
  };
  throwIfAborted(options.signal, `beginning a rollback point of ${dom.name}`);
  await writeRollbackNote(connection, dom, note);
  try {
    const nvram = await copyNvram(connection, note);
    const quiesced = isUp(request)
      ? await snapshotRunning(request, note)
      : await snapshotStopped(request, note);
    const { process: _process, nvram: _nvram, ...rest } = note;
    const open: RollbackNote = { ...rest, phase: 'open', quiesced, ...(nvram ? { nvram } : {}) };
    await writeRollbackNote(connection, dom, open);
    return open;
  } catch (error) {
    const failure = toPrimaError(error, `beginning a rollback point of ${dom.name}`);
    // what could not be taken back stays noted, and is by whoever looks next
    if (!connection.failure) await dropUntaken(connection, dom, note);
    throw failure;
  }
}

export const isUp = ({ state }: Pick<RollbackRequest, 'state'>): boolean =>
  state === 'running' || state === 'paused';

async function checkMayBegin(request: RollbackRequest): Promise<void> {
  const { connection, dom, domain, state, options } = request;
  const { persistent } = await connection.call('domainIsPersistent', { dom });
  if (!persistent) {
    throw new PrimaError('unsupported', `${dom.name} is transient: there is no configuration to go back to`);
  }
  await checkNotRecovering(connection, dom, 'given a rollback point');
  const before = await readRollbackNote(connection, dom);
  if (before) {
    throw new PrimaError(
      'exists',
      `${dom.name} has a rollback point already, of ${before.made}: keep or undo it first (prima machine rollback list HOST/${dom.name})`,
    );
  }
  if (state !== 'running' && state !== 'paused' && state !== 'off') {
    throw new PrimaError('state', `${dom.name} is ${state}; a rollback point needs it running or off`);
  }
  for (const undone of await undoLeftRun(connection, dom)) (options.logger ?? silentLogger).warn(undone);
  await checkNoJob(connection, dom);
  if (isUp(request))
    await checkNoBlockJob(
      connection,
      dom,
      domain.disks.map(({ target }) => target),
    );
}

/** Disks that are written to. One that cannot go back would leave the machine between two states. */
function disksFor({ name, disks }: Domain): DomainDisk[] {
  const written = disks.filter(
    ({ element, location }) =>
      location !== '' && !elementAt(element, 'readonly') && !elementAt(element, 'transient'),
  );
  for (const { target, source, excluded, element } of written) {
    const why =
      excluded ??
      (source === 'file'
        ? undefined
        : `it is no file ("${source}"): its storage may have snapshots of its own`) ??
      (elementAt(element, 'shareable') ? 'other machines write to it, too' : undefined);
    if (why !== undefined) {
      throw new PrimaError(
        'unsupported',
        `${name} cannot have a rollback point: ${target} cannot go back: ${why}`,
      );
    }
  }
  if (written.length > 0) return written;
  throw new PrimaError('unsupported', `${name} has no disk that a rollback point could be of`);
}

/** Undefined where there is none yet. */
async function copyNvram(
  connection: LibvirtConnection,
  { nvram }: RollbackNote,
): Promise<RollbackNote['nvram']> {
  const bytes = nvram && (await readHostFile(connection, nvram.path, fileLimitBytes));
  if (!nvram || !bytes) return undefined;
  await writeHostFile(connection, nvram.copy, bytes);
  return nvram;
}

/** libvirt freezes and thaws within the one call: nobody's death leaves the guest frozen. Answers whether it was. */
async function snapshotRunning(
  { connection, dom, domain, state, options }: RollbackRequest,
  note: RollbackNote,
): Promise<boolean> {
  const { logger = silentLogger, quiesce = true } = options;
  const canFreeze = quiesce && state === 'running' && domain.agent === 'connected';
  const xml = snapshotXml(note.disks, others(domain, note.disks));
  const { VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE: freeze } = SnapshotCreateFlags;
  const take = (flags: number) =>
    connection.call('domainSnapshotCreateXml', { dom, xml, flags }, { timeoutMs: snapshotTimeoutMs });
  if (canFreeze) {
    try {
      await take(snapshotFlags | freeze);
      return true;
    } catch (error) {
      if (!(error instanceof LibvirtError) || (await isTaken(connection, dom, note))) throw error;
      logger.warn(`${dom.name}: not quiesced: ${error.text}`);
    }
  }
  await take(snapshotFlags);
  return false;
}

const snapshotFlags =
  SnapshotCreateFlags.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY |
  SnapshotCreateFlags.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA |
  SnapshotCreateFlags.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC;

const others = ({ disks }: Domain, noted: readonly NotedOverlay[]): string[] =>
  disks.map(({ target }) => target).filter((target) => !noted.some((disk) => disk.target === target));

/** Through a stand-in, whose QEMU gives the overlays the change bitmaps that count on: libvirt's own for machines that are off does not. */
async function snapshotStopped(
  { connection, dom, domain }: RollbackRequest,
  note: RollbackNote,
): Promise<boolean> {
  const disks = domain.disks.filter(({ target }) => note.disks.some((disk) => disk.target === target));
  const standIn = await startStandIn({ connection, template: domain, disks });
  try {
    const xml = snapshotXml(note.disks, []);
    await connection.call('domainSnapshotCreateXml', { dom: standIn.dom, xml, flags: snapshotFlags });
  } finally {
    await standIn.close();
  }
  await redefine(connection, dom, (xml) => switchedXml(xml, note.disks, 'overlay'));
  return false;
}

/** Changes the machine's configuration. */
export async function redefine(
  connection: LibvirtConnection,
  dom: DomainRef,
  change: (xml: string) => string,
): Promise<void> {
  const flags = XmlFlags.VIR_DOMAIN_XML_INACTIVE | XmlFlags.VIR_DOMAIN_XML_SECURE;
  const { xml } = await connection.call('domainGetXmlDesc', { dom, flags });
  await connection.call('domainDefineXmlFlags', { xml: change(xml) });
}

/** Whether a disk is on its overlay: now, or at the next start. */
async function isTaken(connection: LibvirtConnection, dom: DomainRef, note: RollbackNote): Promise<boolean> {
  for (const flags of [0, XmlFlags.VIR_DOMAIN_XML_INACTIVE]) {
    const { xml } = await connection.call('domainGetXmlDesc', { dom, flags });
    if (note.disks.some((disk) => placeOf(xml, disk) === 'overlay')) return true;
  }
  return false;
}

/** Removes what was made for a rollback point that was never taken; answers false, and leaves all, for one that was. */
export async function dropUntaken(
  connection: LibvirtConnection,
  dom: DomainRef,
  note: RollbackNote,
): Promise<boolean> {
  if (await isTaken(connection, dom, note)) return false;
  await deleteFiles(connection, note);
  await writeRollbackNote(connection, dom, undefined);
  return true;
}

export async function deleteFiles(connection: LibvirtConnection, note: RollbackNote): Promise<void> {
  for (const { overlay } of note.disks) await deleteHostFile(connection, overlay);
  if (note.nvram) await deleteHostFile(connection, note.nvram.copy);
}

export function domainOf(xml: string, name: string): Domain {
  return parseDomain(xml, `the machine ${name}`);
}
