/** Bitmaps in the disks of a stand-in that no checkpoint tells of: what cold backups that died left. */
import type { StandIn } from './stand-in.ts';

interface Node {
  'node-name': string;
  ro: boolean;
  'dirty-bitmaps'?: { name?: string; busy?: boolean }[];
}

/** Removes those whose names begin with `prefix`, but for `keep`; answers how many. */
export async function removeStrayBitmaps(standIn: StandIn, prefix: string, keep?: string): Promise<number> {
  const nodes = (await standIn.monitor('query-named-block-nodes', { flat: true })) as Node[];
  let removed = 0;
  for (const { 'node-name': node, ro, 'dirty-bitmaps': bitmaps = [] } of nodes) {
    if (ro) continue; // a backing file: QEMU refuses
    for (const { name, busy } of bitmaps) {
      if (name === undefined || !name.startsWith(prefix) || name === keep || busy) continue;
      await standIn.monitor('block-dirty-bitmap-remove', { node, name });
      removed += 1;
    }
  }
  return removed;
}
