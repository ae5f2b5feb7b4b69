/** For tests: the one property that every writer has to have. */
import assert from 'node:assert/strict';
import { type Disk, type MachineDescription, slotName } from './description.ts';
import type { Translation } from './translation.ts';

/**
 * Asserts that `read` of what was written is the description again, but for the members that the writer listed, and
 * that each of these is one that the description has.
 */
export function assertCarried(
  description: MachineDescription,
  written: Translation<unknown>,
  read: MachineDescription,
  where: string,
): void {
  const [expected, found] = [structuredClone(description), structuredClone(read)] as unknown as Members[];
  assert.ok(expected && found);
  const dropped = written.notCarried.map(({ where: path }) =>
    path.split(/[.[\]]+/).filter((part) => part !== ''),
  );
  for (const list of ['disks', 'cdroms'] as const) align(expected, found, list, dropped);
  for (const list of ['nics', 'displays', 'serialPorts', 'scsiControllers']) holes(found, list, dropped);
  for (const path of dropped) for (const members of [expected, found]) remove(members, path);
  assert.deepEqual(
    clean(found),
    clean(expected),
    `${where}\nnot carried: ${JSON.stringify(written.notCarried)}`,
  );
}

type Members = Record<string, unknown>;

/** Drives come back in another order where they had to move: they are known by slot and file, then by file alone. */
function align(expected: Members, found: Members, list: string, dropped: readonly string[][]): void {
  const isDropped = (index: number, member?: string) =>
    dropped.some((path) => path.join() === [list, String(index), member].filter((part) => part).join());
  const drives = expected[list] as Disk[];
  const rest = [...(found[list] as Disk[])];
  // The rest of a name may be changed where a dialect cannot have it, and is listed then.
  const location = (drive: Disk | undefined) => drive?.source?.location.split('/').at(-1)?.slice(0, 2);
  const keys = drives.map((drive, index) => ({
    name: isDropped(index, 'source') ? undefined : location(drive),
    slot: slotName(drive.slot),
  }));
  const result: (Disk | undefined)[] = [];
  for (const isStrict of [true, false]) {
    for (const [index, { name, slot }] of keys.entries()) {
      if (result[index] || isDropped(index)) continue;
      const at = rest.findIndex(
        (other) => location(other) === name && (!isStrict || slotName(other.slot) === slot),
      );
      if (at >= 0) result[index] = rest.splice(at, 1)[0];
    }
  }
  found[list] = [...drives.map((_, index) => result[index]), ...rest];
}

/** Elements that were dropped leave a hole, so that the others are where they were. */
function holes(found: Members, list: string, dropped: readonly string[][]): void {
  const items = found[list] as unknown[];
  const gone = dropped
    .filter(([name, , ...more]) => name === list && more.length === 0)
    .map(([, at]) => Number(at));
  for (const at of gone.sort((a, b) => a - b)) items.splice(at, 0, undefined);
}

function remove(members: Members, path: readonly string[]): void {
  let holder: Members | undefined = members;
  for (const part of path.slice(0, -1)) holder = holder?.[part] as Members | undefined;
  const last = path.at(-1);
  if (holder && last !== undefined) holder[last] = undefined;
}

/** Without what is undefined or empty. */
function clean(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(clean);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value)
    .map(([key, item]) => [key, clean(item)] as const)
    .filter(
      ([, item]) =>
        item !== undefined &&
        !(
          typeof item === 'object' &&
          item !== null &&
          !Array.isArray(item) &&
          Object.keys(item).length === 0
        ),
    );
  return Object.fromEntries(entries);
}
