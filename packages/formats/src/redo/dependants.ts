/** Which files in a disk's folder stand on it or on its logs: what would change if the disk did. */
import { basename, join } from 'node:path';
import { PrimaError } from '@prima/base';
import { namedFiles } from '../named-files.ts';

export interface Dependant {
  /** File names in the folder. */
  file: string;
  parent: string;
}

/** Named like a redo log of `disk`: of ESX 2 (`.REDO`), or of later ones (`.REDO_Ab12Cd`). */
export function isLogName(name: string, disk: string): boolean {
  const stem = disk.replace(/\.[^.]+$/, '');
  if (name.endsWith('.tmp')) return false;
  return (name.startsWith(`${disk}.REDO`) || name.startsWith(`${stem}.REDO`)) && !name.endsWith('.redo.json');
}

/** The file's parent by its base name; undefined when it has none, or is of a version that nobody here could have made. */
async function parentNameOf(path: string): Promise<string | undefined> {
  try {
    const named = await namedFiles(path);
    const parent = named?.format === 'vmdk' ? named.text.parent?.hint : named?.backingFile;
    return parent === undefined ? undefined : lastPart(parent);
  } catch (error) {
    if (error instanceof PrimaError && error.code === 'unsupported') return undefined;
    throw error;
  }
}

/** The files of `names` in `folder` that have one of `parents` as their parent. Damaged files are nobody's child. */
export async function findDependants(
  folder: string,
  names: readonly string[],
  parents: ReadonlySet<string>,
): Promise<Dependant[]> {
  const found: Dependant[] = [];
  for (const file of names) {
    if (file.startsWith('.')) continue;
    const parent = await parentNameOf(join(folder, file));
    if (parent !== undefined && parents.has(parent)) found.push({ file, parent });
  }
  return found;
}

function lastPart(name: string): string {
  return basename(name.replaceAll('\\', '/'));
}
