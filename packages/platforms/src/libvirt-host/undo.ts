/**
 * Takes back what a backup did to a running machine. Works from any half-done state and may run again: it looks what is
 * there first. First the guest goes on, then the job goes, then what is left of the point.
 */
import { liveness, PrimaError, systemClock } from '@prima/base';
import { type Domain as DomainRef, DomainState, type LibvirtConnection, PausedReason } from '@prima/libvirt';
import { UndoSteps } from '../undo-steps.ts';
import { isOfRun } from './backup-xml.ts';
import { deleteCheckpoint } from './checkpoints.ts';
import { deleteHostFile } from './host-files.ts';
import { currentBackup, currentJob, endBackup, isGone } from './job.ts';
import { readRunNote, removeRunNote, type RunNote } from './run-note.ts';

/** What the daemon has been asked has begun by then. */
const settleMs = 2000;
const longestBeginMs = 60_000;
const lookAgainMs = 100;

/** `discard`: the point in time was never used; `keep`: a later backup may start from it. */
export type NewCheckpoint = 'discard' | 'keep';

/**
 * Answers in words what was done. Raises when something could not be: then the note stays, and the next call tries again.
 * A machine that has ended has nothing to undo but files.
 */
export async function undoRun(
  connection: LibvirtConnection,
  dom: DomainRef,
  note: RunNote,
  newCheckpoint: NewCheckpoint,
): Promise<string[]> {
  const steps = new UndoSteps();
  await steps.step('the machine goes on', () => letRun(connection, dom, note));
  await steps.step('its file systems are thawed', () => thaw(connection, dom, note));
  await steps.step('the backup job is ended', () => endOurBackup(connection, dom, note));
  await steps.step('the machine goes on, which had no room for the blocks that it overwrote', () =>
    resumeAfterFullScratch(connection, dom, note),
  );
  if (newCheckpoint === 'discard' && note.checkpoint !== undefined) {
    const name = note.checkpoint;
    await steps.step(`the checkpoint ${name} is gone`, () => deleteCheckpoint(connection, dom, name));
  }
  const { memoryFile } = note;
  if (memoryFile !== undefined)
    await steps.step(`${memoryFile} is removed`, () => deleteHostFile(connection, memoryFile));
  steps.end(`undoing ${note.purpose} of ${dom.name}`);
  await removeRunNote(connection, dom, note.run);
  return steps.done;
}

/**
 * Undoes what a dead process left on a machine; answers in words. Raises `busy` where the process lives, or belongs to
 * another host and cannot be asked.
 */
export async function undoLeftRun(connection: LibvirtConnection, dom: DomainRef): Promise<string[]> {
  const note = await readRunNote(connection, dom);
  if (!note) return [];
  const state = await liveness(note.process);
  const { purpose, begun, process } = note;
  if (state === 'dead') {
    const done = await undoRun(connection, dom, note, note.isCommitting ? 'keep' : 'discard');
    return [`${dom.name}: ${purpose} of ${begun} had died: ${done.join('; ') || 'nothing was left to undo'}`];
  }
  const who = state === 'alive' ? `process ${process.pid}` : `process ${process.pid} of ${process.host}`;
  const advice =
    state === 'alive'
      ? 'try again later'
      : `if it is dead: prima machine doctor HOST/${dom.name} --take-over`;
  throw new PrimaError('busy', `${dom.name} is in use by ${purpose} (${who}), since ${begun}; ${advice}`, {
    retryable: true,
  });
}

/** A transient machine that has ended is unknown to libvirt. */
async function stateOf(
  connection: LibvirtConnection,
  dom: DomainRef,
): Promise<{ state: number; reason: number }> {
  try {
    return await connection.call('domainGetState', { dom });
  } catch (error) {
    if (isGone(error)) return { state: DomainState.VIR_DOMAIN_SHUTOFF, reason: 0 };
    throw error;
  }
}

/** Only in the window is it stopped by us; nobody else's pause is ended. */
async function letRun(connection: LibvirtConnection, dom: DomainRef, note: RunNote): Promise<boolean> {
  const stops = note.memoryFile !== undefined;
  if (!note.inWindow || !note.wasRunning || !stops) return false;
  const { state, reason } = await stateOf(connection, dom);
  const ours: number[] = [
    PausedReason.VIR_DOMAIN_PAUSED_USER,
    PausedReason.VIR_DOMAIN_PAUSED_SNAPSHOT,
    PausedReason.VIR_DOMAIN_PAUSED_SAVE,
    PausedReason.VIR_DOMAIN_PAUSED_MIGRATION,
  ];
  if (state !== DomainState.VIR_DOMAIN_PAUSED || !ours.includes(reason)) return false;
  await connection.call('domainResume', { dom });
  return true;
}

async function thaw(connection: LibvirtConnection, dom: DomainRef, note: RunNote): Promise<boolean> {
  if (!note.inWindow || !note.freezes) return false;
  const { state } = await stateOf(connection, dom);
  if (state === DomainState.VIR_DOMAIN_PAUSED) {
    throw new PrimaError('state', 'the machine is paused, and its guest cannot be thawed until it goes on', {
      retryable: true,
    });
  }
  if (state !== DomainState.VIR_DOMAIN_RUNNING) return false;
  return (await thawGuest(connection, dom)) > 0;
}

/** How many file systems were frozen. */
export async function thawGuest(connection: LibvirtConnection, dom: DomainRef): Promise<number> {
  try {
    return (await connection.call('domainFsThaw', { dom }, { timeoutMs: 30_000 })).filesystems;
  } catch (error) {
    if (isGone(error)) return 0;
    throw error;
  }
}

/**
 * Another tool's job has other scratch files. The daemon goes on with what it was asked to begin by a process that has died since:
 * within the window it is waited for.
 */
async function endOurBackup(connection: LibvirtConnection, dom: DomainRef, note: RunNote): Promise<boolean> {
  for (const begun = systemClock.monotonic(); ; await systemClock.sleep(lookAgainMs)) {
    const backup = await currentBackup(connection, dom);
    if (backup && isOfRun(backup, note.run)) return endBackup(connection, dom);
    if (!note.inWindow || backup !== undefined) return false;
    const waitedMs = systemClock.monotonic() - begun;
    const isBeginning = (await currentJob(connection, dom)) !== undefined;
    if (waitedMs > (isBeginning ? longestBeginMs : settleMs)) return false;
  }
}

/**
 * With a scratch file that was full before anybody noticed, QEMU fails the guest's writes, and a machine that stops at write
 * errors (libvirt's default) has stopped: now that the job is gone the same writes succeed.
 */
async function resumeAfterFullScratch(
  connection: LibvirtConnection,
  dom: DomainRef,
  note: RunNote,
): Promise<boolean> {
  if (!note.wasRunning) return false;
  const { state, reason } = await stateOf(connection, dom);
  if (state !== DomainState.VIR_DOMAIN_PAUSED || reason !== PausedReason.VIR_DOMAIN_PAUSED_IOERROR)
    return false;
  await connection.call('domainResume', { dom });
  return true;
}
