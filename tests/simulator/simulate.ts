/** One run: epochs of processes side by side, some killed, some with a power loss at the end; then everything is looked at. */
import { seededRandom, silentLogger } from '@prima/base';
import { createRepository } from '@prima/repository';
import { type Actor, backUp, check, collect, forget, read } from './actors.ts';
import { beginRun } from './determinism.ts';
import { chunkSize } from './disks.ts';
import type { Chances, Planted } from './planted.ts';
import { Scheduler, type SimulatedProcess } from './scheduler.ts';
import { type DiskOptions, SimulatedDisk } from './simulated-disk.ts';
import { assertSoundAndTidy } from './quiet.ts';
import { secret, Violation, World } from './world.ts';

export interface RunResult {
  seed: number;
  steps: number;
  points: number;
  /** What must not be; undefined when nothing was found. */
  violation?: string;
  /** The schedule: one line a step. */
  history: readonly string[];
}

const actors: { actor: Actor; name: string; weight: number }[] = [
  { actor: backUp, name: 'backup', weight: 8 },
  { actor: forget, name: 'forget', weight: 5 },
  { actor: collect, name: 'collect', weight: 6 },
  { actor: read, name: 'read', weight: 4 },
  { actor: check, name: 'check', weight: 1 },
];

const rarely: Chances = { kill: 400, jump: 250, powerLoss: 1500 };
const hourMs = 3_600_000;

/** Repeats exactly for one seed. */
export async function simulate(
  seed: number,
  options: { planted?: Planted | undefined; disk?: DiskOptions } = {},
): Promise<RunResult> {
  const base = await baseOf(seed % bases);
  const random = seededRandom(seed);
  const scheduler = new Scheduler(random, base.scheduler.now);
  beginRun(seed, () => scheduler.now);
  const disk = new SimulatedDisk({ ...options.disk, ...options.planted?.disk }, base.disk);
  const world = new World({ random, scheduler, disk, base, planted: options.planted });
  let violation: string | undefined;
  try {
    await new Run(world, { ...rarely, ...options.planted?.chances }).run();
  } catch (error) {
    violation =
      world.fault?.message ?? (error instanceof Error ? (error.stack ?? error.message) : String(error));
    if (!(error instanceof Violation) && world.fault === undefined) violation = `unexpected: ${violation}`;
  }
  const { steps, history } = scheduler;
  return {
    seed,
    steps,
    points: world.points.size,
    history,
    ...(violation === undefined ? {} : { violation }),
  };
}

/** Runs begin with one of so many repositories, made once in each process. */
const bases = 16;
const made = new Map<number, World>();

async function baseOf(number: number): Promise<World> {
  const known = made.get(number);
  if (known) return known;
  const random = seededRandom(number + 1_000_000);
  const scheduler = new Scheduler(random);
  beginRun(number + 1_000_000, () => scheduler.now);
  const world = new World({ random, scheduler, disk: new SimulatedDisk() });
  await new Run(world, rarely).prepare();
  made.set(number, world);
  return world;
}

class Run {
  readonly #world: World;
  readonly #chances: Chances;
  #processes: SimulatedProcess[] = [];
  #living = 0;
  #started = 0;
  #isPowerLost = false;

  constructor(world: World, chances: Chances) {
    this.#world = world;
    this.#chances = chances;
  }

  /** Makes a repository with some points, one of them forgotten. */
  async prepare(): Promise<void> {
    await this.#alone('create', async (process) => {
      const { options, scheduler } = this.#world;
      const store = this.#world.storeOf(process, 'create');
      const clock = scheduler.clockOf(process);
      await createRepository(store, {
        secret,
        chunkSize,
        ...options,
        workers: 0,
        clock,
        logger: silentLogger,
      });
    });
    for (const actor of [backUp, backUp, backUp, backUp, forget, forget]) {
      await this.#alone('prepare', (process) => actor(this.#world, process));
    }
  }

  async run(): Promise<void> {
    const epochs = this.#world.random.below(4) === 0 ? 2 : 1;
    for (let epoch = 0; epoch < epochs; epoch += 1) {
      await this.#epoch();
      await assertSoundAndTidy(this.#world, (name, task) => this.#alone(name, task));
    }
  }

  /** Processes that come and go, up to four at a time. */
  async #epoch(): Promise<void> {
    const { random, scheduler } = this.#world;
    this.#isPowerLost = false;
    let left = 10 + random.below(10);
    const width = 2 + random.below(4);
    const isOver = () =>
      this.#world.fault !== undefined || this.#isPowerLost || (left === 0 && this.#living === 0);
    await scheduler.run(isOver, () => {
      while (left > 0 && this.#living < width) {
        left -= 1;
        this.#start();
      }
      this.#disturb();
    });
    for (const process of this.#processes) if (!process.isKilled) scheduler.kill(process);
    this.#processes = [];
    this.#living = 0;
    if (this.#world.fault) throw this.#world.fault;
  }

  #start(): void {
    const { random } = this.#world;
    const total = actors.reduce((sum, { weight }) => sum + weight, 0);
    let at = random.below(total);
    const chosen = actors.find(({ weight }) => (at -= weight) < 0) ?? actors[0];
    if (!chosen) return;
    this.#started += 1;
    this.#spawn(`${chosen.name} ${this.#started}`, chosen.actor);
  }

  #spawn(name: string, actor: Actor): void {
    const process = { name, isKilled: false, weight: this.#world.scheduler.speed() };
    this.#processes.push(process);
    this.#living += 1;
    actor(this.#world, process)
      .catch((error: unknown) => {
        if (process.isKilled) return;
        this.#world.fail(error instanceof Error ? `${name}: ${error.stack ?? error.message}` : String(error));
      })
      .finally(() => {
        if (process.isKilled) return;
        process.isKilled = true;
        this.#living -= 1;
      });
  }

  #disturb(): void {
    const { random, scheduler, disk } = this.#world;
    const living = this.#processes.filter(({ isKilled }) => !isKilled);
    if (random.below(this.#chances.kill) === 0) {
      const victim = living[random.below(Math.max(1, living.length))];
      if (victim) {
        scheduler.kill(victim);
        this.#living -= 1;
      }
    }
    if (random.below(this.#chances.jump) === 0) {
      this.#world.jumps += 1;
      scheduler.skipTime((25 + random.below(400)) * hourMs);
    }
    if (random.below(this.#chances.powerLoss) === 0) {
      for (const process of living) scheduler.kill(process);
      disk.losePower(random, scheduler.now);
      scheduler.history.push('the power is lost');
      this.#isPowerLost = true;
    }
  }

  /** Runs one process with nobody beside it. */
  async #alone(name: string, task: (process: SimulatedProcess) => Promise<void>): Promise<void> {
    const process: SimulatedProcess = { name, isKilled: false, weight: 40 };
    let isOver = false;
    let failure: unknown;
    task(process)
      .catch((error: unknown) => (failure = error))
      .finally(() => (isOver = true));
    await this.#world.scheduler.run(() => isOver);
    process.isKilled = true;
    if (failure !== undefined) throw failure;
    if (this.#world.fault) throw this.#world.fault;
  }
}
