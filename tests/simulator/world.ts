/** What a run knows to be true: which points there must be, and what is in them. */
import { PrimaError, type Random } from '@prima/base';
import {
  openRepository,
  type OpenOptions,
  type Point,
  type Repository,
  type Secret,
} from '@prima/repository';
import type { ObjectStore } from '@prima/storage';
import { differingChunks, type DiskContent } from './disks.ts';
import type { Planted } from './planted.ts';
import type { Scheduler, SimulatedProcess } from './scheduler.ts';
import type { SimulatedDisk } from './simulated-disk.ts';
import { simulatedStore } from './simulated-store.ts';

/**
 * `open`: may come to stand or not; `there`: it must be there; `leaving`: it may go; `gone`: it must not come back;
 * `never`: it was refused.
 */
export type PointState = 'open' | 'there' | 'leaving' | 'gone' | 'never';

export interface ExpectedPoint {
  content: DiskContent;
  state: PointState;
  point?: Point;
}

/** Something that must not be. */
export class Violation extends Error {
  override name = 'Violation';
}

export const secret: Secret = {
  kind: 'recovery',
  words: `${'abandon '.repeat(23)}art`,
};

export interface WorldParts {
  random: Random;
  scheduler: Scheduler;
  disk: SimulatedDisk;
  planted?: Planted | undefined;
  base?: World | undefined;
}

export class World {
  readonly random: Random;
  readonly scheduler: Scheduler;
  readonly disk: SimulatedDisk;
  readonly points = new Map<string, ExpectedPoint>();
  readonly machines: DiskContent[];
  readonly options: Pick<OpenOptions, 'packBytes' | 'checkpointBytes'>;
  readonly #planted: Planted | undefined;
  /** Times at which everybody was held up for longer than a lease. */
  jumps = 0;
  #fault: Violation | undefined;

  /** @param parts.base a world at rest, which this one goes on with; it is not changed */
  constructor(parts: WorldParts) {
    this.random = parts.random;
    this.scheduler = parts.scheduler;
    this.disk = parts.disk;
    this.#planted = parts.planted;
    const { random, base } = parts;
    this.options = base?.options ?? {
      packBytes: 1024 * (1 + random.below(24)),
      checkpointBytes: 1024 * (8 + random.below(40)),
    };
    for (const [id, expected] of base?.points ?? []) this.points.set(id, { ...expected });
    this.machines = base
      ? [...base.machines]
      : [1, 2].map(() => Array.from({ length: 2 + random.below(4) }, () => this.value()));
  }

  /** A chunk: one of a few that are everywhere, or one of many that a point may have for itself. */
  value(): number {
    return this.random.below(4) === 0 ? this.random.below(3) : 3 + this.random.below(60);
  }

  storeOf(process: SimulatedProcess, role: string): ObjectStore {
    const { disk, scheduler, random } = this;
    const store = simulatedStore(process, {
      disk,
      scheduler,
      random,
      onChange: (change) => this.#watch(change),
    });
    return this.#planted?.wrap?.(store, { role, disk }) ?? store;
  }

  async open(process: SimulatedProcess, role: string): Promise<Repository> {
    return await openRepository(this.storeOf(process, role), secret, {
      ...this.options,
      workers: 0,
      clock: this.scheduler.clockOf(process),
    });
  }

  /** The process does nothing for a while, half of the time. */
  async pause(process: SimulatedProcess): Promise<void> {
    if (this.random.below(2) === 0) return;
    await this.scheduler.clockOf(process).sleep(this.random.below(30_000));
  }

  fail(message: string): Violation {
    this.#fault ??= new Violation(message);
    return this.#fault;
  }

  /** The first thing that went wrong anywhere. */
  get fault(): Violation | undefined {
    return this.#fault;
  }

  /** After every change of the store: no point goes that must stay. */
  #watch({ key, isDeletion }: { key: string; isDeletion: boolean }): void {
    const [, id = '', part] = /^sessions\/([0-9a-f]{32})\/(outcome|forgotten)$/.exec(key) ?? [];
    const state = this.points.get(id)?.state;
    if (isDeletion && part === 'outcome' && state === 'there')
      throw this.fail(`the outcome of point ${id} is deleted, which nobody forgot`);
    if (isDeletion && (key === 'config' || /^(?:keys|keyset|log)\//.test(key)))
      throw this.fail(`${key} is deleted`);
  }

  /** All bytes of a point's disk are what was backed up. */
  async assertRestores(repository: Repository, point: Point, where: string): Promise<void> {
    const expected = this.points.get(point.id);
    if (!expected) throw this.fail(`${where}: nobody made point ${point.id}`);
    const device = await repository.openDisk(point, 'disk0');
    try {
      const bytes = Buffer.alloc(device.size);
      await device.read(0, bytes);
      const wrong = differingChunks(expected.content, bytes);
      if (wrong.length > 0 || bytes.length === 0)
        throw this.fail(`${where}: point ${point.id} comes back with other chunks ${wrong.join(', ')}`);
    } finally {
      await device.close();
    }
    const file = await repository.readFile(point, 'm.vmx');
    if (Buffer.from(file).toString() !== fileOf(expected.content))
      throw this.fail(`${where}: the file of point ${point.id} is another`);
  }
}

export function fileOf(content: DiskContent): string {
  return `chunks = "${content.join(' ')}"\n`;
}

/** The code of a PrimaError and its message; every other error is a fault of ours. */
export function codeOf(error: unknown): string {
  return error instanceof PrimaError ? error.code : 'internal';
}
