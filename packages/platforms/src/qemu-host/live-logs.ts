/**
 * Redo logs of a running machine: what QEMU is told between the steps of the record (docs/format/redo-log.md). Under the
 * machine's lock; `settleLive` is also what the guardian does when who held it has died.
 */
import { basename } from 'node:path';
import { PrimaError, type Progress, systemClock, throwIfAborted, toPrimaError } from '@prima/base';
import type { CommitPlan, RedoLog, RedoStack } from '@prima/formats';
import { nameBeside, type QmpClient } from '@prima/qemu';
import { devicePath, logNode, logNodeOptions, nodeName } from './command-line.ts';
import { orphanLevel, unsettledStacks } from './disk-stacks.ts';
import type { DiskConfig, MachineConfig } from './machine-config.ts';
import {
  addNode,
  driveOf,
  isRefusal,
  pollUntil,
  queryNodes,
  queryStatus,
  stepTimeoutMs,
} from './qemu-blocks.ts';

export interface LiveStack {
  disk: DiskConfig;
  stack: RedoStack;
}

/** Looking at a job this often. */
const pollMs = 100;
/** QEMU writes what is left, a few blocks, while the guest is paused. */
const endTimeoutMs = 60_000;

/** The logs are there, empty, and QEMU has them open; nothing is written to them yet. */
export async function openLogs(
  qmp: QmpClient,
  stacks: readonly LiveStack[],
  options: { runFolder: string; purpose: RedoLog['purpose']; owner?: RedoLog['owner'] },
): Promise<void> {
  for (const live of stacks) await mustWriteTo(qmp, live);
  for (const { stack } of stacks) {
    const log = await stack.beginAdd(options);
    await addNode(qmp, logNodeOptions(log.id, stack.pathOf(log), options.runFolder));
  }
}

/** Raises `state` where QEMU knows of other logs than the record. */
async function mustWriteTo(qmp: QmpClient, { disk, stack }: LiveStack): Promise<void> {
  if (stack.record.kind !== 'qcow2') {
    throw new PrimaError(
      'unsupported',
      `${stack.disk} has redo logs as ESX makes them, and QEMU makes no more of those; commit them, or stop the machine`,
    );
  }
  const wanted = activeNode(disk, stack);
  const found = await attachedNode(qmp, disk);
  if (found !== wanted) throw otherDisk(disk, stack, found);
}

function otherDisk({ slot }: DiskConfig, { disk }: RedoStack, node: string | undefined): PrimaError {
  const found = node === undefined ? 'it has no such disk' : `it writes to ${node}`;
  return new PrimaError(
    'state',
    `QEMU was started with another ${slot} than its configuration or the record of its redo logs says now (${found}); ` +
      `nothing is done to the logs of ${disk}: stop the machine and start it again`,
  );
}

/** From here on the guest writes to the logs: the point in time. All disks or none. */
export async function switchToLogs(qmp: QmpClient, stacks: readonly LiveStack[]): Promise<void> {
  const actions = stacks.map(({ disk, stack }) => ({
    type: 'blockdev-snapshot',
    data: { node: activeNode(disk, stack), overlay: logNode(addedLog(stack).id) },
  }));
  await qmp.execute('transaction', { actions }, { timeoutMs: stepTimeoutMs });
}

/** After `openLogs`, whatever became of it: a log that the guest writes to counts, another goes. */
export async function settleAdded(qmp: QmpClient, stacks: readonly LiveStack[]): Promise<void> {
  for (const { disk, stack } of stacks) {
    const { doing } = stack.record;
    if (doing?.do !== 'add') continue;
    const used = await isDrive(qmp, disk, doing.log.id);
    if (!used) await dropNode(qmp, logNode(doing.log.id));
    await stack.endAdd(used);
  }
}

export interface LiveCommit {
  level: number;
  /** Called before the guest is paused, and with what it did not know: true while it is. */
  window: PauseWindow;
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
}

/** How the guest is paused, and let run on, whoever dies meanwhile. */
export interface PauseWindow {
  pause(): Promise<void>;
  resume(): Promise<void>;
}

/** Merges one log of one disk while the machine runs. When it is cancelled the log stays, to be merged again. */
export async function commitLive(
  qmp: QmpClient,
  { disk, stack }: LiveStack,
  options: LiveCommit,
): Promise<void> {
  const chosen = stack.record.logs.at(-1 - options.level);
  if (chosen && !stack.record.doing && !(await isRead(qmp, { disk, stack }, chosen.id)))
    throw otherDisk(disk, stack, await attachedNode(qmp, disk));
  const plan = await stack.beginCommit(options.level);
  await cancelJob(qmp, plan.id); // of a process that died
  if (await isRead(qmp, { disk, stack }, plan.id)) {
    try {
      if (plan.above === undefined) await commitActive(qmp, { disk, stack, plan }, options);
      else await commitBeneath(qmp, { disk, stack, plan }, options);
    } catch (error) {
      await cancelJob(qmp, plan.id);
      const failure = toPrimaError(error, `merging ${plan.log} into ${plan.beneath}`);
      await endIfGone(qmp, { disk, stack, plan });
      await options.window.resume();
      throw failure;
    }
  }
  await dropNode(qmp, logNode(plan.id));
  if (stack.record.doing) await stack.endCommit(plan.id, { moved: true });
}

interface LivePlanned extends LiveStack {
  plan: CommitPlan;
}

async function commitBeneath(
  qmp: QmpClient,
  { disk, stack, plan }: LivePlanned,
  options: LiveCommit,
): Promise<void> {
  await startJob(qmp, plan, {
    device: activeNode(disk, stack),
    'top-node': logNode(plan.id),
    'base-node': beneathNode(disk, stack, plan.id),
    // what QEMU writes into the log above
    'backing-file': nameBeside(plan.beneath),
  });
  await followJob(qmp, plan.id, ['concluded'], options);
  await endJob(qmp, plan);
}

/**
 * The guest writes to the log that is merged. QEMU goes over to the file beneath while the guest is paused, and the log
 * goes before it runs on: were the host to die between the two, a stale log would lie over a newer disk. Where the log
 * cannot go, the guest stays paused.
 */
async function commitActive(
  qmp: QmpClient,
  { disk, stack, plan }: LivePlanned,
  options: LiveCommit,
): Promise<void> {
  await startJob(qmp, plan, {
    device: activeNode(disk, stack),
    'base-node': beneathNode(disk, stack, plan.id),
  });
  await followJob(qmp, plan.id, ['ready', 'concluded'], options);
  await options.window.pause();
  await qmp.execute('job-complete', { id: jobId(plan.id) }, { timeoutMs: stepTimeoutMs });
  await followJob(qmp, plan.id, ['concluded'], { ...options, signal: AbortSignal.timeout(endTimeoutMs) });
  await endJob(qmp, plan);
  if (await isDrive(qmp, disk, plan.id)) {
    throw new PrimaError('remote', `QEMU says that ${plan.log} is merged, but goes on writing to it`);
  }
  await stack.endCommit(plan.id, { moved: true });
  await options.window.resume();
}

/** Where QEMU has already let go of the log, its files go. */
async function endIfGone(qmp: QmpClient, { disk, stack, plan }: LivePlanned): Promise<void> {
  if (stack.record.doing?.do !== 'commit' || (await isRead(qmp, { disk, stack }, plan.id))) return;
  await dropNode(qmp, logNode(plan.id));
  await stack.endCommit(plan.id, { moved: true });
}

/** Mends what a dead process left of a running machine: sentences of what was done. The guest may be paused by it. */
export async function settleLive(qmp: QmpClient, config: MachineConfig): Promise<string[]> {
  const done: string[] = [];
  for (const { disk, stack } of await unsettledStacks(config)) {
    const { doing } = stack.record;
    if ((await attachedNode(qmp, disk)) === undefined) continue; // its logs are not this run's
    if (doing?.do === 'add') {
      await settleAdded(qmp, [{ disk, stack }]);
      done.push(`${disk.slot}: the redo log ${doing.log.files[0]} was being added`);
    } else if (doing?.do === 'commit') {
      await cancelJob(qmp, doing.id);
      const planned = { disk, stack, plan: await stack.beginCommit(levelOf(stack, doing.id)) };
      await endIfGone(qmp, planned);
      const end = stack.record.doing ? 'is half merged: commit it again' : 'was merged, and is gone now';
      done.push(`${disk.slot}: the redo log ${basename(planned.plan.log)} ${end}`);
    }
  }
  return done;
}

/** Merges the logs of backups that are over, after `settleLive`; the guest runs. */
export async function mergeOrphans(
  qmp: QmpClient,
  config: MachineConfig,
  window: PauseWindow,
): Promise<string[]> {
  const done: string[] = [];
  for (const { disk, stack } of await unsettledStacks(config)) {
    for (let level = orphanLevel(stack); level !== undefined; level = orphanLevel(stack)) {
      const { files } = stack.record.logs.at(-1 - level) ?? { files: [''] };
      await commitLive(qmp, { disk, stack }, { level, window });
      done.push(`${disk.slot}: the redo log ${files[0]} of a backup that is over is merged`);
    }
  }
  return done;
}

/** The node that the guest's device writes to, by the record: before the log that is being added. */
function activeNode(disk: DiskConfig, { record }: RedoStack): string {
  const top = record.logs.at(-1);
  return top ? logNode(top.id) : nodeName(disk.slot);
}

function beneathNode(disk: DiskConfig, { record }: RedoStack, id: string): string {
  const index = record.logs.findIndex((log) => log.id === id);
  const beneath = record.logs[index - 1];
  return beneath ? logNode(beneath.id) : nodeName(disk.slot);
}

function levelOf({ record }: RedoStack, id: string): number {
  return record.logs.toReversed().findIndex((log) => log.id === id);
}

function addedLog({ record: { doing }, disk }: RedoStack): RedoLog {
  if (doing?.do === 'add') return doing.log;
  throw new PrimaError('internal', `no redo log is being added to ${disk}`);
}

async function isDrive(qmp: QmpClient, disk: DiskConfig, id: string): Promise<boolean> {
  return (await driveOf(qmp, devicePath(disk.slot))) === logNode(id);
}

/** qapi: XDbgBlockGraph. */
interface BlockGraph {
  nodes: { id: number; name: string }[];
  edges: { parent: number; child: number }[];
}

/**
 * Whether the disk is still read through the log. Raises `state` where it is read from what is beneath it neither: then the
 * log was not merged, and nothing tells what it belongs to.
 */
async function isRead(qmp: QmpClient, { disk, stack }: LiveStack, id: string): Promise<boolean> {
  const drive = await attachedNode(qmp, disk);
  const nodes = drive === undefined ? new Set<string>() : await nodesUnder(qmp, drive);
  if (nodes.has(logNode(id))) return true;
  if (nodes.has(beneathNode(disk, stack, id))) return false;
  throw otherDisk(disk, stack, drive);
}

/** The names of all nodes that a node reads from, itself included: jobs and backups put filters over a disk. */
async function nodesUnder(qmp: QmpClient, drive: string): Promise<Set<string>> {
  const graph = await qmp.execute<BlockGraph>('x-debug-query-block-graph', undefined, {
    timeoutMs: stepTimeoutMs,
  });
  const seen = new Set<number>();
  let next = graph.nodes.filter(({ name }) => name === drive).map(({ id }) => id);
  while (next.length > 0) {
    for (const id of next) seen.add(id);
    const edges = graph.edges.filter(({ parent, child }) => next.includes(parent) && !seen.has(child));
    next = [...new Set(edges.map(({ child }) => child))];
  }
  return new Set(graph.nodes.filter(({ id }) => seen.has(id)).map(({ name }) => name));
}

/** What the guest's device writes to; undefined where QEMU has no such device. */
async function attachedNode(qmp: QmpClient, { slot }: DiskConfig): Promise<string | undefined> {
  try {
    return await driveOf(qmp, devicePath(slot));
  } catch (error) {
    if (isRefusal(error)) return undefined;
    throw error;
  }
}

async function dropNode(qmp: QmpClient, name: string): Promise<void> {
  if (!(await queryNodes(qmp)).has(name)) return;
  await qmp.execute('blockdev-del', { 'node-name': name }, { timeoutMs: stepTimeoutMs });
}

const jobId = (id: string): string => `merge-${id}`;

async function startJob(qmp: QmpClient, plan: CommitPlan, args: object): Promise<void> {
  const job = { 'job-id': jobId(plan.id), 'auto-dismiss': false, ...args };
  await qmp.execute('block-commit', job, { timeoutMs: stepTimeoutMs });
}

/** qapi: JobInfo. */
interface Job {
  id: string;
  status: string;
  'current-progress': number;
  'total-progress': number;
  error?: string;
}

async function findJob(qmp: QmpClient, id: string): Promise<Job | undefined> {
  const jobs = await qmp.execute<Job[]>('query-jobs', undefined, { timeoutMs: stepTimeoutMs });
  return jobs.find((job) => job.id === jobId(id));
}

async function followJob(
  qmp: QmpClient,
  id: string,
  until: readonly string[],
  { signal, onProgress }: Pick<LiveCommit, 'signal' | 'onProgress'>,
): Promise<void> {
  for (;;) {
    throwIfAborted(signal, 'merging a redo log');
    const job = await findJob(qmp, id);
    if (!job) throw new PrimaError('remote', 'QEMU has forgotten the merge that it was doing');
    onProgress?.({
      phase: 'merging a redo log',
      done: job['current-progress'],
      total: job['total-progress'],
    });
    if (until.includes(job.status)) return;
    await systemClock.sleep(pollMs, signal);
  }
}

/** The job is over: its result. Raises `no-space`, `remote`. */
async function endJob(qmp: QmpClient, plan: CommitPlan): Promise<void> {
  const job = await findJob(qmp, plan.id);
  await qmp.execute('job-dismiss', { id: jobId(plan.id) }, { timeoutMs: stepTimeoutMs });
  if (job?.error === undefined) return;
  const code = /no space/i.test(job.error) ? 'no-space' : 'remote';
  throw new PrimaError(code, `QEMU could not merge ${plan.log} into ${plan.beneath}: ${job.error}`);
}

/** Ends a job that nobody follows any more; what it merged stays merged. */
async function cancelJob(qmp: QmpClient, id: string): Promise<void> {
  if (!(await findJob(qmp, id))) return;
  try {
    await qmp.execute('job-cancel', { id: jobId(id) }, { timeoutMs: stepTimeoutMs });
  } catch (error) {
    if (!isRefusal(error)) throw error; // it is over already
  }
  await pollUntil('QEMU has ended a merge', endTimeoutMs, async () => {
    const job = await findJob(qmp, id);
    return job === undefined || job.status === 'concluded';
  });
  if (await findJob(qmp, id))
    await qmp.execute('job-dismiss', { id: jobId(id) }, { timeoutMs: stepTimeoutMs });
}

/** Pauses and resumes a machine that ran; one that was paused stays so. */
export function pauseWindow(
  qmp: QmpClient,
  note: { begin(): Promise<void>; end(): Promise<void> },
): PauseWindow {
  let paused = false;
  return {
    pause: async () => {
      if (paused || (await queryStatus(qmp)) !== 'running') return;
      await note.begin();
      paused = true;
      await qmp.execute('stop', undefined, { timeoutMs: stepTimeoutMs });
    },
    resume: async () => {
      if (!paused) return;
      await qmp.execute('cont', undefined, { timeoutMs: stepTimeoutMs });
      paused = false;
      await note.end();
    },
  };
}
