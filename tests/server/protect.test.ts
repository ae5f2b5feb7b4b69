/** A real machine through the API: found, protected by a policy, backed up, restored; and what a restart of the server does to it. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { MachineDto } from '@prima/api';
import { temporaryFolder, waitUntil } from '@prima/testbed';
import { createGuest, startGuest, testHost } from '../e2e/qemu-host-fixture.ts';
import { administrator, serverWorld, Visitor } from './server-fixture.ts';

const policy = {
  name: 'nightly',
  enabled: true,
  machines: { hosts: ['lab'] },
  repository: 'main',
  mode: 'auto' as const,
  schedule: '0 2 * * *',
  timeZone: 'Europe/Berlin',
  promiseHours: 26,
  retention: { last: 1 },
  atOnce: 2,
  attempts: 2,
  limits: { read: 2 ** 30, store: 2 ** 29 },
  skipFreeSpace: false,
};

test('a machine is protected, backed up, restored', async (t) => {
  const host = await testHost(t);
  await startGuest(host, await createGuest(host, 'web'));
  const world = await serverWorld(t);
  const admin = await administrator(world);
  const url = join(await temporaryFolder(t), 'repository');
  const made = await admin.call('addRepository', {
    body: { name: 'main', url, passphrase: 'a passphrase', create: true },
  });
  assert.equal(made.recovery?.split(' ').length, 24);
  const added = await admin.call('addHost', { body: { name: 'lab', platform: 'qemu', location: host.root } });
  assert.deepEqual([added.machines, added.error], [1, undefined]);
  const [web] = (await admin.call('listMachines')).items;
  assert.deepEqual([web?.id, web?.protection, web?.policies], ['lab/web', 'unprotected', []]);

  const { id } = await admin.call('createPolicy', { body: policy });
  const [planned] = (await admin.call('listPolicies')).items;
  assert.equal(planned?.machineCount, 1);
  assert.ok(planned?.nextRun && planned.nextRun > new Date().toISOString());
  const { jobs } = await admin.call('runPolicy', { path: { id }, body: {} });
  assert.equal(jobs.length, 1);
  await admin.follow(jobs[0] ?? '');
  const log = await admin.call('listJobEvents', { path: { id: jobs[0] ?? '' } });
  assert.ok(log.items.some(({ event }) => event.type === 'progress'));
  const said = log.items.map(({ event }) => (event.type === 'log' ? event.message : '')).join('\n');
  assert.match(said, /read at 1.00 GiB a second at most/);
  assert.match(said, /512 MiB a second are stored at most/);
  // at once: what follows from a job is done before its end is shown
  const machine = await admin.call('getMachine', { path: { host: 'lab', id: 'web' } });
  assert.equal(machine.protection, 'protected');
  const { items: points } = await admin.call('listPoints', { query: { machine: 'web' } });
  assert.deepEqual(
    points.map(({ mode, quiesced }) => [mode, quiesced]),
    [['hot', true]],
  );

  await t.test('a point tells what is on its disks, and when what it needs was verified', async () => {
    const path = { repository: 'main', id: points[0]?.id ?? '' };
    const point = await admin.call('getPoint', { path });
    assert.ok(point.disks.every(({ map, partitionTable }) => !map && !partitionTable));
    assert.equal(point.verification, undefined);
    const { disks } = await admin.call('getPoint', { path, query: { detail: 'disks' } });
    for (const { size, map, partitionTable } of disks) {
      assert.ok(map && map.dataBytes > 0 && map.dataBytes <= size && map.cells.length <= 256);
      assert.ok(partitionTable);
    }
    const verification = async () =>
      (await admin.call('getPoint', { path, query: { detail: 'verification' } })).verification;
    const before = await verification();
    assert.ok(before && before.packs > 0 && before.missing === 0);
    assert.deepEqual([before.never, before.oldest], [before.packs, undefined]);
    const began = new Date();
    await admin.operate('check', { readData: true }, 'main');
    const after = await verification();
    assert.deepEqual([after?.packs, after?.never], [before.packs, 0]);
    assert.ok(Date.parse(after?.oldest ?? '') >= began.getTime() - 1000); // the ledger has seconds
  });

  await t.test('what the policy forgets goes, once there is a newer one', async () => {
    const second = await admin.call('runPolicy', { path: { id }, body: {} });
    await admin.follow(second.jobs[0] ?? '');
    await waitUntil(
      async () => {
        const now = (await admin.call('listPoints', { query: {} })).items;
        return now.length === 1 && now[0]?.id !== points[0]?.id;
      },
      { what: 'the older point to be forgotten', timeoutMs: 60_000 },
    );
  });

  await t.test('restored as a new machine', async () => {
    const result = (await admin.operate(
      'restoreToHost',
      { point: 'latest', host: 'lab', as: 'again' },
      'main',
    )) as { machine: MachineDto };
    assert.equal(result.machine.name, 'again');
    await waitUntil(async () => (await admin.call('listMachines')).items.length === 2, {
      what: 'it to be known',
    });
  });

  await t.test(
    'the server is ended in the midst of a backup: it is done after the restart, under the same id',
    async () => {
      const begun = await fetch(`${world.server.url}/api/v1/operations/backup?repository=main`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': 'one', ...admin.headers },
        body: JSON.stringify({ sources: ['lab/web'], full: true }),
      });
      const { job } = (await begun.json()) as { job: { id: string } };
      await waitUntil(async () => (await admin.call('getJob', { path: { id: job.id } })).state !== 'queued', {
        what: 'it to begin',
      });
      await world.restart();
      const back = new Visitor(world.server.url);
      await back.signIn('admin');
      await back.follow(job.id);
      const again = await fetch(`${world.server.url}/api/v1/operations/backup?repository=main`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': 'one', ...back.headers },
        body: JSON.stringify({ sources: ['lab/web'], full: true }),
      });
      assert.equal(((await again.json()) as { job: { id: string } }).job.id, job.id);
    },
  );

  await t.test('deletion of points needs a second person, where that is wanted', async () => {
    const back = new Visitor(world.server.url);
    await back.signIn('admin');
    await back.call('changeSettings', {
      body: { organisationName: 'Main', inventoryMinutes: 10, secondApproval: true },
    });
    const { items } = await back.call('listPoints', { query: {} });
    const point = items[0]?.id ?? '';
    await assert.rejects(
      back.operate('forget', { points: [point] }, 'main'),
      /another administrator has to approve/,
    );
    const [asked] = (await back.call('listApprovals')).items;
    assert.equal(asked?.state, 'waiting');
    const decide = { path: { id: asked.id }, body: { approve: true } };
    await assert.rejects(back.call('decideApproval', decide), /another administrator/);
    const { path } = await back.call('inviteUser', { body: { roles: ['administrator'] } });
    const second = new Visitor(world.server.url);
    await second.useLink(path, 'second');
    const { job } = await second.call('decideApproval', decide);
    await second.follow(job ?? '');
    assert.ok(!(await second.call('listPoints', { query: {} })).items.some((one) => one.id === point));
  });

  const overview = await new Promise<Visitor>((resolve) => resolve(new Visitor(world.server.url)));
  await overview.signIn('admin');
  const { machines, storage, days, oldest } = await overview.call('getOverview');
  assert.deepEqual(
    oldest.map(({ machine, promiseHours, lastPoint, due }) => [
      machine,
      promiseHours,
      Date.parse(due) - Date.parse(lastPoint),
    ]),
    [['web', 26, 26 * 3_600_000]],
  );
  assert.equal(machines.total, 2);
  assert.ok(storage.stored > 0 && days.length === 30);
  const metrics = await (await fetch(`${world.server.url}/metrics`)).text();
  assert.match(metrics, /prima_jobs\{state="succeeded",operation="backup"\} \d/);
});
