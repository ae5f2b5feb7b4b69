/** Damage to the log and to outcomes: found, shown, repaired; then collections work, and what is whole comes back. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PrimaError } from '@prima/base';
import { filterStore, memoryStore, type ObjectStore } from '@prima/storage';
import { putRecord } from '../context.ts';
import type { CheckReport, Trust } from '../contract.ts';
import { blobType } from '../format/blob.ts';
import {
  backup,
  content,
  contextOf,
  fresh,
  keysOf,
  memoryTrust,
  open,
  replace,
  secret,
} from '../keys-fixture.ts';

type Saved = Awaited<ReturnType<typeof backup>>;

interface Bench {
  store: ObjectStore;
  trust: Trust & { heads: Map<string, unknown> };
  points: Saved[];
}

/** Five points, of which the second is forgotten and collected; the log has six entries. */
async function bench(): Promise<Bench> {
  const trust = memoryTrust();
  const { store, repository } = await fresh(trust);
  const points: Saved[] = [];
  for (let i = 0; i < 3; i += 1) points.push(await backup(repository));
  const [, second] = points;
  assert.ok(second);
  await repository.forget(second.point);
  await repository.collect({ maxDeleteShare: 1 });
  for (let i = 0; i < 2; i += 1) points.push(await backup(repository));
  points.splice(1, 1);
  return { store, trust, points };
}

const log = (seq: number) => `log/000000000${seq}`;

const damages: Record<string, (bytes: Uint8Array) => Uint8Array | undefined> = {
  flipped: (bytes) => Buffer.from(bytes).fill((bytes[100] ?? 0) ^ 1, 100, 101),
  truncated: (bytes) => bytes.subarray(0, bytes.length >> 1),
  empty: () => new Uint8Array(0),
  deleted: () => undefined,
};

async function damage(store: ObjectStore, key: string, how: string): Promise<void> {
  const bytes = damages[how]?.(await store.get(key));
  if (bytes) await replace(store, key, bytes);
  else await store.delete(key);
}

const kindsOf = ({ faults }: CheckReport) => faults.map(({ kind }) => kind);

/** A collection works, a check is clean, and exactly `saved` are there, byte for byte. */
async function assertSound(store: ObjectStore, saved: readonly Saved[], trust?: Trust): Promise<void> {
  const { repository, warnings } = await open(store, trust && { trust });
  await repository.collect({ maxDeleteShare: 1 });
  assert.deepEqual((await repository.check({ readData: true })).faults, []);
  const there = (await repository.points()).map(({ id }) => id).sort();
  assert.deepEqual(there, saved.map(({ point }) => point.id).sort());
  for (const { point, bytes } of saved) assert.ok((await content(repository, point)).equals(bytes));
  assert.deepEqual(warnings, []);
  const more = await backup(repository);
  assert.deepEqual(more.point.warnings, []);
  await repository.forget(more.point);
}

for (const how of Object.keys(damages)) {
  for (const seqs of [[1], [2], [3], [4], [5], [3, 4], [2, 4], [1, 2, 3, 4, 5], [6], [5, 6]]) {
    const isCut = how === 'deleted' && seqs.includes(6);
    if (isCut) continue; // a rollback: see root-log.long.test.ts
    test(`log entries ${seqs.join()} ${how}`, async () => {
      const { store, trust, points } = await bench();
      for (const seq of seqs) await damage(store, log(seq), how);
      const { repository: opened } = await open(store, { trust });
      await assert.rejects(opened.collect({}), { code: 'integrity', message: /prima repair|not|open|bytes/ });
      const found = await opened.check({ readData: false, record: false });
      assert.deepEqual([...new Set(kindsOf(found))], ['log-gap']);
      assert.match(found.faults[0]?.message ?? '', /prima repair/);

      const before = await keysOf(store, '');
      const plan = await opened.repair({});
      assert.deepEqual([...new Set(plan.steps.map(({ remedy }) => remedy))], ['acknowledged']);
      assert.deepEqual(
        plan.steps.map(({ object }) => object),
        seqs.map(log),
      );
      assert.equal(plan.unknownPoints, 0);
      assert.deepEqual(await keysOf(store, ''), before, 'a plan writes nothing');
      const done = await opened.repair({ apply: true });
      assert.deepEqual(done.steps, plan.steps);
      const after = new Set(await keysOf(store, ''));
      assert.ok(
        before.every((key) => after.has(key)),
        'nothing is deleted',
      );
      assert.deepEqual((await opened.repair({ apply: true })).steps, [], 'once is enough');
      const checked = await opened.check({ readData: true });
      assert.deepEqual(checked.faults, []);
      assert.match(checked.notes.join(), /a repair stands for/);
      await assertSound(store, points, trust);
      await assertSound(store, points); // who has seen nothing
    });
  }
}

const outcomeOf = ({ point }: Saved) => `sessions/${point.id}/outcome`;

async function copyOf(store: ObjectStore): Promise<ObjectStore> {
  const copy = memoryStore();
  for (const key of await keysOf(store, '')) await copy.putIfAbsent(key, await store.get(key));
  return copy;
}

for (const how of Object.keys(damages)) {
  test(`an outcome ${how} that nobody knows: given up, its data kept for a while`, async () => {
    const { store, trust, points } = await bench();
    const whole = await copyOf(store);
    const [first, victim, ...rest] = points;
    assert.ok(first && victim);
    await damage(store, outcomeOf(victim), how);
    const { repository } = await open(store, { trust });
    await assert.rejects(repository.collect({}), { code: /integrity|refused|busy/ });
    const [fault] = (await repository.check({ readData: false, record: false })).faults;
    assert.ok(fault && fault.object === outcomeOf(victim), JSON.stringify(fault));
    assert.match(fault.message, /prima repair/);
    const done = await repository.repair({ apply: true });
    assert.deepEqual(
      done.steps.map(({ object, remedy, point }) => [object, remedy, point?.id]),
      [[outcomeOf(victim), 'given-up', victim.point.id]],
    );
    assert.ok(done.keptUntil);
    const packs = await keysOf(store, 'packs/');
    const checked = await repository.check({ readData: true });
    assert.deepEqual(checked.faults, []);
    assert.match(
      checked.notes.join(),
      new RegExp(`session ${victim.point.id} .* was given up .* is kept until`),
    );
    const report = await repository.collect({ maxDeleteShare: 1 });
    assert.match(report.notes.join(), /nothing that any backup stored is freed until/);
    await assertSound(store, [first, ...rest], trust);
    const left = new Set(await keysOf(store, 'packs/'));
    assert.ok(packs.every((key) => left.has(key)));

    // the object turns up in a copy of the storage
    const again = await repository.repair({ apply: true, copies: [whole] });
    assert.deepEqual(
      again.steps.map(({ remedy }) => remedy),
      ['restored'],
    );
    await assertSound(store, points, trust);
    await assertSound(store, points);
  });

  test(`an outcome ${how} that this computer knows: as it was`, async () => {
    const { store, trust, points } = await bench();
    const [first, victim] = points;
    assert.ok(first && victim);
    const { repository } = await open(store, { trust });
    await repository.points();
    await damage(store, outcomeOf(victim), how);
    const plan = await repository.repair({});
    assert.deepEqual(
      plan.steps.map(({ remedy, point }) => [remedy, point?.time]),
      [['restored', victim.point.time]],
    );
    await repository.repair({ apply: true });
    assert.deepEqual((await repository.repair({})).steps, []);
    await assertSound(store, points, trust);
    await assertSound(store, points);
    const late = await open(store);
    const there = (await late.repository.points()).find(({ id }) => id === victim.point.id);
    assert.deepEqual(there, victim.point);
    await late.repository.forget(victim.point);
    await late.repository.collect({ maxDeleteShare: 1 });
    assert.deepEqual(await keysOf(store, `sessions/${victim.point.id}/`), []);
  });
}

test('what was given up is freed when its time is over, or when somebody says so', async () => {
  const { store, trust, points } = await bench();
  const [victim, ...rest] = points;
  assert.ok(victim);
  for (const key of await keysOf(store, `sessions/${victim.point.id}/`)) await store.delete(key);
  const { repository } = await open(store, { trust });
  await repository.repair({ apply: true });
  const { size } = new Set(await keysOf(store, 'packs/'));
  const released = await repository.repair({ apply: true, keepMs: 0 });
  assert.deepEqual(
    released.steps.map(({ remedy }) => remedy),
    ['released'],
  );
  await assertSound(store, rest, trust);
  await repository.collect({ maxDeleteShare: 1 });
  assert.ok((await keysOf(store, 'packs/')).length < size);
  assert.deepEqual((await repository.check({ readData: true })).faults, []);
});

test('entries that are missing come back from a copy; of those that are damaged it tells what they said', async () => {
  const { store, trust, points } = await bench();
  const whole = await copyOf(store);
  const [, victim] = points; // logged by entry 3
  assert.ok(victim);
  await damage(store, log(2), 'deleted');
  await damage(store, log(3), 'flipped');
  for (const key of await keysOf(store, `sessions/${victim.point.id}/`)) await store.delete(key);
  const { repository } = await open(store, { trust });
  const alone = await repository.repair({});
  assert.deepEqual([alone.unknownPoints, alone.steps.length], [1, 2]);
  const plan = await repository.repair({ copies: [whole] });
  assert.equal(plan.unknownPoints, 0);
  assert.deepEqual(
    plan.steps.map(({ object, remedy }) => [object, remedy]),
    [
      [log(2), 'restored'],
      [log(3), 'acknowledged'],
      [outcomeOf(victim), 'restored'],
    ],
  );
  await repository.repair({ apply: true, copies: [whole] });
  assert.deepEqual(await store.get(log(2)), await whole.get(log(2)));
  await assertSound(store, points, trust);
});

test('outcomes that are no points: of a collection, a fence, a checkpoint', async () => {
  const { store, trust, points } = await bench();
  const outcomes = (await keysOf(store, 'sessions/')).filter((key) => key.endsWith('/outcome'));
  const own = new Set(points.map(outcomeOf));
  const others = outcomes.filter((key) => !own.has(key));
  const { repository } = await open(store, { trust });
  const dead = await repository.beginBackup();
  await dead.abort('for a test');
  others.push(`sessions/${dead.id}/outcome`);
  assert.ok(others.length >= 1);
  for (const key of others) await damage(store, key, 'flipped');
  const { repository: opened } = await open(store, { trust });
  await assert.rejects(opened.collect({}), { code: 'integrity' });
  const { steps } = await opened.repair({ apply: true });
  assert.deepEqual(steps.map(({ object }) => object).sort(), others.sort());
  assert.ok(steps.length > 0);
  await assertSound(store, points, trust);
});

test('another computer believes a repair that the log proves, and no other', async () => {
  const { store, trust, points } = await bench();
  const context = await contextOf(store, secret);
  const { slots } = await context.log.survey();
  const seenAt = (seq: number): Trust => {
    const slot = slots[seq - 1];
    assert.ok(slot && 'entry' in slot);
    const other = memoryTrust();
    void other.save(context.id, { keySet: 1, seq, digest: slot.digest, signer: slot.signer });
    return other;
  };
  const [inside, end] = [seenAt(2), seenAt(3)];
  for (const seq of [2, 3]) await damage(store, log(seq), 'flipped');
  const { repository } = await open(store, { trust });
  await repository.repair({ apply: true });
  await assertSound(store, points, end);
  const doubtful = await open(store, { trust: inside });
  await doubtful.repository.points();
  assert.match(
    doubtful.warnings.join(),
    /entry 2 of the log, .* is lost; a repair stands for it, but nothing tells/,
  );
  await assert.rejects(doubtful.repository.collect({}), { code: 'refused', message: /--accept-head/ });
  await doubtful.repository.check({ readData: false, acceptHead: true });
  await assertSound(store, points, inside);
});

test('a repair makes good no other damage, and hides no rollback', async () => {
  const { store, trust } = await bench();
  await damage(store, log(3), 'flipped');
  const { repository } = await open(store, { trust });
  await repository.repair({ apply: true });
  const seenAll = memoryTrust();
  const { repository: other } = await open(store, { trust: seenAll });
  await other.points();
  const repaired = await store.get(log(7));
  for (const [key, bytes] of [
    [log(2), undefined],
    [log(4), Buffer.from(await store.get(log(4))).fill(9, 100, 101)],
    [log(4), await store.get(log(5))],
    [log(6), undefined],
    [log(8), repaired],
  ] as const) {
    const whole = key === log(8) ? undefined : await store.get(key);
    await store.delete(key);
    if (bytes) await store.putIfAbsent(key, bytes);
    const { repository: opened } = await open(store);
    assert.deepEqual(kindsOf(await opened.check({ readData: false, record: false })), ['log-gap'], key);
    await store.delete(key);
    if (whole) await store.putIfAbsent(key, whole);
  }
  await store.delete(log(7));
  const { repository: cut } = await open(store, { trust: seenAll });
  await assert.rejects(cut.repair({ apply: true }), {
    code: 'refused',
    message: /log had 7 entries .* now it has 6/,
  });
  await store.putIfAbsent(log(7), repaired);
  await open(store, { trust: seenAll }).then(async ({ repository: opened }) => {
    assert.deepEqual(kindsOf(await opened.check({ readData: false })), []);
  });
});

test('who can only read cannot repair, nor make others believe in a repair', async () => {
  const { store, trust, points } = await bench();
  const reading = { kind: 'keyfile', bytes: Buffer.from('only for reading, 32 bytes long…') } as const;
  const { repository } = await open(store, { trust });
  await repository.addKeySlot(reading, 'auditor', { readOnly: true });
  await damage(store, log(6), 'flipped');
  const { repository: auditor } = await open(store, { with: reading });
  assert.equal((await auditor.repair({})).steps.length, 1);
  await assert.rejects(auditor.repair({ apply: true }), { code: 'refused', message: /may only read/ });
  const context = await contextOf(store, reading);
  const lost = { from: 1, seq: 6, previous: '0'.repeat(64), digest: '0'.repeat(64), points: 0, signer: '' };
  const forged = { seq: 7, previous: lost.digest, points: 0, event: 'repaired', lost: [lost], roots: [] };
  await putRecord(context, log(7), blobType.logEntry, { ...forged, signature: 'ab'.repeat(64) });
  const { repository: opened } = await open(store, { trust });
  await assert.rejects(opened.collect({}), { code: 'integrity' });
  await opened.repair({ apply: true }); // for both
  await assertSound(store, points, trust);
});

test('who knows the log only to a gap does not fill it', async () => {
  const { store, trust, points } = await bench();
  const late = memoryTrust();
  const context = await contextOf(store, secret);
  const [, second] = (await context.log.survey()).slots;
  assert.ok(second && 'entry' in second);
  await late.save(context.id, { keySet: 1, seq: 2, digest: second.digest, signer: second.signer });
  await store.delete(log(3));
  const { repository, warnings } = await open(store, { trust: late });
  points.push(await backup(repository));
  assert.match(
    warnings.join(),
    /its log entry is not: the log of roots has log\/0000000004, but log\/0000000003 is missing/,
  );
  assert.equal(await store.stat(log(3)), undefined);
  const { repository: opened } = await open(store, { trust });
  await opened.repair({ apply: true });
  await assertSound(store, points, trust);
  await assertSound(store, points, late);
});

test('a repair that dies at any of its writes is gone on with by the next', async () => {
  for (let survives = 0; ; survives += 1) {
    const { store, trust, points } = await bench();
    const whole = await copyOf(store);
    const [first, second, third] = points;
    assert.ok(first && second && third);
    for (const seq of [3, 5]) await damage(store, log(seq), 'deleted');
    await damage(store, log(4), 'flipped');
    await damage(store, outcomeOf(first), 'flipped');
    await damage(store, outcomeOf(second), 'deleted');
    await damage(store, outcomeOf(third), 'truncated');
    await whole.delete(outcomeOf(third));
    await whole.delete(log(3));
    let left = survives;
    const dying = filterStore(store, {
      putIfAbsent: async (key, body) => {
        if (left === 0) throw new PrimaError('io', 'the process died');
        left -= 1;
        return await store.putIfAbsent(key, body);
      },
    });
    const { repository } = await open(dying, { trust });
    const isOver = await repository.repair({ apply: true, copies: [whole] }).then(
      () => true,
      (error: unknown) => {
        assert.match(String(error), /the process died/);
        return false;
      },
    );
    const { repository: next } = await open(store, { trust });
    await next.repair({ apply: true, copies: [whole] });
    await assertSound(
      store,
      points.filter((saved) => saved !== third),
      trust,
    );
    await assertSound(
      store,
      points.filter((saved) => saved !== third),
    );
    if (!isOver) continue;
    assert.ok(survives >= 6, `${survives} writes`);
    return;
  }
});
