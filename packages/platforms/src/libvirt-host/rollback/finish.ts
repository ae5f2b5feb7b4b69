/** Ends a rollback point: what was written since stays, or goes. Each looks how things are first, so it may run again. */
import { liveness, ownIdentity, PrimaError, systemClock, throwIfAborted } from '@prima/base';
import {
  BlockCommitFlags,
  BlockJobAbortFlags,
  type Domain as DomainRef,
  type LibvirtConnection,
  XmlFlags,
} from '@prima/libvirt';
import type { RollbackOptions } from '../../rollback.ts';
import { readHostFile, writeHostFile } from '../host-files.ts';
import { checkNoJob } from '../job.ts';
import { fileLimitBytes } from '../machine-files.ts';
import { startStandIn } from '../stand-in.ts';
import { deleteFiles, domainOf, dropUntaken, isUp, redefine, type RollbackRequest } from './begin.ts';
import { type NotedOverlay, readRollbackNote, type RollbackNote, writeRollbackNote } from './note.ts';
import { commitIsReady, placeOf, switchedXml } from './overlays.ts';

const lookMs = 100;
const endTimeoutMs = 120_000;
const startTimeoutMs = 120_000;

/** See `RollbackPlatform.keep`. */
export async function keepRollback(request: RollbackRequest): Promise<string[]> {
  const { connection, dom, options } = request;
  const note = await takeOver(request, 'keeping');
  if (request.state === 'suspended') {
    throw new PrimaError(
      'state',
      `${dom.name} is suspended, and its saved memory goes with the overlays: resume or stop it, then keep`,
    );
  }
  if (isUp(request)) await checkNoJob(connection, dom);
  if (note.phase === 'beginning' && (await dropUntaken(connection, dom, note))) return [nothingTaken(dom)];
  await checkOurs(connection, dom, note);
  await attempt(connection, dom, { ...note, phase: 'keeping' }, async () => {
    if (isUp(request)) await commitAll(connection, dom, note.disks, options);
    else await commitStopped(request, note);
    await redefine(connection, dom, (xml) => switchedXml(xml, note.disks, 'base'));
    await finish(connection, dom, note);
  });
  return [`what was written to ${names(note)} since ${note.made} is in the disks; the overlays are removed`];
}

/** See `RollbackPlatform.undo`. */
export async function undoRollback(request: RollbackRequest): Promise<string[]> {
  const { connection, dom } = request;
  const note = await takeOver(request, 'undoing');
  if (isUp(request)) await checkNoJob(connection, dom);
  if (note.phase === 'beginning' && (await dropUntaken(connection, dom, note))) return [nothingTaken(dom)];
  await checkOurs(connection, dom, note);
  const isOnOverlay = isUp(request) && (await someOnOverlay(connection, dom, note));
  const restarts = note.restarts ?? isOnOverlay;
  const done: string[] = [];
  await attempt(connection, dom, { ...note, phase: 'undoing', restarts }, async () => {
    if (isOnOverlay) {
      await connection.call('domainDestroyFlags', { dom }, { timeoutMs: endTimeoutMs });
      done.push('the machine is switched off');
    }
    if (request.state === 'suspended') {
      await connection.call('domainManagedSaveRemove', { dom });
      done.push('its saved memory is removed: it went with what is undone');
    }
    await redefine(connection, dom, (xml) => switchedXml(xml, note.disks, 'base'));
    if (await putNvramBack(connection, note)) done.push("the firmware's variables are as they were");
    await finish(connection, dom, note);
  });
  done.push(`${names(note)} are as they were at ${note.made}; the overlays are removed`);
  if (!restarts || (await connection.call('domainIsActive', { dom })).active) return done;
  await connection.call('domainCreateWithFlags', { dom }, { timeoutMs: startTimeoutMs });
  return [...done, 'the machine is started'];
}

/** Runs `task` under the note; where it fails, nobody is at it any more. */
async function attempt(
  connection: LibvirtConnection,
  dom: DomainRef,
  note: RollbackNote,
  task: () => Promise<void>,
): Promise<void> {
  const { process: _before, ...idle } = note;
  await writeRollbackNote(connection, dom, { ...idle, process: await ownIdentity() });
  try {
    await task();
  } catch (error) {
    if (!connection.failure) await writeRollbackNote(connection, dom, idle);
    throw error;
  }
}

async function putNvramBack(connection: LibvirtConnection, { nvram }: RollbackNote): Promise<boolean> {
  const bytes = nvram && (await readHostFile(connection, nvram.copy, fileLimitBytes));
  if (!nvram || !bytes) return false;
  await writeHostFile(connection, nvram.path, bytes);
  return true;
}

const nothingTaken = ({ name }: DomainRef): string =>
  `the rollback point of ${name} had not been taken: what was made for it is removed`;

const names = ({ disks }: RollbackNote): string => disks.map(({ target }) => target).join(', ');

/** The note, where nobody is at it and it is not half done in the other direction. */
async function takeOver(
  { connection, dom }: RollbackRequest,
  phase: 'keeping' | 'undoing',
): Promise<RollbackNote> {
  const note = await readRollbackNote(connection, dom);
  if (!note) {
    throw new PrimaError(
      'not-found',
      `${dom.name} has no rollback point (prima machine rollback begin HOST/${dom.name})`,
    );
  }
  const { process } = note;
  if (process && (await liveness(process)) === 'alive') {
    throw new PrimaError(
      'busy',
      `process ${process.pid} is ${note.phase} the rollback point of ${dom.name}; try again later`,
      {
        retryable: true,
      },
    );
  }
  const other = phase === 'keeping' ? 'undoing' : 'keeping';
  if (note.phase === other) {
    const way = phase === 'keeping' ? 'undo' : 'keep';
    throw new PrimaError(
      'state',
      `the rollback point of ${dom.name} is half done in the other direction: finish that (prima machine rollback ${way} HOST/${dom.name})`,
    );
  }
  return note;
}

/** Before anything is given up: whatever lies on top of an overlay is another's. */
async function checkOurs(connection: LibvirtConnection, dom: DomainRef, note: RollbackNote): Promise<void> {
  for (const flags of [0, XmlFlags.VIR_DOMAIN_XML_INACTIVE]) {
    const { xml } = await connection.call('domainGetXmlDesc', { dom, flags });
    for (const disk of note.disks) mustBeOurs(dom, disk, placeOf(xml, disk));
  }
}

async function someOnOverlay(
  connection: LibvirtConnection,
  dom: DomainRef,
  note: RollbackNote,
): Promise<boolean> {
  const { xml } = await connection.call('domainGetXmlDesc', { dom });
  return note.disks.some((disk) => placeOf(xml, disk) === 'overlay');
}

/** The files last: while they are there somebody may have a use for them. */
async function finish(connection: LibvirtConnection, dom: DomainRef, note: RollbackNote): Promise<void> {
  await deleteFiles(connection, note);
  await writeRollbackNote(connection, dom, undefined);
}

async function commitStopped(
  { connection, dom, options }: RollbackRequest,
  note: RollbackNote,
): Promise<void> {
  const flags = XmlFlags.VIR_DOMAIN_XML_INACTIVE | XmlFlags.VIR_DOMAIN_XML_SECURE;
  const { xml } = await connection.call('domainGetXmlDesc', { dom, flags });
  const left = note.disks.filter((disk) => placeOf(xml, disk) === 'overlay');
  for (const disk of note.disks) mustBeOurs(dom, disk, placeOf(xml, disk));
  if (left.length === 0) return;
  const domain = domainOf(xml, dom.name);
  const disks = domain.disks.filter(({ target }) => left.some((disk) => disk.target === target));
  const standIn = await startStandIn({ connection, template: domain, disks });
  try {
    await commitAll(connection, standIn.dom, left, options);
  } finally {
    await standIn.close();
  }
}

function mustBeOurs(dom: DomainRef, { target, overlay }: NotedOverlay, place: string): void {
  if (place !== 'elsewhere') return;
  throw new PrimaError(
    'refused',
    `${target} of ${dom.name} is on another file than ${overlay} and what is below it: another snapshot was made since; commit or delete that first`,
  );
}

async function commitAll(
  connection: LibvirtConnection,
  dom: DomainRef,
  disks: readonly NotedOverlay[],
  options: RollbackOptions,
): Promise<void> {
  const { xml } = await connection.call('domainGetXmlDesc', { dom });
  for (const disk of disks) mustBeOurs(dom, disk, placeOf(xml, disk));
  for (const disk of disks) {
    if (placeOf(xml, disk) === 'overlay') await commitOne(connection, dom, disk, options);
  }
}

/** Cancelled, it goes on in QEMU, and the next `keep` with it. */
async function commitOne(
  connection: LibvirtConnection,
  dom: DomainRef,
  disk: NotedOverlay,
  { signal, onProgress }: RollbackOptions,
): Promise<void> {
  const { target, base } = disk;
  const jobOf = () => connection.call('domainGetBlockJobInfo', { dom, disk: target });
  if (!(await jobOf()).found) {
    const flags = BlockCommitFlags.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE;
    await connection.call('domainBlockCommit', { dom, disk: target, base, flags });
  }
  for (;;) {
    throwIfAborted(signal, `keeping what was written to ${target} of ${dom.name}`);
    const { xml } = await connection.call('domainGetXmlDesc', { dom });
    if (commitIsReady(xml, target)) break;
    const { found, cur, end } = await jobOf();
    if (!found) {
      throw new PrimaError(
        'remote',
        `committing ${target} of ${dom.name} ended before its end; see the daemon's log, and try again`,
      );
    }
    onProgress?.(target, { phase: 'committing', done: Number(cur), total: Number(end) });
    await systemClock.sleep(lookMs, signal);
  }
  const flags = BlockJobAbortFlags.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT;
  await connection.call('domainBlockJobAbort', { dom, disk: target, flags }, { timeoutMs: endTimeoutMs });
}
