/** The configurations of a host's machines, which may name files of any datastore. */
import { readdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { toPrimaError } from '@prima/base';
import type { Unreadable } from './scan.ts';

export type { Unreadable } from './scan.ts';

/** Of the machines in a plain QEMU host's folder, each in its own. */
export async function hostConfigurations(
  folder: string,
): Promise<{ paths: string[]; unreadable: Unreadable[] }> {
  const paths: string[] = [];
  const unreadable: Unreadable[] = [];
  const namesIn = async (path: string) => {
    try {
      return await readdir(path, { withFileTypes: true });
    } catch (error) {
      unreadable.push({ path, why: toPrimaError(error, `reading the folder ${path}`).message });
      return [];
    }
  };
  const root = await realpath(folder).catch(() => folder); // what is wrong with it is said by reading it
  for (const entry of await namesIn(root)) {
    if (entry.name.startsWith('.') || !entry.isDirectory()) continue;
    const machine = join(root, entry.name);
    for (const { name } of await namesIn(machine))
      if (name.toLowerCase().endsWith('.vmx')) paths.push(join(machine, name));
  }
  return { paths, unreadable };
}
