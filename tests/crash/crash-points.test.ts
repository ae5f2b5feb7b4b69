/**
 * Every moment at which a writer can die: the changes that backups, forgetting and a collection make to a store
 * are recorded, and each beginning of that record is taken for what a crash left. Nothing that was committed may
 * be lost, and one collection has to remove what the dead left.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Clock, KiB, MiB, seededRandom, systemClock } from '@prima/base';
import { memoryDevice, type WritableDevice } from '@prima/block';
import { createRepository, openRepository, type Point, type Repository } from '@prima/repository';
import type { ObjectStore } from '@prima/storage';
import { type Change, recordingStore } from './recording-store.ts';

const secret = { kind: 'passphrase', text: 'correct horse' } as const;
const kdfCost = { memoryKiB: 8192, passes: 1, lanes: 1 };
const small = { chunkSize: 256 * KiB, workers: 1, packBytes: MiB };
const size = 4 * MiB;

/** Days on, a session without a sign of life is given up on, although its process (ours) is alive. */
const after = (days: number): Clock => ({ ...systemClock, now: () => Date.now() + days * 25 * 3_600_000 });

const seed = Number(process.env['PRIMA_SEED'] ?? Date.now() % 1e6);
const random = seededRandom(seed);

/** A point, and the changes of the record between which its fate is open. */
interface Expected {
  content: Buffer;
  /** It may be there from here on, and is there for certain from `committed` to `forgetting`. */
  begun: number;
  committed: number;
  forgetting: number;
  /** From here on it is not there. */
  forgotten: number;
}

interface Story {
  changes: Change[];
  points: Map<string, Expected>;
}

async function contentOf(device: WritableDevice): Promise<Buffer> {
  const bytes = Buffer.alloc(device.size);
  await device.read(0, bytes);
  return bytes;
}

async function backUp(repository: Repository, device: WritableDevice, parent?: Point): Promise<Point> {
  const session = await repository.beginBackup();
  const changed = parent ? [{ offset: 0, length: size / 2 }] : undefined;
  const root = parent?.disks[0]?.root;
  const base = parent && root && { point: parent.id, root };
  const result = await session.writeDisk({ name: 'disk0', device, changed, parent: base, sampleChunks: 0 });
  const file = await session.writeFile('m.vmx', Buffer.from(`n = "${random.uint32()}"\n`));
  const time = new Date().toISOString();
  return session.commit({
    machine: { id: 'm', name: 'm' },
    time,
    started: time,
    finished: time,
    mode: 'cold',
    quiesced: false,
    disks: [{ name: 'disk0', size, changed: parent ? 'tracked' : 'all', ...result }],
    skipped: [],
    files: [file],
    tags: [],
    notes: [],
    warnings: [],
  });
}

/** Overwrites chunks of the disk's first half. */
async function scribble(device: WritableDevice): Promise<void> {
  for (let chunk = 0; chunk < 8; chunk += 1) {
    if (chunk % 4 === 0) continue;
    await device.write(chunk * 256 * KiB, random.bytes(new Uint8Array(256 * KiB)));
  }
}

/** Backups, one that is aborted, forgotten points, a collection that rewrites packs, and a backup after it. */
async function tell(): Promise<Story> {
  const { store, changes } = await recordingStore();
  const repository = await createRepository(store, { secret, ...small, kdfCost });
  const points: Story['points'] = new Map();
  const device = memoryDevice(size);
  await device.write(0, random.bytes(new Uint8Array(3 * MiB)));
  const add = async (parent?: Point): Promise<Point> => {
    const begun = changes.length;
    const point = await backUp(repository, device, parent);
    const never = { forgetting: Infinity, forgotten: Infinity };
    points.set(point.id, { content: await contentOf(device), begun, committed: changes.length, ...never });
    return point;
  };
  const forget = async ({ id }: Point, point: Point) => {
    const expected = points.get(id);
    assert.ok(expected);
    expected.forgetting = changes.length;
    await repository.forget(point);
    expected.forgotten = changes.length;
  };
  const first = await add();
  await scribble(device);
  const second = await add(first);
  await scribble(device);
  const third = await add(second);
  await scribble(device);
  const aborted = await repository.beginBackup();
  await aborted.writeDisk({ name: 'disk0', device });
  await aborted.abort('test');
  await forget(first, first);
  await forget(second, second);
  const { packsRewritten, packsDeleted } = await repository.collect({});
  assert.ok(packsRewritten > 0 && packsDeleted > 0, 'the collection has something to do');
  await scribble(device);
  await add(third);
  await repository.close();
  return { changes, points };
}

function contentIn({ points }: Story, { id }: Point): Buffer {
  return points.get(id)?.content ?? assert.fail(`point ${id} was never begun`);
}

async function assertRestores(repository: Repository, point: Point, content: Buffer, where: string) {
  const device = await repository.openDisk(point, 'disk0');
  try {
    const bytes = Buffer.alloc(size);
    await device.read(0, bytes);
    assert.ok(bytes.equals(content), `${where}: point ${point.id} comes back as it was`);
  } finally {
    await device.close();
  }
  assert.ok((await repository.readFile(point, 'm.vmx')).length > 0, where);
}

/** The points that are there are those that have to be, and restore; nothing is damaged. */
async function assertSound(
  repository: Repository,
  story: Story,
  { at, where }: { at: number; where: string },
): Promise<Point[]> {
  const { faults } = await repository.check({ readData: true });
  assert.deepEqual(faults, [], where);
  const points = await repository.points();
  const ids = new Set(points.map(({ id }) => id));
  for (const [id, { committed, forgetting }] of story.points) {
    if (committed <= at && at <= forgetting) assert.ok(ids.has(id), `${where}: ${id} is still there`);
  }
  for (const point of points) {
    const expected = story.points.get(point.id);
    assert.ok(expected, `${where}: ${point.id} was never begun`);
    assert.ok(expected.begun <= at && at < expected.forgotten, `${where}: ${point.id} is there at its time`);
    await assertRestores(repository, point, expected.content, where);
  }
  return points;
}

/** A collection has left only what the points need. */
async function assertTidy(store: ObjectStore, repository: Repository, where: string): Promise<void> {
  const { faults, leftovers } = await repository.check({ readData: true });
  assert.deepEqual([faults, leftovers], [[], []], where);
  const packs: string[] = [];
  const bySession = new Map<string, string[]>();
  for await (const { key } of store.list('')) {
    if (key.startsWith('packs/')) packs.push(key);
    assert.ok(!key.startsWith('condemned/'), `${where}: ${key} is left`);
    const [, session, part] = /^sessions\/([0-9a-f]+)\/(.*)$/.exec(key) ?? [];
    if (session !== undefined && part !== undefined)
      bySession.set(session, [...(bySession.get(session) ?? []), part]);
  }
  assert.equal(packs.length, (await repository.status()).packs, `${where}: no pack without an index entry`);
  for (const [session, parts] of bySession) {
    assert.ok(
      parts.includes('outcome'),
      `${where}: session ${session} is decided, it has ${parts.join(', ')}`,
    );
    assert.ok(!parts.includes('forgotten'), `${where}: session ${session} is forgotten and still there`);
  }
}

/** What whoever comes after the crash finds, does, and leaves. */
async function recover(
  changes: readonly Change[],
  story: Story,
  { at, where, days }: { at: number; where: string; days: number },
): Promise<Change[]> {
  const { store, changes: recorded } = await recordingStore(changes);
  const repository = await openRepository(store, secret, { ...small, clock: after(days) });
  try {
    const points = await assertSound(repository, story, { at, where });
    await repository.collect({ maxDeleteShare: 1, waitMs: 0 });
    assert.deepEqual(await repository.points(), points, `${where}: a collection changes no point`);
    for (const point of points) await assertRestores(repository, point, contentIn(story, point), where);
    await assertTidy(store, repository, `${where}, collected`);
  } finally {
    await repository.close();
  }
  return recorded;
}

const words = ({ key, body }: Change): string => `${body ? 'put' : 'delete'} ${key}`;

test('a writer that dies at any change loses nothing, and one collection tidies up', async (t) => {
  t.diagnostic(`seed ${seed}`);
  const story = await tell();
  const created = story.changes.findIndex(({ key }) => key === 'config') + 1;
  let second = 0;
  for (let at = created; at <= story.changes.length; at += 1) {
    const last = story.changes[at - 1];
    const where = `seed ${seed}, crash after change ${at} (${last ? words(last) : ''})`;
    const recorded = await recover(story.changes.slice(0, at), story, { at, where, days: 1 });
    // the collection that tidies up may die, too: one moment of every third is tried
    if (at % 3 !== seed % 3) continue;
    const again = at + random.below(recorded.length - at + 1);
    const dying = recorded[again];
    const then = `${where}, then the collection before ${dying ? words(dying) : ''}`;
    await recover(recorded.slice(0, again), story, { at, where: then, days: 2 });
    second += 1;
  }
  t.diagnostic(`${story.changes.length - created + 1} crashes, ${second} of them twice`);
});

test('a backup after a crash shares nothing that is not there to stay', async (t) => {
  t.diagnostic(`seed ${seed}`);
  const story = await tell();
  const created = story.changes.findIndex(({ key }) => key === 'config') + 1;
  for (let at = created + random.below(4); at <= story.changes.length; at += 2 + random.below(6)) {
    const where = `seed ${seed}, crash after change ${at}`;
    const { store } = await recordingStore(story.changes.slice(0, at));
    const repository = await openRepository(store, secret, { ...small, clock: after(1) });
    const device = memoryDevice(size);
    // the content of a point of the story, so that there is something to share
    const contents = [...story.points.values()].map(({ content }) => content);
    await device.write(0, contents[random.below(contents.length)] ?? Buffer.alloc(0));
    const point = await backUp(repository, device);
    const before = await contentOf(device);
    await assertRestores(repository, point, before, where);
    await repository.collect({ maxDeleteShare: 1, waitMs: 0 });
    await assertRestores(repository, point, before, `${where}, collected`);
    await assertTidy(store, repository, where);
    await repository.close();
  }
});
