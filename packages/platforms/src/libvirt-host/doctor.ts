/**
 * Looks at everything that backups leave on a libvirt machine, says what it means for the next one, and mends what can be:
 * runs that died, checkpoints that nobody needs, checkpoints that libvirt has forgotten.
 */
import { liveness, toPrimaError } from '@prima/base';
import { type Domain as DomainRef, DomainState, type LibvirtConnection, PausedReason } from '@prima/libvirt';
import type { DoctorFinding, DoctorOptions, MachineState } from '../platform.ts';
import { deleteCheckpoint, forgetCheckpoint, listCheckpoints, usableBitmaps } from './checkpoints.ts';
import type { Domain } from './domain.ts';
import { currentBackup, currentJob } from './job.ts';
import { diskChains, machineDisk } from './plan.ts';
import { readRecoveryNote } from './recovery/note.ts';
import { readRollbackNote } from './rollback/note.ts';
import { readRunNote } from './run-note.ts';
import { startStandIn } from './stand-in.ts';
import { asLibvirtCheckpoint, checkpointPrefix, type TrackedDisk, whyNotTracked } from './tracking.ts';
import { thawGuest, undoRun } from './undo.ts';

export interface DoctorRequest {
  connection: LibvirtConnection;
  dom: DomainRef;
  domain: Domain;
  state: MachineState;
  options: DoctorOptions;
}

export async function examine(request: DoctorRequest): Promise<DoctorFinding[]> {
  const findings: DoctorFinding[] = [];
  const recovery = await readRecoveryNote(request.connection, request.dom);
  if (recovery) {
    const found = `its disks come from the restore point ${recovery.point.slice(0, 12)}: prima recover --resume lets it go on`;
    return [{ subject: request.dom.name, found }];
  }
  const isUp = request.state === 'running' || request.state === 'paused';
  if (isUp && !(await examineRun(request, findings))) return findings;
  if (isUp) await examineGuest(request, findings);
  await examineRollback(request, findings);
  await examineCheckpoints(request, findings);
  await examineDisks(request, findings, isUp);
  return findings;
}

async function examineRollback({ connection, dom }: DoctorRequest, findings: DoctorFinding[]): Promise<void> {
  const note = await readRollbackNote(connection, dom);
  if (!note) return;
  const ways = note.phase === 'keeping' ? 'keep' : note.phase === 'undoing' ? 'undo' : 'keep or undo';
  findings.push({
    subject: dom.name,
    found: `a rollback point of ${note.made} is ${note.phase}: prima machine rollback ${ways} HOST/${dom.name} ends it`,
  });
}

/** A backup that is under way, or died. Answers false when somebody is at work: then nothing else is touched. */
async function examineRun(
  { connection, dom, options }: DoctorRequest,
  findings: DoctorFinding[],
): Promise<boolean> {
  const note = await readRunNote(connection, dom);
  if (note) {
    const whose = `${note.purpose} by process ${note.process.pid} of ${note.process.host}, since ${note.begun}`;
    const alive = await liveness(note.process);
    if (alive === 'alive' || (alive === 'unknown' && options.takeOver !== true)) {
      const advice =
        alive === 'alive' ? '' : '; that host cannot be asked whether it lives: --take-over undoes it';
      findings.push({ subject: dom.name, found: `${whose} is under way${advice}` });
      return false;
    }
    const done = await undoRun(connection, dom, note, note.isCommitting ? 'keep' : 'discard');
    findings.push({
      subject: dom.name,
      found: `${whose} has died`,
      done: done.join('; ') || 'its note is removed',
    });
  }
  const job = await currentJob(connection, dom);
  if (!job) return true;
  const backup = await currentBackup(connection, dom);
  const what = backup ? 'a backup of another tool' : 'a job of libvirt (virsh domjobinfo)';
  findings.push({ subject: dom.name, found: `${what} is under way: backups have to wait` });
  return false;
}

/** Stopped or frozen with nobody at work. */
async function examineGuest(
  { connection, dom, domain, options }: DoctorRequest,
  findings: DoctorFinding[],
): Promise<void> {
  const { state, reason } = await connection.call('domainGetState', { dom });
  if (state === DomainState.VIR_DOMAIN_PAUSED) {
    const found =
      reason === PausedReason.VIR_DOMAIN_PAUSED_IOERROR
        ? 'it is stopped because a disk cannot be written (virsh domblkerror): make room, then prima machine resume'
        : 'it is paused: prima machine resume lets it go on';
    findings.push({ subject: dom.name, found });
    return;
  }
  if (domain.agent !== 'connected') {
    findings.push({
      subject: dom.name,
      found: domain.hasAgentChannel
        ? 'the guest agent is not connected: backups are as after a power failure; install qemu-guest-agent in the guest'
        : 'it has no channel for a guest agent: backups are as after a power failure; add one (org.qemu.guest_agent.0)',
    });
    return;
  }
  if (!(await isFrozen(connection, dom))) return;
  const thawed = options.takeOver === true && (await thawGuest(connection, dom)) > 0;
  findings.push({
    subject: dom.name,
    found: `its file systems are frozen, and no backup is under way${thawed ? '' : ': --take-over thaws them'}`,
    ...(thawed ? { done: 'they are thawed' } : {}),
  });
}

async function isFrozen(connection: LibvirtConnection, dom: DomainRef): Promise<boolean> {
  try {
    const command = JSON.stringify({ execute: 'guest-fsfreeze-status' });
    const { result } = await connection.call('domainAgentCommand', { dom, command, timeoutSeconds: 5 });
    return result?.includes('"frozen"') ?? false;
  } catch (error) {
    toPrimaError(error, 'asking the guest agent'); // an agent that does not answer freezes nothing either
    return false;
  }
}

/** Ours that no point needs go; others' are named. */
async function examineCheckpoints(
  { connection, dom, state, options }: DoctorRequest,
  findings: DoctorFinding[],
): Promise<void> {
  const { owner, since } = options;
  const needed = asLibvirtCheckpoint(since)?.name;
  for (const { name } of await listCheckpoints(connection, dom)) {
    if (name === needed) continue;
    const subject = `checkpoint ${name}`;
    if (owner === undefined || !name.startsWith(checkpointPrefix(owner))) {
      const whose = name.startsWith('prima-') ? 'of another repository' : 'of another tool';
      findings.push({ subject, found: `it is ${whose} and is left alone` });
      continue;
    }
    const isUp = state === 'running' || state === 'paused';
    if (isUp) await deleteCheckpoint(connection, dom, name);
    else await forgetCheckpoint(connection, dom, name);
    findings.push({ subject, found: 'no point of this repository needs it', done: 'it is removed' });
  }
}

/** What the next backup will read of each disk, and why. */
async function examineDisks(request: DoctorRequest, findings: DoctorFinding[], isUp: boolean): Promise<void> {
  const { connection, dom, domain, options } = request;
  if (options.owner === undefined) return;
  const readable = domain.disks.filter(({ excluded }) => excluded === undefined);
  const standIn = isUp ? undefined : await startStandIn({ connection, template: domain, disks: readable });
  try {
    const running = standIn?.dom ?? dom;
    const candidates: TrackedDisk[] = [];
    const chains = await diskChains(connection, running);
    for (const found of domain.disks) {
      if (found.excluded !== undefined) {
        findings.push({ subject: found.target, found: `it cannot be backed up: ${found.excluded}` });
        continue;
      }
      const { capacity } = await connection.call('domainGetBlockInfo', { dom: running, disk: found.target });
      const chain = chains.get(found.target) ?? [found.location];
      const disk = { ...machineDisk(found, capacity), chain };
      const why = whyNotTracked(disk, options.since, false);
      if (why === undefined) candidates.push(disk);
      else findings.push(readsAll(found.target, why));
    }
    const told = { running, isReal: standIn === undefined };
    await examineBitmaps(request, findings, candidates, told);
  } finally {
    await standIn?.close();
  }
}

const readsAll = (subject: string, why: string): DoctorFinding => ({
  subject,
  found: `the next backup reads all of it: ${why}`,
});

async function examineBitmaps(
  { connection, dom, domain, options }: DoctorRequest,
  findings: DoctorFinding[],
  candidates: readonly TrackedDisk[],
  { running, isReal }: { running: DomainRef; isReal: boolean },
): Promise<void> {
  const since = asLibvirtCheckpoint(options.since);
  if (!since || candidates.length === 0) return;
  const known = (await listCheckpoints(connection, dom)).find(({ name }) => name === since.name);
  const usable = await usableBitmaps(connection, running, {
    name: since.name,
    targets: candidates.map(({ slot }) => slot),
    known: isReal ? known : undefined,
    present: domain.disks.map(({ target }) => target),
  });
  if (isReal && usable.toldAgain) {
    findings.push({
      subject: `checkpoint ${since.name}`,
      found: 'libvirt had forgotten it: the machine was undefined or moved since',
      done: 'libvirt was told again: its bitmaps are there',
    });
  }
  for (const target of usable.tracked)
    findings.push({ subject: target, found: 'the next backup reads only what has changed' });
  for (const { target, why } of usable.broken) {
    const cause = `the machine was killed or crashed since the last point, or another disk is there (libvirt: ${why})`;
    findings.push(readsAll(target, cause));
  }
}
