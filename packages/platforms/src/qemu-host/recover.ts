/** Finds what a dead process of ours left on one machine, and undoes it. */
import { readdir, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { toPrimaError } from '@prima/base';
import type { Recovery } from '../platform.ts';
import { fileExists, locateMachine, type MachinePaths } from './machine-folder.ts';
import { withMachineLock } from './machine-lock.ts';
import { undoLeftBackup } from './undo.ts';

/** Undefined when there is nothing, or somebody is at work there. */
export async function recoverMachine(folder: string): Promise<Recovery | undefined> {
  const recovery: Recovery = { machine: basename(folder), undone: [], left: [] };
  try {
    const paths = await locateMachine(folder);
    if (!(await fileExists(paths.run))) return undefined;
    await withMachineLock(paths, 'recovering', async () => {
      recovery.undone.push(...(await undoLeftBackup(paths)));
      recovery.undone.push(...(await removeStrayFiles(paths)));
    });
  } catch (error) {
    const { code, message } = toPrimaError(error, `recovering ${folder}`);
    if (code === 'busy') return undefined;
    recovery.left.push(message);
  }
  return recovery.undone.length + recovery.left.length > 0 ? recovery : undefined;
}

/** Scratch and memory files without a note, from before the note was written. */
async function removeStrayFiles(paths: MachinePaths): Promise<string[]> {
  const removed: string[] = [];
  for (const name of await readdir(paths.run)) {
    if (!/^(?:scratch-[0-9a-f]{8}-\d+\.qcow2|memory-\d+-\d+)$/.test(name)) continue;
    await rm(join(paths.run, name), { force: true });
    removed.push(`${join(paths.run, name)} is removed`);
  }
  return removed;
}
