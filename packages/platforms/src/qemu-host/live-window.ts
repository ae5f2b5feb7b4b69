/**
 * The point in time of a running machine. Everything that can be is prepared before; in the window itself are:
 *
 *   hot    freeze · stop · transaction of bitmaps · a filter behind each device · cont · thaw
 *   warm   stop · transaction · filters · background snapshot of the memory, which lets the machine run on
 *
 * A copy-before-write filter that nothing uses yet copies nothing: its point in time is the moment when it gets
 * between the device and the disk. The machine is stopped for that moment so that it is one for all disks.
 */
import { type Logger, systemClock, toPrimaError } from '@prima/base';
import { connectGuestAgent, type GuestAgent, type QmpClient } from '@prima/qemu';
import { granularityBytes } from './bitmaps.ts';
import type { LiveDisk, LivePlan } from './live-plan.ts';
import { scratchNodeOptions } from './live-plan.ts';
import { checkMigration, setBackgroundSnapshot, startMigration, usualDowntimeMs } from './memory-stream.ts';
import { addNode, pollUntil, queryStatus, setDrive, stepTimeoutMs } from './qemu-blocks.ts';

/** An agent that is there answers at once. */
const agentPatienceMs = 3_000;
/** Freezing flushes the guest's caches to its disks first. */
const freezeTimeoutMs = 60_000;
/** A filter that waits longer for its scratch file gives the view up, so that the guest goes on. */
const filterTimeoutSeconds = 30;

/** Adds scratch nodes and filters. Nothing of this touches what the guest does. */
export async function prepareFilters(qmp: QmpClient, disks: readonly LiveDisk[]): Promise<void> {
  for (const live of disks) {
    const { names } = live;
    await addNode(qmp, scratchNodeOptions(live));
    await addNode(qmp, {
      driver: 'copy-before-write',
      'node-name': names.filterNode,
      file: names.node,
      target: names.scratchNode,
      'on-cbw-error': 'break-snapshot',
      'cbw-timeout': filterTimeoutSeconds,
    });
  }
}

export interface Agent {
  agent?: GuestAgent;
  /** Why file systems cannot be frozen through it. */
  why?: string;
}

/** The machine's agent when it answers soon and nobody else has frozen the guest. */
export async function reachAgent(socketPath: string, signal?: AbortSignal): Promise<Agent> {
  let agent: GuestAgent;
  try {
    agent = await connectGuestAgent(socketPath, { timeoutMs: agentPatienceMs, signal });
  } catch (error) {
    const failure = toPrimaError(error, 'reaching the guest agent');
    if (failure.code === 'cancelled') throw failure;
    return { why: `the guest agent does not answer (${failure.message})` };
  }
  try {
    if ((await agent.freezeStatus({ timeoutMs: agentPatienceMs })) === 'thawed') return { agent };
    await agent.close();
    return { why: 'the guest is frozen by somebody else already' };
  } catch (error) {
    await agent.close();
    return { why: `the guest agent cannot freeze: ${toPrimaError(error, 'asking the agent').message}` };
  }
}

export interface WindowRequest {
  qmp: QmpClient;
  plan: LivePlan;
  /** Freeze through it; the window closes with a thaw whatever happens. */
  agent?: GuestAgent;
  /** The machine runs and must run afterwards. */
  running: boolean;
  /** Warm: QEMU has a file for the memory. The machine runs on by itself then. */
  memory: boolean;
  logger: Logger;
}

export interface WindowResult {
  pointInTime: number;
  quiesced: boolean;
  why: string[];
  frozenMs?: number;
  pausedMs?: number;
}

/** Takes the point in time. Whatever fails, the guest is thawed; letting it run again is `undoInMachine`'s. */
export async function takePointInTime(request: WindowRequest): Promise<WindowResult> {
  const { agent } = request;
  const why: string[] = [];
  const frozenAt = systemClock.monotonic();
  let frozen = false;
  try {
    if (agent) frozen = await freeze(agent, why);
    const moment = await pauseFor(request);
    return { ...moment, quiesced: frozen, why, ...(frozen ? { frozenMs: await thaw(agent, frozenAt) } : {}) };
  } catch (error) {
    if (frozen) await thaw(agent, frozenAt);
    throw error;
  }
}

/**
 * Runs `task` while the guest's file systems are frozen, where there is an agent. Whatever fails, the guest is thawed.
 * Answers for how long they were, milliseconds.
 */
export async function freezeFor(
  agent: GuestAgent | undefined,
  why: string[],
  task: () => Promise<void>,
): Promise<number | undefined> {
  const since = systemClock.monotonic();
  const frozen = agent ? await freeze(agent, why) : false;
  try {
    await task();
  } finally {
    if (frozen) await thaw(agent, since);
  }
  return frozen ? systemClock.monotonic() - since : undefined;
}

async function freeze(agent: GuestAgent, why: string[]): Promise<boolean> {
  try {
    const count = await agent.freeze(freezeTimeoutMs);
    if (count === 0) why.push('the guest agent found no file system to freeze');
    else why.push(`the guest agent froze ${count} file ${count === 1 ? 'system' : 'systems'}`);
    return count > 0;
  } catch (error) {
    why.push(`not quiesced: ${toPrimaError(error, 'freezing').message}`);
    await agent.thaw(); // it may have frozen without telling; raises when nobody can know
    return false;
  }
}

async function thaw(agent: GuestAgent | undefined, since: number): Promise<number> {
  await agent?.thaw({ timeoutMs: 30_000 });
  return systemClock.monotonic() - since;
}

async function pauseFor(request: WindowRequest): Promise<Pick<WindowResult, 'pointInTime' | 'pausedMs'>> {
  const { qmp, plan, running, memory } = request;
  const pausedAt = systemClock.monotonic();
  if (running) await qmp.execute('stop', undefined, { timeoutMs: stepTimeoutMs });
  const pointInTime = systemClock.now();
  await qmp.execute('transaction', { actions: bitmapActions(plan.disks) }, { timeoutMs: stepTimeoutMs });
  for (const { names } of plan.disks) await setDrive(qmp, names.device, names.filterNode);
  if (memory) {
    await setBackgroundSnapshot(qmp, true);
    await startMigration(qmp, usualDowntimeMs);
    await pollUntil('the machine runs on while its memory is saved', stepTimeoutMs, async () => {
      await checkMigration(qmp);
      return (await queryStatus(qmp)) === 'running';
    });
  } else if (running) await qmp.execute('cont', undefined, { timeoutMs: stepTimeoutMs });
  return running ? { pointInTime, pausedMs: systemClock.monotonic() - pausedAt } : { pointInTime };
}

/**
 * For each disk: a bitmap that counts from now on, and a copy of the parent's as it is now. The parent's goes on
 * recording, so that a backup that fails costs nothing.
 */
function bitmapActions(disks: readonly LiveDisk[]): object[] {
  return disks.flatMap(({ names, parent, persistent }) => {
    const { node, newBitmap, frozenBitmap } = names;
    const add = { node, name: newBitmap, persistent, granularity: granularityBytes };
    const actions: object[] = [{ type: 'block-dirty-bitmap-add', data: add }];
    if ('bitmap' in parent) {
      const frozen = { node, name: frozenBitmap, disabled: true, granularity: granularityBytes };
      const merge = { node, target: frozenBitmap, bitmaps: [parent.bitmap] };
      actions.push({ type: 'block-dirty-bitmap-add', data: frozen });
      actions.push({ type: 'block-dirty-bitmap-merge', data: merge });
    }
    return actions;
  });
}
