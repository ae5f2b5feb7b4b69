/**
 * Takes back what a live backup did to a machine. Works from any half-done state and may run again: it looks
 * what is there first. The order matters: first the guest runs again, then what reads goes, then the filters
 * that exist for it, then files and bitmaps.
 */
import { readFile, rm } from 'node:fs/promises';
import { parseVmx } from '@prima/formats';
import { connectGuestAgent, connectQmp, findMachineProcess, type QmpClient } from '@prima/qemu';
import { UndoSteps } from '../undo-steps.ts';
import { settleCold, unsettledStacks } from './disk-stacks.ts';
import {
  type BackupIntent,
  type IntentDisk,
  pauseIntent,
  readIntent,
  removeIntent,
  writeIntent,
} from './intent.ts';
import { mergeOrphans, pauseWindow, settleLive } from './live-logs.ts';
import { type MachineConfig, machineConfig } from './machine-config.ts';
import { fileExists, type MachinePaths } from './machine-folder.ts';
import { settleSnapshot } from './memory-stream.ts';
import {
  driveOf,
  pollUntil,
  queryExports,
  queryNodes,
  queryStatus,
  removeBitmap,
  setDrive,
  stepTimeoutMs,
} from './qemu-blocks.ts';

/** `discard`: the point in time was never used; `keep`: a later run may still start from the new bitmaps. */
export type NewBitmaps = 'discard' | 'keep';

/**
 * Undoes what `backup.json` says, and finishes or takes back what redo logs were in the middle of; answers in words what was
 * done. Raises when something could not be; then the note stays, and the next call tries again. Call it only under the
 * machine's lock.
 */
export async function undoLeftBackup(paths: MachinePaths): Promise<string[]> {
  const intent = await readIntent(paths);
  const config = machineConfig(parseVmx(await readFile(paths.vmx)), paths.folder, '');
  const process = await findMachineProcess(paths.run);
  const done = process ? await undoRunning(paths, intent, config) : await settleCold(config);
  if (!intent) return done;
  done.push(...(await removeFiles(intent)));
  await removeIntent(paths);
  return done;
}

async function undoRunning(
  paths: MachinePaths,
  intent: BackupIntent | undefined,
  config: MachineConfig,
): Promise<string[]> {
  if (!intent && (await unsettledStacks(config)).length === 0) return [];
  const done: string[] = [];
  const qmp = await connectQmp(paths.backup, { timeoutMs: 60_000 });
  try {
    // before the guest runs on: which file it writes to must be on record
    done.push(...(await settleLive(qmp, config)));
    // killed before the point in time was taken: nothing can start from the new bitmaps
    if (intent) done.push(...(await undoInMachine(qmp, paths, intent, intent.inWindow ? 'discard' : 'keep')));
    const window = pauseWindow(qmp, {
      begin: () => writeIntent(paths, pauseIntent(paths, { wasRunning: true, freezes: false })),
      end: () => removeIntent(paths),
    });
    done.push(...(await mergeOrphans(qmp, config, window)));
  } finally {
    await qmp.close();
  }
  return done;
}

/** What must be undone while the machine runs. One failing step does not stop the others. */
export async function undoInMachine(
  qmp: QmpClient,
  paths: MachinePaths,
  intent: BackupIntent,
  newBitmaps: NewBitmaps,
): Promise<string[]> {
  const steps = new UndoSteps();
  await steps.step('the machine goes on', () => letRun(qmp, intent));
  await steps.step('its file systems are thawed', () => thaw(paths, intent));
  if (intent.migrates) await steps.step('its memory is saved, for nothing', () => settleSnapshot(qmp));
  await steps.step('the exports are gone', () => removeExports(qmp, intent));
  for (const disk of intent.disks) {
    await steps.step(`${disk.slot} is as it was`, () => removeFilter(qmp, disk, newBitmaps));
  }
  steps.end(`undoing a backup of the machine in ${paths.folder}`);
  return steps.done;
}

/** Scratch and memory files of the backup, when QEMU no longer has them open. */
export async function removeFiles(intent: BackupIntent): Promise<string[]> {
  const files = intent.disks.map(({ scratchFile }) => scratchFile);
  if (intent.memoryFile !== undefined) files.push(intent.memoryFile);
  const done: string[] = [];
  for (const path of files) {
    if (!(await fileExists(path))) continue;
    await rm(path, { force: true });
    done.push(`${path} is removed`);
  }
  return done;
}

async function letRun(qmp: QmpClient, intent: BackupIntent): Promise<boolean> {
  if (!intent.inWindow || !intent.wasRunning || (await queryStatus(qmp)) !== 'paused') return false;
  await qmp.execute('cont', undefined, { timeoutMs: stepTimeoutMs });
  return true;
}

async function thaw(paths: MachinePaths, intent: BackupIntent): Promise<boolean> {
  if (!intent.inWindow || !intent.freezes) return false;
  const agent = await connectGuestAgent(paths.agent, { timeoutMs: 30_000 });
  try {
    if ((await agent.freezeStatus({ timeoutMs: 30_000 })) !== 'frozen') return false;
    await agent.thaw({ timeoutMs: 30_000 });
    return true;
  } finally {
    await agent.close();
  }
}

async function removeExports(qmp: QmpClient, intent: BackupIntent): Promise<boolean> {
  const own = new Set(intent.disks.map(({ exportId }) => exportId));
  const ours = async () => (await queryExports(qmp)).filter((id) => own.has(id));
  const present = await ours();
  for (const id of present) await qmp.execute('block-export-del', { id, mode: 'hard' });
  await pollUntil('the exports are closed', 30_000, async () => (await ours()).length === 0);
  // QEMU makes the socket when its server starts and removes it when that stops
  const serving = await fileExists(intent.nbdSocket);
  if (serving) {
    await qmp.execute('nbd-server-stop');
    await rm(intent.nbdSocket, { force: true });
  }
  return serving || present.length > 0;
}

async function removeFilter(qmp: QmpClient, disk: IntentDisk, newBitmaps: NewBitmaps): Promise<boolean> {
  const nodes = await queryNodes(qmp);
  let changed = false;
  const removeNode = async (name: string) => {
    if (!nodes.has(name)) return;
    await qmp.execute('blockdev-del', { 'node-name': name }, { timeoutMs: stepTimeoutMs });
    changed = true;
  };
  await removeNode(disk.viewNode);
  if (nodes.has(disk.filterNode) && (await driveOf(qmp, disk.device)) === disk.filterNode) {
    await setDrive(qmp, disk.device, disk.node);
  }
  await removeNode(disk.filterNode);
  await removeNode(disk.scratchNode);
  const gone = newBitmaps === 'discard' ? [disk.frozenBitmap, disk.newBitmap] : [disk.frozenBitmap];
  for (const { name } of nodes.get(disk.node)?.['dirty-bitmaps'] ?? []) {
    if (name === undefined || !gone.includes(name)) continue;
    await removeBitmap(qmp, disk.node, name);
    changed = true;
  }
  return changed;
}
