/** What a check finds, names, records and has verified. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { faultyStore, filterStore, memoryStore, type ObjectStore } from '@prima/storage';
import { seededRandom } from '@prima/base';
import type { CheckReport, Repository } from '../contract.ts';
import type { Point } from '../point.ts';
import {
  backUp,
  bytesOf,
  chunk,
  cutShort,
  flipped,
  gone,
  keysOf,
  type Lab,
  newLab,
  randomDisk,
  reopened,
  replaceObject,
  restored,
  told,
} from '../damage/damage-fixture.ts';

/** Two points of one machine; the second has chunk 0 changed. Four chunks fill a data pack. */
async function twoPoints(): Promise<Lab & { points: Point[] }> {
  const lab = await newLab();
  const device = await randomDisk(6);
  const first = await backUp(lab.repository, device);
  await device.write(0, randomBytes(chunk));
  const changed = [{ offset: 0, length: chunk }];
  const second = await backUp(lab.repository, device, { changed, parent: first.point });
  return { ...lab, points: [first.point, second.point] };
}

async function copyOf(store: ObjectStore): Promise<ObjectStore> {
  const copy = memoryStore();
  for await (const { key } of store.list('')) await copy.putIfAbsent(key, await store.get(key));
  return copy;
}

/** The key of the object of which `pick` is true; with its number among those with the prefix. */
async function nth(store: ObjectStore, prefix: string, number: number): Promise<string> {
  const key = (await keysOf(store, prefix))[number];
  assert.ok(key, `there is a ${prefix}… ${number}`);
  return key;
}

/** What the loss of each data pack takes away. */
async function packsByContent(store: ObjectStore, points: Point[]) {
  const first: string[] = [];
  for (const key of await keysOf(store, 'packs/data/')) {
    const copy = await copyOf(store);
    await replaceObject(copy, key, gone);
    const report = await (await reopened(copy)).check({ readData: false, record: false });
    first.push(told(report, points).join(', '));
  }
  return first;
}

async function checked(store: ObjectStore, options: Partial<Parameters<Repository['check']>[0]> = {}) {
  return await (await reopened(store)).check({ readData: true, ...options });
}

interface Case {
  what: string;
  prefix: string;
  suffix?: string;
  change: (bytes: Uint8Array, store: ObjectStore) => Promise<Uint8Array | undefined> | Uint8Array | undefined;
  /** The kinds of faults, or what a leftover says, that a complete check reports; nothing: harmless. */
  kinds: string[] | RegExp | undefined;
}

const cases: Case[] = [
  { what: 'a bit of a data pack', prefix: 'packs/data/', change: flipped(100_000), kinds: ['damaged-pack'] },
  { what: 'a bit of a metadata pack', prefix: 'packs/meta/', change: flipped(90), kinds: ['damaged-pack'] },
  {
    what: "a bit of a pack's directory",
    prefix: 'packs/data/',
    change: (bytes) => flipped(bytes.length - 40)(bytes),
    kinds: /is damaged/,
  },
  { what: 'the end of a data pack', prefix: 'packs/data/', change: cutShort, kinds: ['damaged-pack'] },
  { what: 'the end of a metadata pack', prefix: 'packs/meta/', change: cutShort, kinds: ['damaged-pack'] },
  { what: 'a data pack', prefix: 'packs/data/', change: gone, kinds: ['missing-pack'] },
  { what: 'a metadata pack', prefix: 'packs/meta/', change: gone, kinds: ['missing-pack'] },
  {
    what: 'a data pack, replaced by an older one',
    prefix: 'packs/data/',
    change: async (_bytes, store) => store.get(await nth(store, 'packs/data/', 1)),
    kinds: ['damaged-pack'],
  },
  {
    what: 'a bit of an index segment',
    prefix: 'index/',
    change: flipped(90),
    kinds: ['damaged-segment', 'missing-chunk'],
  },
  { what: 'an index segment', prefix: 'index/', change: gone, kinds: ['missing-chunk'] },
  {
    what: 'a bit of an outcome',
    prefix: 'sessions/',
    suffix: '/outcome',
    change: flipped(90),
    kinds: ['damaged-outcome', 'damaged-segment', 'missing-chunk'],
  },
  {
    what: 'an outcome',
    prefix: 'sessions/',
    suffix: '/outcome',
    change: gone,
    kinds: ['missing-point', 'missing-chunk'],
  },
  {
    what: 'an outcome, replaced by another',
    prefix: 'sessions/',
    suffix: '/outcome',
    change: async (bytes, store) => {
      const outcomes = (await keysOf(store, 'sessions/')).filter((key) => key.endsWith('/outcome'));
      const all = await Promise.all(outcomes.map((key) => store.get(key)));
      return all.find((other) => Buffer.compare(other, bytes) !== 0);
    },
    kinds: ['damaged-outcome', 'damaged-segment', 'missing-chunk'],
  },
  { what: 'a bit of the log', prefix: 'log/', change: flipped(90), kinds: ['log-gap'] },
  { what: 'an entry of the log', prefix: 'log/', change: gone, kinds: ['log-gap'] },
  { what: 'a marker', prefix: 'sessions/', suffix: '/marker', change: gone, kinds: undefined },
  { what: 'a bit of a ledger', prefix: 'verified/', change: flipped(90), kinds: /never verified/ },
  { what: 'a ledger', prefix: 'verified/', change: gone, kinds: undefined },
];

test('damage to each kind of object is detected and named, and nothing is restored wrong', async (t) => {
  const { store, repository, points } = await twoPoints();
  await repository.check({ readData: true });
  const contents = await Promise.all(points.map((point) => restored(repository, point)));
  for (const { what, prefix, suffix = '', change, kinds } of cases) {
    await t.test(what, async () => {
      const damaged = await copyOf(store);
      const where = suffix === '/outcome' ? `${prefix}${points[0]?.id}` : prefix;
      const key = (await keysOf(damaged, where)).find((one) => one.endsWith(suffix)) ?? '';
      const bytes = await change(await store.get(key), damaged);
      await replaceObject(damaged, key, () => bytes);
      for (const [index, point] of points.entries()) {
        const opened = await reopened(damaged);
        const result = await restored(opened, point).catch((error: { code?: string }) => error);
        const isWhole = Buffer.isBuffer(result) && contents[index]?.equals(result);
        assert.ok(
          isWhole || (!Buffer.isBuffer(result) && ['integrity', 'not-found'].includes(result.code ?? '')),
          inspect(result),
        );
      }
      const report = await checked(damaged);
      const found = [...new Set(report.faults.map(({ kind }) => kind))];
      if (kinds instanceof RegExp) assert.match(report.leftovers.join('\n'), kinds);
      assert.deepEqual(found.sort(), Array.isArray(kinds) ? kinds.toSorted() : []);
      const isNamed = report.faults.every(({ message, object }) => message.length > 10 && object.length > 3);
      assert.ok(isNamed, JSON.stringify(report.faults));
    });
  }
});

test('a fault names points, disks and ranges', async () => {
  const { store, points } = await twoPoints();
  const lost = await packsByContent(store, points);
  assert.deepEqual(lost.toSorted(), [
    'missing-pack: 0 disk0 0+4, missing-pack: 1 disk0 1+3',
    'missing-pack: 0 disk0 4+2, missing-pack: 1 disk0 4+2',
    'missing-pack: 1 disk0 0+1',
  ]);
});

test('damage that was mended, or that nobody needs, is no fault but a leftover that collections remove', async () => {
  const { store, repository } = await newLab();
  const device = await randomDisk(4);
  const { point } = await backUp(repository, device);
  await replaceObject(store, await nth(store, 'packs/data/', 0), flipped(100_000));
  assert.equal((await checked(store)).faults.length, 1);
  await backUp(await reopened(store), device, { changed: [], parent: point });
  const mended = await checked(store);
  assert.deepEqual(mended.faults, []);
  assert.match(mended.leftovers.join(), /is damaged .* but no point needs what is lost/);
  await (await reopened(store)).collect({});
  const clean = await checked(store);
  assert.deepEqual([clean.faults, clean.leftovers, await keysOf(store, 'damaged/')], [[], [], []]);
});

test('a check records damage, reads recorded places again, and takes back what is wrong by now', async () => {
  const { store, points } = await twoPoints();
  const key = await nth(store, 'packs/data/', 0);
  const whole = await store.get(key);
  await replaceObject(store, key, flipped(100_000));
  await checked(store, { record: false });
  assert.deepEqual(await keysOf(store, 'damaged/'), []);
  assert.deepEqual((await checked(store, { readData: false })).faults, [], 'only reading finds it');
  const found = await checked(store);
  assert.deepEqual(
    found.faults.map(({ kind }) => kind),
    ['damaged-pack'],
  );
  assert.match(found.notes.join(), /recorded/);
  const lists = await keysOf(store, 'damaged/');
  assert.equal(lists.length, 1);
  const quick = await checked(store, { readData: false });
  assert.deepEqual(told(quick, points), told(found, points), 'known damage is looked at by every check');
  assert.deepEqual(await keysOf(store, 'damaged/'), lists, 'nothing new is nothing to write');
  await replaceObject(store, key, () => whole);
  assert.deepEqual((await checked(store, { readData: false })).faults, []);
  assert.deepEqual(await keysOf(store, 'damaged/'), []);
});

test('a check that may not write says so and finds the same', async () => {
  const { store } = await twoPoints();
  await replaceObject(store, await nth(store, 'packs/data/', 0), gone);
  const refuse = async () => Promise.reject(Object.assign(new Error('EACCES: no'), { code: 'EACCES' }));
  const readOnly = filterStore(store, { putIfAbsent: refuse, delete: refuse });
  const report = await checked(readOnly);
  assert.deepEqual(
    report.faults.map(({ kind }) => kind),
    ['missing-pack'],
  );
  assert.match(report.notes.join(), /could not be written down/);
});

test('with a budget, checks read one pack after the other and then begin with the oldest', async () => {
  const { store } = await twoPoints();
  const packs = (await keysOf(store, 'packs/')).length;
  const reports: CheckReport[] = [];
  for (let i = 0; i < packs; i += 1) reports.push(await checked(store, { readData: false, budgetBytes: 1 }));
  assert.deepEqual(
    reports.map(({ verification }) => verification.never),
    Array.from({ length: packs }, (_, i) => packs - 1 - i),
  );
  const last = reports.at(-1)?.verification;
  assert.ok(last?.oldest);
  assert.equal(last.within[0]?.packs, packs);
  for (let i = 0; i < 20; i += 1) await checked(store, { readData: false, budgetBytes: 1 });
  assert.ok((await keysOf(store, 'verified/')).length <= 17, 'the ledger is merged');
  assert.equal((await checked(store, { readData: false })).verification.never, 0);
});

test('a check of some points reads only what they reach', async () => {
  const { store, repository, points } = await twoPoints();
  const other = await backUp(repository, await randomDisk(4), { machine: 'other' });
  const part = await checked(store, { points: [other.point.id] });
  const all = await checked(store);
  assert.equal(part.points, 1);
  assert.ok(part.bytesRead < all.bytesRead / 2 && part.bytesRead > 4 * chunk);
  const key = await nth(store, 'packs/data/', 0);
  await replaceObject(store, key, gone);
  const [own, others] = [
    await checked(store, { points: [other.point.id], readData: false }),
    await checked(store, { points: points.map(({ id }) => id), readData: false }),
  ];
  const affected = [...own.faults, ...others.faults].flatMap((fault) => fault.affected);
  assert.ok(affected.length > 0);
});

test('what cannot be reached is a fault but no damage; a first wrong read is neither', async () => {
  const { store } = await twoPoints();
  const away = faultyStore(store, {
    random: seededRandom(1),
    faultAt: ({ operation, key }) =>
      operation === 'get' && key.startsWith('packs/data') ? 'fail' : undefined,
  });
  const report = await checked(away);
  assert.deepEqual([...new Set(report.faults.map(({ kind }) => kind))], ['unreadable-pack']);
  const seen = new Set<string>();
  const once = faultyStore(store, {
    random: seededRandom(1),
    faultAt: ({ operation, key }) => {
      if (operation !== 'get' || !key.startsWith('packs/data') || seen.has(key)) return undefined;
      seen.add(key);
      return 'flipped';
    },
  });
  const flaky = await checked(once);
  assert.deepEqual(flaky.faults, []);
  assert.match(flaky.notes.join(), /read wrong once/);
  assert.deepEqual(await keysOf(store, 'damaged/'), []);
});

test('the index is rebuilt from the packs: one segment, a damaged one, all of them', async () => {
  const { store, repository, points } = await twoPoints();
  const contents = await Promise.all(points.map((point) => restored(repository, point)));
  const segments = await keysOf(store, 'index/');
  const losses = [
    [{ key: segments[0], change: gone }],
    [{ key: segments[0], change: flipped(200) }],
    segments.map((key) => ({ key, change: gone })),
  ];
  for (const loss of losses) {
    const damaged = await copyOf(store);
    for (const { key = '', change } of loss) await replaceObject(damaged, key, change);
    const found = await checked(damaged);
    assert.ok(found.faults.some(({ kind }) => kind === 'missing-chunk'));
    const opened = await reopened(damaged);
    const before = await keysOf(damaged, 'packs/');
    const collecting = opened.collect({ maxDeleteShare: 1 }).catch((error: { code?: string }) => error.code);
    const collected = await collecting;
    assert.ok(typeof collected === 'object' || collected === 'integrity', inspect(collected));
    assert.deepEqual(
      await keysOf(damaged, 'packs/'),
      before,
      'a collection deletes nothing that may be needed',
    );
    const rebuilt = await checked(damaged, { rebuildIndex: true });
    assert.deepEqual(rebuilt.faults, []);
    assert.match(rebuilt.notes.join(), /was rebuilt/);
    const again = await reopened(damaged);
    await again.collect({});
    for (const [index, point] of points.entries()) {
      assert.ok((await restored(again, point)).equals(contents[index] ?? Buffer.alloc(0)));
    }
    assert.deepEqual((await checked(damaged)).faults, []);
  }
});

test('the index is not rebuilt while a backup runs', async () => {
  const { store, repository } = await twoPoints();
  const session = await repository.beginBackup();
  await assert.rejects(checked(store, { rebuildIndex: true }), { code: 'busy' });
  await session.abort('test');
  assert.deepEqual((await checked(store, { rebuildIndex: true })).faults, []);
});

test('after a lost outcome and a lost segment the next backup is whole', async () => {
  const { store, points } = await twoPoints();
  const device = await (await reopened(store)).openDisk(points[1], 'disk0');
  const bytes = await bytesOf(device);
  await device.close();
  await replaceObject(store, await nth(store, 'index/', 0), flipped(200));
  const fresh = await reopened(store);
  const source = await randomDisk(6, []);
  await source.write(0, bytes);
  const { point } = await backUp(fresh, source, { changed: [], parent: points[1] });
  assert.ok((await restored(await reopened(store), point)).equals(bytes));
});
