/**
 * A process that dies at its n-th change of a file, played inside this one: from then on every call of Node's that makes,
 * writes, renames, cuts, removes or flushes raises, also those by which the program would clean up.
 */
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';

const callsOfHandles = ['write', 'writeFile', 'truncate', 'sync', 'datasync'] as const;
const callsOfPaths = ['link', 'rename', 'rm', 'mkdir', 'rmdir'] as const;

/** True when `task` got as far as its n-th change; its failure after that is the death's. */
export async function diesAt(n: number, task: () => Promise<void>): Promise<boolean> {
  let count = 0;
  const restore: (() => void)[] = [];
  const watch = (object: object, names: readonly string[]) => {
    const methods = object as Record<string, (...args: unknown[]) => unknown>;
    for (const name of names) {
      const original = methods[name];
      if (original === undefined) throw new Error(`there is no ${name} to watch`);
      methods[name] = async function watched(this: unknown, ...args: unknown[]) {
        count += 1;
        if (count >= n) throw new Error('the process is dead');
        return original.apply(this, args);
      };
      restore.push(() => void (methods[name] = original));
    }
  };
  const handle = await fs.open('/dev/null', 'r');
  watch(Object.getPrototypeOf(handle) as object, callsOfHandles);
  await handle.close();
  watch(fs, callsOfPaths);
  syncBuiltinESMExports();
  try {
    await task();
  } catch (error) {
    if (count < n) throw error;
  } finally {
    for (const undo of restore) undo();
    syncBuiltinESMExports();
  }
  return count >= n;
}
