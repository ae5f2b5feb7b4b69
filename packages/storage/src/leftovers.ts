/** Temporary files that a writer left when it was killed: which of them are removed, and how long that may take. */

const dayMs = 24 * 60 * 60 * 1000;
/** How many folders are read at once. */
const foldersAtOnce = 16;

/** Where a store keeps files, as far as tidying goes. Folders are named as in keys, with a `/` at their end. */
export interface TidyTree {
  /** What is in a folder; nothing where it has vanished or is not ours to look into. */
  read(folder: string): Promise<TidyFolder>;
  /** Removes a temporary file; nothing happens where it is gone or not ours to remove. */
  remove(path: string): Promise<boolean>;
}

export interface TidyFolder {
  folders: string[];
  temporaries: { path: string; modified: number }[];
  /** How many names there are in it, of any kind. */
  names: number;
}

/**
 * Removes temporary files older than a day; no writer needs as long for one object. The first store must not wait
 * long for it: folders are taken in random order until the limits are reached. Returns how many were removed.
 */
export async function removeLeftovers(
  tree: TidyTree,
  now: number,
  limits: { names: number; folders: number },
): Promise<number> {
  const waiting = [''];
  let [names, folders, removed] = [0, 0, 0];
  while (waiting.length > 0 && names < limits.names && folders < limits.folders) {
    const batch: string[] = [];
    while (batch.length < foldersAtOnce && waiting.length > 0) batch.push(takeRandom(waiting));
    for (const found of await Promise.all(batch.map((folder) => tree.read(folder)))) {
      names += found.names;
      folders += 1;
      waiting.push(...found.folders);
      const old = found.temporaries.filter(({ modified }) => now - modified > dayMs);
      for (const { path } of old) if (await tree.remove(path)) removed += 1;
    }
  }
  return removed;
}

function takeRandom(from: string[]): string {
  const at = Math.floor(Math.random() * from.length);
  const taken = from[at] ?? '';
  from[at] = from.at(-1) ?? '';
  from.pop();
  return taken;
}
