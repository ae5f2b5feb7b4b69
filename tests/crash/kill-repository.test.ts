/**
 * kill -9 of real prima processes at random moments: backups, forgetting, collections and restores, one at a
 * time or two at once. After each death the repository is whole, what was committed comes back byte for byte,
 * the same operation succeeds when it is run again, and in the end nothing is left lying about.
 *
 * PRIMA_CRASH_ROUNDS says how many (default 25), PRIMA_SEED repeats a run as far as timing lets it.
 */
import assert from 'node:assert/strict';
import { watch } from 'node:fs';
import { mkdir, open, readdir, rm, utimes } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { BackupResult, ForgetResult, PointDto, PrimaApi } from '@prima/api';
import { KiB, MiB, type Random, seededRandom, systemClock, temporaryPrefix } from '@prima/base';
import { createApplication } from '@prima/server';
import {
  type PrimaProcess,
  randomFile,
  runPrima,
  sha256File,
  spawnPrima,
  temporaryFolder,
} from '@prima/testbed';

const rounds = Number(process.env['PRIMA_CRASH_ROUNDS'] ?? 25);
const seed = Number(process.env['PRIMA_SEED'] ?? Date.now() % 1e6);
const size = 24 * MiB;
const machines = ['d0', 'd1'] as const;

const kinds = ['backup', 'forget', 'collect', 'restore'] as const;
type Kind = (typeof kinds)[number];

interface Operation {
  kind: Kind;
  machine: string;
  args: string[];
}

class World {
  readonly folder: string;
  readonly random: Random;
  /** SHA-256 of what each point that was ever seen must come back as. */
  readonly contents = new Map<string, { machine: string; sha256: string }>();
  /** Milliseconds that each operation takes when nobody kills it. */
  readonly usual = new Map<Kind, number>();
  readonly seen = { killed: 0, ended: 0, committed: 0 };
  /** The SHA-256 of each disk as it is now. */
  readonly #disks = new Map<string, string>();

  constructor(folder: string, random: Random) {
    this.folder = folder;
    this.random = random;
  }

  at(...names: string[]): string {
    return join(this.folder, ...names);
  }

  disk(machine: string): string {
    return this.at('disks', `${machine}.raw`);
  }

  get env(): Record<string, string> {
    return {
      PRIMA_REPO: this.at('repository'),
      PRIMA_HOME: this.at('home'),
      PRIMA_PASSPHRASE: 'correct horse',
    };
  }

  /** A fresh application on the same folders, as a process that starts now. */
  async application<T>(task: (api: PrimaApi) => Promise<T>): Promise<T> {
    const api = await createApplication({
      home: this.at('home'),
      repository: this.at('repository'),
      secret: async () => ({ kind: 'passphrase', text: 'correct horse' }),
    });
    try {
      return await task(api);
    } finally {
      await api.close();
    }
  }

  async makeDisks(): Promise<void> {
    await mkdir(this.at('disks'));
    for (const [index, machine] of machines.entries()) {
      await randomFile(this.disk(machine), { size, seed: seed * 10 + index, dataFraction: 0.5 });
      this.#disks.set(machine, await sha256File(this.disk(machine)));
    }
  }

  /** Overwrites some of a disk, so that the next backup has something to store. */
  async scribble(machine: string): Promise<void> {
    await using file = await open(this.disk(machine), 'r+');
    for (let i = 0; i < 6; i += 1) {
      const piece = this.random.bytes(new Uint8Array(512 * KiB));
      await file.write(piece, 0, piece.length, this.random.below(size - piece.length));
    }
    await file.sync();
    this.#disks.set(machine, await sha256File(this.disk(machine)));
  }

  diskContent(machine: string): string {
    return this.#disks.get(machine) ?? assert.fail(machine);
  }

  operation(kind: Kind, machine: string): Operation {
    const args = {
      backup: ['backup', this.disk(machine)],
      forget: ['forget', machine, '--keep-last', '2'],
      collect: ['collect', '--max-delete-share', '1'],
      restore: ['restore', `${machine}@latest`, '--to', this.at('out', machine), '--force'],
    }[kind];
    return { kind, machine, args: [...args, '--json', '--quiet'] };
  }

  async prepare({ kind, machine }: Operation): Promise<void> {
    if (kind === 'backup') await this.scribble(machine);
    if (kind === 'restore') await rm(this.at('out', machine), { recursive: true, force: true });
  }

  /** Runs it to its end, which has to be a good one; notes the point that a backup made. */
  async succeed(operation: Operation, where: string): Promise<void> {
    const { status, stdout, stderr } = await runPrima(operation.args, { env: this.env });
    assert.equal(status, 0, `${where}: prima ${operation.args.join(' ')}: ${stdout}${stderr}`);
    const last = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as { type: string; result: unknown };
    assert.equal(last.type, 'result', where);
    const { machine } = operation;
    if (operation.kind === 'backup') {
      const point = (last.result as BackupResult).results[0]?.point;
      assert.ok(point, where);
      this.contents.set(point.id, { machine, sha256: this.diskContent(machine) });
    }
    if (operation.kind === 'forget') {
      for (const { id } of (last.result as ForgetResult).forgotten) this.contents.delete(id);
    }
    if (operation.kind === 'restore') {
      const target = this.at('out', machine);
      assert.deepEqual(await readdir(target), [`${machine}-disk0.raw`], `${where}: only the disk is there`);
    }
  }

  async assertRestores(api: PrimaApi, point: PointDto, where: string): Promise<void> {
    const folder = this.at('restored');
    await api.restoreToFolder({ point: point.id, folder });
    const found = await sha256File(join(folder, `${point.machine}-disk0.raw`));
    assert.equal(found, this.contents.get(point.id)?.sha256, `${where}: point ${point.id} as it was`);
    await rm(folder, { recursive: true });
  }
}

/** Kills after a random part of the usual time, or at a random change of the repository's folder. */
async function killSometime(world: World, { kind }: Operation, prima: PrimaProcess): Promise<void> {
  const { random } = world;
  const usual = world.usual.get(kind) ?? 1000;
  if (random.below(2) === 0) {
    await systemClock.sleep(random.below(Math.ceil(usual * 1.1)));
    prima.kill();
    return;
  }
  let left = 1 + random.below(kind === 'collect' ? 40 : 25);
  const watcher = watch(world.at('repository'), { recursive: true }, () => {
    left -= 1;
    if (left === 0) prima.kill();
  });
  try {
    await prima.result;
  } finally {
    watcher.close();
  }
}

/** Runs the operations at the same time; the first is killed, the second sometimes. Answers how it was. */
async function die(world: World, operations: readonly Operation[], where: string): Promise<string> {
  const texts = operations.map(async (operation, index) => {
    await using prima = spawnPrima(operation.args, { env: world.env });
    const isVictim = index === 0 || world.random.below(2) === 0;
    if (isVictim) await killSometime(world, operation, prima);
    const { status, signal, stdout, stderr } = await prima.result;
    world.seen[signal === 'SIGKILL' ? 'killed' : 'ended'] += 1;
    // whoever was not killed has succeeded, or says that the other is at it
    const isFine = signal === 'SIGKILL' || status === 0 || status === 5;
    assert.ok(isFine, `${where}: ${operation.args.join(' ')} ended with ${status}: ${stdout}${stderr}`);
    return `${operation.kind} ${operation.machine} ${signal ?? status}`;
  });
  return (await Promise.all(texts)).join(' beside ');
}

/** The repository is whole and holds what it must. Answers the points. */
async function assertWhole(
  world: World,
  operations: readonly Operation[],
  where: string,
): Promise<PointDto[]> {
  return world.application(async (api) => {
    const { ok, faults } = await api.check({ readData: true });
    assert.ok(ok, `${where}: ${JSON.stringify(faults)}`);
    const points = await api.points({});
    const there = new Set(points.map(({ id }) => id));
    for (const { id, machine } of points) {
      if (world.contents.has(id)) continue;
      assert.ok(
        operations.some((operation) => operation.kind === 'backup' && operation.machine === machine),
        `${where}: ${id} comes from a backup of ${machine}`,
      );
      world.seen.committed += 1;
      world.contents.set(id, { machine, sha256: world.diskContent(machine) });
    }
    for (const machine of machines) {
      const mayGo = operations.some(
        (operation) => operation.kind === 'forget' && operation.machine === machine,
      );
      const known = [...world.contents].filter(([, content]) => content.machine === machine);
      const gone = known.filter(([id]) => !there.has(id)).map(([id]) => id);
      assert.ok(mayGo || gone.length === 0, `${where}: ${machine} lost ${gone.join(', ')}`);
      for (const id of gone) world.contents.delete(id);
      assert.ok(known.length > gone.length, `${where}: ${machine} has a point`);
    }
    const point = points[world.random.below(points.length)];
    assert.ok(point, where);
    await world.assertRestores(api, point, where);
    return points;
  });
}

async function round(world: World, where: string): Promise<string> {
  const pick = (): Operation => {
    const kind = kinds[world.random.below(4) === 0 ? 3 : world.random.below(3)] ?? 'backup';
    return world.operation(kind, machines[world.random.below(machines.length)] ?? 'd0');
  };
  const operations = world.random.below(3) === 0 ? [pick(), pick()] : [pick()];
  for (const operation of operations) await world.prepare(operation);
  const how = await die(world, operations, where);
  await assertWhole(world, operations, `${where} (${how})`);
  const [first] = operations;
  if (first?.kind === 'backup') await world.scribble(first.machine);
  if (first) await world.succeed(first, `${where} (${how}), again`);
  return how;
}

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => !entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name));
}

/** Makes what killed writers left of unfinished files look as it will in two days. */
async function ageTemporaryFiles(folder: string): Promise<number> {
  const left = (await filesBelow(folder)).filter((path) => basename(path).startsWith(temporaryPrefix));
  const then = new Date(Date.now() - 48 * 3_600_000);
  for (const path of left) await utimes(path, then, then);
  return left.length;
}

/** After a collection the folder holds what the points need, and nothing of the dead but their being fenced. */
async function assertTidy(world: World, where: string): Promise<void> {
  const aged =
    (await ageTemporaryFiles(world.at('repository'))) + (await ageTemporaryFiles(world.at('home')));
  for (const machine of machines) await world.succeed(world.operation('backup', machine), where);
  await world.succeed(world.operation('collect', 'd0'), where);
  const packs = await world.application(async (api) => {
    const { ok, faults, leftovers } = await api.check({ readData: true });
    assert.deepEqual([ok, faults, leftovers], [true, [], []], where);
    for (const point of await api.points({})) await world.assertRestores(api, point, where);
    return (await api.status()).packs;
  });
  const root = world.at('repository');
  const files = (await filesBelow(root)).map((path) => path.slice(root.length + 1));
  const strange = files.filter(
    (path) =>
      !/^(config|keys\/\w+|keyset\/\d{4}|verified\/\w+|packs\/.*|index\/[0-9a-f]{32}-\d+|log\/\d{10}|sessions\/\w+\/(marker|outcome))$/.test(
        path,
      ),
  );
  assert.deepEqual(strange, [], `${where}: the repository's folder (${aged} temporary files were aged)`);
  assert.equal(files.filter((path) => path.startsWith('packs/')).length, packs, `${where}: packs`);
  const home = (await filesBelow(world.at('home'))).map((path) => path.slice(world.at('home').length + 1));
  // what was seen of the repository is remembered, nothing else
  const left = home.filter((path) => !/^(cache\/outcomes-\w+|repositories\/\w+\/head\.json)$/.test(path));
  assert.deepEqual(left, [], `${where}: the home`);
}

async function newWorld(t: TestContext): Promise<World> {
  const world = new World(await temporaryFolder(t), seededRandom(seed));
  await mkdir(world.at('home'), { mode: 0o700 });
  await world.application((api) => api.init({ chunkSize: 256 * KiB }));
  await world.makeDisks();
  for (const machine of machines) await world.succeed(world.operation('backup', machine), 'at first');
  for (const kind of kinds) {
    const operation = world.operation(kind, 'd0');
    await world.prepare(operation);
    const started = performance.now();
    await world.succeed(operation, 'at first');
    world.usual.set(kind, performance.now() - started);
  }
  return world;
}

test(`${rounds} times kill -9 of prima`, { timeout: 60_000 + rounds * 60_000 }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  const world = await newWorld(t);
  for (let index = 1; index <= rounds; index += 1) {
    const how = await round(world, `seed ${seed}, round ${index}`);
    if (process.env['PRIMA_CRASH_VERBOSE']) t.diagnostic(`${index}: ${how}`);
  }
  await assertTidy(world, `seed ${seed}, at last`);
  const { status, stdout } = await runPrima(['check', '--read-data', '--json', '--quiet'], {
    env: world.env,
  });
  assert.equal(status, 0, stdout);
  const { killed, ended, committed } = world.seen;
  t.diagnostic(
    `${rounds} rounds: ${killed} killed, ${ended} ended first, ${committed} had committed a point`,
  );
});
