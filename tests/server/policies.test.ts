/** What policies are held to, and what they would do before they are kept. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ApiError } from '@prima/api/http';
import { temporaryFolder } from '@prima/testbed';
import { fillState } from './many-rows-fixture.ts';
import { administrator, serverWorld } from './server-fixture.ts';

const settings = {
  name: 'nightly',
  machines: { all: true },
  repository: 'first',
  schedule: '0 22 * * *',
};

const refusedAt = (path: string) => (error: ApiError) => {
  const { issues } = error.problem.details as { issues: { path: string; message: string }[] };
  return issues.some((issue) => issue.path === path && error.message.includes(issue.message));
};

test('policies', async (t) => {
  const world = await serverWorld(t);
  const admin = await administrator(world);
  fillState(join(world.home, 'server.sqlite'), { machines: 200, points: 0 });
  const url = join(await temporaryFolder(t), 'repository');
  await admin.call('addRepository', { body: { name: 'first', url, passphrase: 'x', create: true } });

  await t.test('a preview says which machines, and what fits none', async () => {
    const { machines, runs, issues } = await admin.call('previewPolicy', {
      body: {
        machines: { hosts: ['host0', 'nowhere'], names: ['vm001*', 'none*'], except: ['host0/vm0000'] },
        schedule: '0 22 * * *',
      },
    });
    assert.equal(machines.total, 9 + 10); // host0 has each twentieth, and one is excepted
    assert.deepEqual(machines.items[0], { id: 'host0/vm0020', policies: [] });
    assert.deepEqual(machines.unused, ['nowhere', 'none*']);
    assert.deepEqual([runs.length, issues], [5, []]);
    const all = await admin.call('previewPolicy', {
      body: { machines: { all: true }, schedule: '* * * * *' },
    });
    assert.deepEqual([all.machines.total, all.machines.items.length], [200, 100]);
  });

  await t.test('policies choose by tags, and leave out by them', async () => {
    const tag = (name: string, tags: string[]) =>
      admin.call('tagMachine', { path: { host: 'host0', id: name }, body: { tags } });
    assert.deepEqual((await tag('vm0020', ['web', 'gold', 'web'])).tags, ['gold', 'web']);
    await tag('vm0040', ['web', 'test']);
    const preview = async (machines: object) =>
      (await admin.call('previewPolicy', { body: { machines, schedule: '0 22 * * *' } })).machines;
    const some = await preview({ names: ['tag:web', 'tag:none'], except: ['tag:test'] });
    assert.deepEqual(
      some.items.map(({ id }) => id),
      ['host0/vm0020'],
    );
    assert.deepEqual(some.unused, ['tag:none']);
    assert.equal((await preview({ all: true, except: ['tag:web'] })).total, 198);
    const listed = await admin.call('listMachines', { query: { tag: 'web' } });
    assert.deepEqual(
      listed.items.map(({ id, tags }) => [id, tags]),
      [
        ['host0/vm0020', ['gold', 'web']],
        ['host0/vm0040', ['test', 'web']],
      ],
    );
    assert.equal(listed.total, 2);
    await assert.rejects(tag('vm0020', ['not a tag']), (error: ApiError) => error.problem.code === 'usage');
    await assert.rejects(tag('none', []), (error: ApiError) => error.problem.code === 'not-found');
    assert.deepEqual((await tag('vm0040', [])).tags, []);
    const said = (await admin.call('listAudit')).items.filter(({ action }) => action === 'tagMachine');
    assert.ok(said.some(({ target, outcome }) => target === 'host0/vm0020' && outcome === 'done'));
  });

  await t.test('a policy takes a machine as soon as it has the tag', async () => {
    const body = { ...settings, name: 'tagged', machines: { names: ['tag:late'] } };
    await admin.call('createPolicy', { body });
    const policiesOf = async () =>
      (await admin.call('getMachine', { path: { host: 'host1', id: 'vm0001' } })).policies;
    assert.deepEqual(await policiesOf(), []);
    await admin.call('tagMachine', { path: { host: 'host1', id: 'vm0001' }, body: { tags: ['late'] } });
    assert.deepEqual(await policiesOf(), ['tagged']);
  });

  await t.test('what may be read of a repository and stored in it a second is kept with it', async () => {
    const [first] = (await admin.call('listRepositories')).items;
    assert.deepEqual(first?.limits, {});
    const path = { id: first?.id ?? '' };
    const limits = { store: 20 * 2 ** 20, read: 100 * 2 ** 20 };
    assert.deepEqual((await admin.call('limitRepository', { path, body: limits })).limits, limits);
    await admin.call('refreshRepository', { path }); // it is opened anew
    assert.deepEqual((await admin.call('limitRepository', { path, body: {} })).limits, {});
    await assert.rejects(
      admin.call('limitRepository', { path, body: { store: 0 } }),
      (error: ApiError) => error.problem.code === 'usage',
    );
  });

  await t.test('a preview says when it runs, and when a window lets it begin', async () => {
    const { runs } = await admin.call('previewPolicy', {
      body: {
        machines: {},
        schedule: '0 20 * * *',
        timeZone: 'Europe/Berlin',
        window: { from: '23:30', to: '04:00' },
      },
    });
    const local = (time: string) =>
      new Date(time).toLocaleTimeString('en-GB', { timeZone: 'Europe/Berlin', timeStyle: 'short' });
    for (const { time, begins } of runs) {
      assert.deepEqual([local(time), local(begins)], ['20:00', '23:30']);
      assert.ok(begins > time);
    }
  });

  await t.test('a preview of what would be refused says why', async () => {
    for (const [path, body] of [
      ['schedule', { schedule: '99 * * * *' }],
      ['schedule', { schedule: 'daily' }],
      ['timeZone', { schedule: '0 1 * * *', timeZone: 'Nowhere/Land' }],
    ] as const) {
      const { runs, issues } = await admin.call('previewPolicy', {
        body: { machines: { all: true }, ...body },
      });
      assert.deepEqual([runs, issues.map((issue) => issue.path)], [[], [path]]);
    }
  });

  await t.test('a preview is no matter of the audit log', async () => {
    const { items } = await admin.call('listAudit', { query: { action: 'preview' } });
    assert.deepEqual(items, []);
  });

  await t.test('what is refused says which setting it is', async () => {
    const make = (change: object) => admin.call('createPolicy', { body: { ...settings, ...change } });
    await assert.rejects(make({ schedule: '99 * * * *' }), refusedAt('schedule'));
    await assert.rejects(make({ timeZone: 'Nowhere/Land' }), refusedAt('timeZone'));
    await assert.rejects(make({ repository: 'none' }), refusedAt('repository'));
    await assert.rejects(make({ copyTo: 'none' }), refusedAt('copyTo'));
    await assert.rejects(make({ copyTo: 'first' }), refusedAt('copyTo'));
    await assert.rejects(make({ window: { from: '25:00', to: '04:00' } }), refusedAt('window.from'));
    await make({});
    await assert.rejects(make({}), refusedAt('name'));
  });
});
