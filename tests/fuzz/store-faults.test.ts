/**
 * Every fault of docs/format/fault-model.md at every kind of call that a repository makes: what comes back is right or
 * an error, what the store damaged is named, and what it did not damage is all there when it is well again.
 * A run takes some of them, chosen by the seed; PRIMA_FUZZ_ROUNDS=250 takes all.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KiB, PrimaError, type Random, seededRandom, toPrimaError } from '@prima/base';
import { memoryDevice } from '@prima/block';
import {
  createRepository,
  openRepository,
  type Point,
  type Repository,
  type WriteSession,
} from '@prima/repository';
import {
  faultsOf,
  type FaultyStore,
  faultyStore,
  memoryStore,
  type ScheduledFault,
  type StoreCall,
  type StoreFault,
  writeSchedule,
} from '@prima/storage';
import { fuzzRun } from '@prima/testbed';

const secret = { kind: 'passphrase', text: 'correct horse' } as const;
const small = { chunkSize: 256 * KiB, workers: 1, packBytes: 512 * KiB };
const kdfCost = { memoryKiB: 8192, passes: 1, lanes: 1 };
const diskBytes = 5 * 256 * KiB + 512;

/** The store keeps something else than what it was given: such points may be lost, but never in silence. */
const harmful: readonly StoreFault[] = ['torn', 'flipped', 'lost'];

class Story {
  readonly store: FaultyStore;
  /** Contents of points by id: of those that were answered as committed, and of those that may be. */
  readonly committed = new Map<string, Buffer>();
  readonly possible = new Map<string, Buffer>();
  readonly forgotten = new Set<string>();
  /** Faults that checks have named. */
  readonly named: string[] = [];
  readonly #where: string;
  #content = Buffer.alloc(diskBytes);

  constructor(store: FaultyStore, where: string) {
    this.store = store;
    this.#where = where;
  }

  /** One command, as of a process of its own; failing is allowed, but only with an error that says what is wrong. */
  async command<T>(name: string, work: (repository: Repository) => Promise<T>): Promise<T | undefined> {
    let repository: Repository | undefined;
    try {
      repository = await openRepository(this.store, secret, small);
      return await work(repository);
    } catch (error) {
      const failure = toPrimaError(error, name);
      const isClear = error instanceof PrimaError && failure.code !== 'internal';
      assert.ok(isClear, `${this.#where}: ${name}: ${failure.stack}`);
      return undefined;
    } finally {
      await repository?.close();
    }
  }

  /** False where there is no repository after two tries. */
  async create(): Promise<boolean> {
    for (let tries = 0; tries < 2; tries += 1) {
      const made = await createRepository(this.store, { secret, ...small, kdfCost }).catch((error: unknown) =>
        assert.ok(error instanceof PrimaError && error.code !== 'internal', this.#where),
      );
      await made?.close();
      if (made) return true;
    }
    return (await this.store.stat('config')) !== undefined;
  }

  /** @param chunk the chunk of the disk that has changed since the last one */
  async backUp(chunk: number, parent?: Point): Promise<Point | undefined> {
    seededRandom(chunk + 1).bytes(this.#content.subarray(chunk * 256 * KiB, (chunk + 1) * 256 * KiB));
    const content = Buffer.from(this.#content);
    return await this.command('backing up', async (repository) => {
      const session = await repository.beginBackup();
      this.possible.set(session.id, content);
      try {
        const point = await write(session, content, parent && { parent, chunk });
        this.committed.set(point.id, content);
        return point;
      } catch (error) {
        await session.abort('a fault');
        throw error;
      }
    });
  }

  /** Restores all points that are listed. Answers the ids of those that came back whole. */
  async restoreAll(): Promise<Set<string>> {
    const whole = new Set<string>();
    await this.command('restoring', async (repository) => {
      for (const point of await repository.points()) {
        const expected = this.possible.get(point.id);
        assert.ok(expected, `${this.#where}: a point that nobody made`);
        const found = await contentOf(repository, point).catch((error: unknown) => {
          assert.ok(
            error instanceof PrimaError && error.code !== 'internal',
            `${this.#where}: ${String(error)}`,
          );
        });
        assert.ok(!found || found.equals(expected), `${this.#where}: wrong bytes of point ${point.id}`);
        if (found) whole.add(point.id);
      }
    });
    return whole;
  }

  async check(): Promise<string[]> {
    const report = await this.command('checking', (repository) => repository.check({ readData: true }));
    const faults = report?.faults.map(({ kind, object }) => `${kind} ${object}`) ?? ['check refused'];
    this.named.push(...faults);
    return faults;
  }

  async forget(point: Point | undefined): Promise<void> {
    if (!point) return;
    this.forgotten.add(point.id);
    await this.command('forgetting', (repository) => repository.forget(point));
  }

  async collect(): Promise<void> {
    await this.command('collecting', (repository) => repository.collect({ maxDeleteShare: 1, waitMs: 0 }));
  }
}

async function write(
  session: WriteSession,
  content: Buffer,
  on?: { parent: Point; chunk: number },
): Promise<Point> {
  const device = memoryDevice(diskBytes);
  await device.write(0, content);
  const root = on?.parent.disks[0]?.root;
  const changed = on && [{ offset: on.chunk * 256 * KiB, length: 256 * KiB }];
  const parent = on && root && { point: on.parent.id, root };
  const result = await session.writeDisk({ name: 'disk0', device, ...(parent && { parent, changed }) });
  const file = await session.writeFile('m.vmx', content.subarray(0, 1000));
  const time = new Date().toISOString();
  return await session.commit({
    machine: { id: 'm', name: 'm' },
    time,
    started: time,
    finished: time,
    mode: 'cold',
    quiesced: false,
    disks: [{ name: 'disk0', size: diskBytes, changed: on ? 'tracked' : 'all', ...result }],
    skipped: [],
    files: [file],
    tags: [],
    notes: [],
    warnings: [],
  });
}

async function contentOf(repository: Repository, point: Point): Promise<Buffer> {
  const device = await repository.openDisk(point, 'disk0');
  try {
    const bytes = Buffer.alloc(device.size);
    await device.read(0, bytes);
    assert.ok(bytes.subarray(0, 1000).equals(await repository.readFile(point, 'm.vmx')));
    return bytes;
  } finally {
    await device.close();
  }
}

/** What is done while faults may happen. */
async function tell(story: Story): Promise<boolean> {
  if (!(await story.create())) return false;
  const first = await story.backUp(0);
  const second = await story.backUp(1);
  await story.forget(first);
  await story.collect();
  const third = await story.backUp(2, second);
  await story.restoreAll();
  await story.forget(second);
  await story.backUp(0, third);
  await story.collect();
  await story.collect();
  await story.check();
  return true;
}

/** A fault, and all that must hold after it. */
async function verify(where: string, faults: Parameters<typeof faultyStore>[1]): Promise<FaultyStore> {
  const store = faultyStore(memoryStore(), faults);
  const story = new Story(store, where);
  if (!(await tell(story))) return store; // what was not made cannot be lost
  store.calm();
  await store.crash();
  const done = writeSchedule(store.injected);
  const isHarmful = store.injected.some(
    ({ operation, fault }) => operation === 'put' && harmful.includes(fault),
  );
  for (let round = 0; round < 2; round += 1) {
    const whole = await story.restoreAll();
    const faults = await story.check();
    const lost = [...story.committed.keys()].filter((id) => !story.forgotten.has(id) && !whole.has(id));
    if (!isHarmful) {
      assert.deepEqual(lost, [], `${where}: ${done}committed points are gone though nothing was damaged`);
      assert.deepEqual(faults, [], `${where}: ${done}faults though nothing was damaged`);
    } else if (lost.length > 0) {
      assert.notDeepEqual(story.named, [], `${where}: ${done}points are lost and no check says so`);
    }
    await story.collect(); // whatever it does, the second round sees it
  }
  return store;
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  const order = items.map((item) => ({ item, at: random.uint32() }));
  return order.sort((a, b) => a.at - b.at).map(({ item }) => item);
}

type Kind = Pick<StoreCall, 'operation' | 'kind'>;

test('each fault at each kind of call is named or harmless', { timeout: 540_000 }, async (t) => {
  const { seed, rounds, random } = fuzzRun(60);
  t.diagnostic(`seed ${seed}`);
  const calls = new Map<string, Kind & { count: number }>();
  const count = ({ operation, kind }: StoreCall) => {
    const known = calls.get(`${operation} ${kind}`) ?? { operation, kind, count: 0 };
    calls.set(`${operation} ${kind}`, { ...known, count: known.count + 1 });
    return undefined;
  };
  await verify('without faults', { random, faultAt: count });
  const pairs = [...calls.values()].flatMap((call) =>
    faultsOf[call.operation].map((fault) => ({ ...call, fault })),
  );
  const order = shuffled(pairs, random);
  const failures: string[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const chosen = order[round % order.length];
    assert.ok(chosen);
    const { operation, kind, fault } = chosen;
    const nth = random.below(3) === 0 ? 0 : random.below(chosen.count);
    const planned: ScheduledFault = { operation, kind, nth, fault, where: random.uint32() };
    const where = `seed ${seed}: ${writeSchedule([planned])}`;
    try {
      const { injected } = await verify(where, { random, schedule: [planned] });
      assert.equal(injected.length, 1, `${where}: not reached`);
    } catch (error) {
      failures.push(error instanceof Error ? error.message : String(error));
    }
  }
  t.diagnostic(`${rounds} of ${pairs.length} faults at ${calls.size} kinds of calls`);
  assert.deepEqual(failures, []);
});

test('a forgotten point whose deletion a crash undoes is no point again', async () => {
  for (const nth of [0, 1]) {
    const lost = { operation: 'delete', kind: 'sessions/~/outcome', nth, fault: 'lost', where: 7 } as const;
    const { injected } = await verify(`nth ${nth}`, { random: seededRandom(nth), schedule: [lost] });
    assert.equal(injected.length, 1);
  }
});
