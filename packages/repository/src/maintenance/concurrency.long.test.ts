/** Collections and checks beside backups and other collections, at the moments at which they could mistake each other. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { KiB, MiB } from '@prima/base';
import { memoryDevice } from '@prima/block';
import { memoryStore, type ObjectStore } from '@prima/storage';
import type { Repository } from '../contract.ts';
import type { Point } from '../point.ts';
import { createRepository, openRepository } from '../repository.ts';

const secret = { kind: 'passphrase', text: 'correct horse' } as const;
const small = { chunkSize: 256 * KiB, workers: 1, packBytes: MiB };

async function fresh(): Promise<{ store: ObjectStore; repository: Repository }> {
  const store = memoryStore();
  const kdfCost = { memoryKiB: 8192, passes: 1, lanes: 1 };
  return { store, repository: await createRepository(store, { secret, ...small, kdfCost }) };
}

async function backUp(repository: Repository, bytes: Uint8Array = randomBytes(MiB)): Promise<Point> {
  const device = memoryDevice(bytes.length);
  await device.write(0, bytes);
  const session = await repository.beginBackup();
  const result = await session.writeDisk({ name: 'disk0', device });
  const time = new Date().toISOString();
  return session.commit({
    machine: { id: 'm', name: 'm' },
    time,
    started: time,
    finished: time,
    mode: 'cold',
    quiesced: false,
    disks: [{ name: 'disk0', size: bytes.length, changed: 'all', ...result }],
    skipped: [],
    files: [],
    tags: [],
    notes: [],
    warnings: [],
  });
}

/** `store`, with `hook` run once, before the first call that `matches`. */
function hooked(
  store: ObjectStore,
  matches: (operation: 'list' | 'put' | 'delete', key: string) => boolean,
  hook: () => Promise<unknown>,
): ObjectStore {
  let isDone = false;
  const before = async (operation: 'list' | 'put' | 'delete', key: string) => {
    if (isDone || !matches(operation, key)) return;
    isDone = true;
    await hook();
  };
  return {
    url: store.url,
    get: (key, range, options) => store.get(key, range, options),
    stat: (key, options) => store.stat(key, options),
    close: () => store.close(),
    putIfAbsent: async (key, body, options) => {
      await before('put', key);
      return store.putIfAbsent(key, body, options);
    },
    delete: async (key, options) => {
      await before('delete', key);
      await store.delete(key, options);
    },
    list: async function* (prefix, options) {
      await before('list', prefix);
      yield* store.list(prefix, options);
    },
  };
}

async function keys(store: ObjectStore, prefix: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of store.list(prefix)) found.push(key);
  return found;
}

for (const prefix of ['log/', 'sessions/', 'index/', 'packs/']) {
  test(`a backup that ends while ${prefix} is about to be listed is no fault and no missing point`, async () => {
    const { store, repository } = await fresh();
    await backUp(repository);
    const between = () =>
      hooked(
        store,
        (operation, key) => operation === 'list' && key === prefix,
        () => backUp(repository),
      );
    const checking = await openRepository(between(), secret, small);
    assert.deepEqual((await checking.check({ readData: true })).faults, []);
    const collecting = await openRepository(between(), secret, small);
    await collecting.collect({});
    assert.equal((await repository.points()).length, 3);
    assert.deepEqual((await repository.check({ readData: true })).faults, []);
  });

  test(`a collection that runs while ${prefix} is about to be listed makes no fault`, async () => {
    const { store, repository } = await fresh();
    const shared = randomBytes(MiB / 4);
    const first = await backUp(repository, Buffer.concat([shared, randomBytes(MiB)]));
    await backUp(repository, Buffer.concat([shared, randomBytes(MiB)]));
    await repository.collect({});
    await repository.forget(first);
    const checking = await openRepository(
      hooked(
        store,
        (operation, key) => operation === 'list' && key === prefix,
        () => repository.collect({ maxDeleteShare: 1 }),
      ),
      secret,
      small,
    );
    assert.deepEqual((await checking.check({ readData: true })).faults, []);
  });
}

test('a collection leaves alone the condemned list of one that began meanwhile', async () => {
  const { store, repository } = await fresh();
  const [first, second] = [await backUp(repository), await backUp(repository)];
  await backUp(repository);
  await repository.forget(first);
  const [condemned, resume] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let later: Promise<unknown> | undefined;
  const startLater = async () => {
    await repository.forget(second);
    // it stops after its list was stored, before its second look
    const isWaiting = (operation: string, key: string) =>
      operation === 'list' && key === 'sessions/' && isListed;
    let isListed = false;
    const paused = hooked(store, isWaiting, async () => {
      condemned.resolve();
      await resume.promise;
    });
    const watched: ObjectStore = {
      ...paused,
      putIfAbsent: async (key, body) => {
        const result = await paused.putIfAbsent(key, body);
        isListed ||= key.startsWith('condemned/');
        return result;
      },
    };
    const other = await openRepository(watched, secret, small);
    later = other.collect({ maxDeleteShare: 1 });
    await condemned.promise;
  };
  const isDeleting = (operation: string, key: string) => operation === 'delete' && key.startsWith('packs/');
  const earlier = await openRepository(hooked(store, isDeleting, startLater), secret, small);
  await earlier.collect({ maxDeleteShare: 1 });
  assert.equal((await keys(store, 'condemned/')).length, 1, 'that of the later one');
  resume.resolve();
  await later;
  assert.deepEqual(await keys(store, 'condemned/'), []);
  assert.deepEqual((await repository.check({ readData: true })).faults, []);
  assert.equal((await repository.points()).length, 1);
});

test('what a collection supersedes counts no more once it has committed, though nothing of it is left', async () => {
  const { store, repository } = await fresh();
  const bytes = randomBytes(MiB);
  const old = await backUp(repository, bytes);
  await repository.forget(old);
  let found: string[] | undefined;
  const isDeleting = (operation: string, key: string) => operation === 'delete' && key.startsWith('index/');
  const slow = hooked(store, isDeleting, async () => {
    const other = await openRepository(store, secret, small);
    found = (await other.check({ readData: false })).leftovers.filter((text) => text.includes('packs/'));
  });
  await (await openRepository(slow, secret, small)).collect({ maxDeleteShare: 1 });
  assert.ok(
    found && found.length > 0,
    'its packs belonged to no segment that counts before they were deleted',
  );
  const empty = await keys(store, 'index/');
  assert.equal(empty.length, 1);
  await repository.collect({ maxDeleteShare: 1 });
  assert.deepEqual(await keys(store, 'index/'), empty, 'an idle collection leaves it alone');
  await repository.forget(await backUp(repository, bytes));
  await repository.collect({ maxDeleteShare: 1 });
  const next = await keys(store, 'index/');
  assert.ok(next.length === 1 && next[0] !== empty[0], 'the next one that has something to do replaces it');
});

/** `store` for somebody who is killed when it has made so many deletions: nothing that it does afterwards is done. */
function mortal(store: ObjectStore, deletions: number): ObjectStore {
  let left = deletions;
  const alive = async <T>(call: () => Promise<T>): Promise<T> => {
    if (left < 0) throw new Error('killed');
    return await call();
  };
  return {
    ...hooked(
      store,
      () => false,
      async () => undefined,
    ),
    delete: async (key) => {
      left -= 1;
      await alive(() => store.delete(key));
    },
    putIfAbsent: (key, body) => alive(() => store.putIfAbsent(key, body)),
  };
}

test('whenever two collections die one after the other, the third leaves nothing of them', async () => {
  let deaths = 0;
  for (let deletions = 0, isOver = false; !isOver; deletions += 1) {
    const { store, repository } = await fresh();
    const [first, second] = [await backUp(repository), await backUp(repository)];
    await backUp(repository);
    const dying = async (count: number) => {
      const collecting = await openRepository(mortal(store, count), secret, small);
      return await collecting.collect({ maxDeleteShare: 1 }).catch(() => undefined);
    };
    await repository.forget(first);
    assert.equal(await dying(1), undefined);
    await repository.forget(second);
    isOver = (await dying(deletions)) !== undefined;
    if (!isOver) deaths += 1;
    await repository.collect({ maxDeleteShare: 1 });
    assert.deepEqual(await keys(store, 'condemned/'), [], `the second died at deletion ${deletions}`);
    assert.deepEqual((await repository.check({ readData: true })).faults, []);
    assert.equal((await repository.points()).length, 1);
  }
  assert.ok(deaths >= 8, `it died ${deaths} times`);
});
