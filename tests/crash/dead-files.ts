/**
 * A process that dies at its n-th change of a file, played inside this one: from then on every call of Node's that makes,
 * writes, renames, cuts, removes or flushes raises, also those by which the program would clean up.
 */
import { closeSync, openSync } from 'node:fs';
import fs, { type FileHandle } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { Unsynced } from './unsynced.ts';

type Call = (...args: unknown[]) => unknown;

const callsOfPaths = ['link', 'rename', 'rm', 'mkdir', 'rmdir'] as const;

/** How the death of a process, or of its computer, shows in its files. */
export type Death = 'killed' | 'power cut';

/**
 * True when `task` got as far as its n-th change; its failure after that is the death's. A power cut takes what was written and not
 * flushed with it; names stay.
 */
export async function diesAt(n: number, death: Death, task: () => Promise<void>): Promise<boolean> {
  using unsynced = new Unsynced();
  const life = new Life(n);
  await watchHandles(life, unsynced);
  for (const name of callsOfPaths) life.watch(fs, name, (call) => call());
  life.watch(fs, 'writeFile', async (call, [path, , options]) => {
    const { flush = false } = (options ?? {}) as { flush?: boolean };
    const result = await call();
    if (!flush && typeof path === 'string') emptyUntilSynced(path, unsynced);
    return result;
  });
  syncBuiltinESMExports();
  try {
    await task();
  } catch (error) {
    if (!life.isOver) throw error;
  } finally {
    life.restore();
    syncBuiltinESMExports();
  }
  if (life.isOver && death === 'power cut') unsynced.lose();
  return life.isOver;
}

/** Counts changes, and has all that come after the last one fail. */
class Life {
  readonly #end: number;
  readonly #undo: (() => void)[] = [];
  #count = 0;

  constructor(end: number) {
    this.#end = end;
  }

  get isOver(): boolean {
    return this.#count >= this.#end;
  }

  watch(
    object: object,
    name: string,
    around: (call: () => unknown, args: readonly unknown[], self: unknown) => unknown,
  ): void {
    const methods = object as Record<string, Call>;
    const original = methods[name];
    if (original === undefined) throw new Error(`there is no ${name} to watch`);
    const begin = () => {
      this.#count += 1;
      if (this.isOver) throw new Error('the process is dead');
    };
    methods[name] = async function watched(this: unknown, ...args: unknown[]) {
      begin();
      return around(() => original.apply(this, args), args, this);
    };
    this.#undo.push(() => void (methods[name] = original));
  }

  restore(): void {
    for (const undo of this.#undo.splice(0)) undo();
  }
}

async function watchHandles(life: Life, unsynced: Unsynced): Promise<void> {
  const handle = await fs.open('/dev/null', 'r');
  const handles = Object.getPrototypeOf(handle) as object;
  await handle.close();
  const fdOf = (self: unknown) => (self as FileHandle).fd;
  life.watch(handles, 'write', (call, [, , length, position], self) => {
    const place = typeof position === 'number' && typeof length === 'number' ? [position, length] : [];
    unsynced.willWrite(fdOf(self), ...place);
    return call();
  });
  life.watch(handles, 'writeFile', (call, _args, self) => {
    unsynced.willWrite(fdOf(self));
    return call();
  });
  life.watch(handles, 'truncate', (call, [length = 0], self) => {
    unsynced.willTruncate(fdOf(self), Number(length));
    return call();
  });
  for (const name of ['sync', 'datasync'])
    life.watch(handles, name, async (call, _args, self) => {
      const done = unsynced.willSync(fdOf(self));
      await call();
      done();
    });
}

/** A file that was written by its name, and not flushed: after a power cut it has a name and nothing in it. */
function emptyUntilSynced(path: string, unsynced: Unsynced): void {
  const fd = openSync(path, 'r+');
  try {
    unsynced.wasEmpty(fd);
  } finally {
    closeSync(fd);
  }
}
