/** A server and two workers, each a process: a machine that only one of them sees is backed up through it and restored. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MachineDto } from '@prima/api';
import { serverResources } from '@prima/api/client';
import { runProgram } from '@prima/base';
import { runPrima, spawnPrima, startSshServer, temporaryFolder, waitUntil } from '@prima/testbed';
import { createGuest, testHost } from '../e2e/qemu-host-fixture.ts';
import { administrator, serverWorld, Visitor } from './server-fixture.ts';

const refused = { code: 'forbidden' };

test('machines at a worker are known, backed up and restored through it', async (t) => {
  const host = await testHost(t);
  await createGuest(host, 'web');
  await using ssh = await startSshServer();
  const world = await serverWorld(t);
  const { url } = world.server;
  const admin = await administrator(world);
  const repository = { name: 'far', url: ssh.url('far'), passphrase: 'a passphrase', create: true };
  await admin.call('addRepository', { body: repository });
  const tokenOf = async (by: Visitor) =>
    (await by.call('createToken', { body: { name: 'mover', roles: ['worker'], days: 1 } })).secret;
  const token = await tokenOf(admin);
  const homeWith = async (name: string, folder: string) => {
    const home = await temporaryFolder(t);
    const { status, stderr } = await runPrima(['host', 'add', name, folder, '--home', home]);
    assert.equal(status, 0, stderr);
    return home;
  };
  const begin = (home: string, name: string) => {
    const worker = spawnPrima(['worker', '--server', url, '--home', home, '--name', name], {
      env: { PRIMA_TOKEN: token },
    });
    t.after(() => worker[Symbol.asyncDispose]());
    return worker;
  };
  const home = await homeWith('branch', host.root);
  let worker = begin(home, 'one');
  await worker.printed(/Working as/);
  const second = begin(await homeWith('other', await temporaryFolder(t)), 'two');
  await second.printed(/Working as/);
  const operation = async (name: string, request: object) => {
    const response = await fetch(`${url}/api/v1/operations/${name}?repository=far`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...admin.headers },
      body: JSON.stringify(request),
    });
    return ((await response.json()) as { job: { id: string } }).job.id;
  };
  const began = (id: string) =>
    waitUntil(async () => (await admin.call('getJob', { path: { id } })).progress, { what: 'its progress' });

  await t.test('a host is at one place, and the others say where', async () => {
    const third = await begin(await homeWith('branch', host.root), 'three').result;
    assert.notEqual(third.status, 0);
    assert.match(third.stderr, /another worker has a host of this name/);
    const body = { name: 'branch', platform: 'qemu' as const, location: host.root };
    await assert.rejects(admin.call('addHost', { body }), /the worker one has a host/);
  });

  await t.test('what it has is known, and asked through it', async () => {
    await waitUntil(async () => (await admin.call('listMachines')).items.length === 1, {
      what: 'the machine',
    });
    const { items } = await admin.call('listHosts');
    assert.deepEqual(
      items.map(({ name, worker: at, machines }) => [name, at, machines]),
      [
        ['branch', 'one', 1],
        ['other', 'two', 0],
      ],
    );
    const machines = (await admin.operate('machineList', { host: 'branch' })) as MachineDto[];
    assert.deepEqual(machines.map(({ id }) => id).length, 1);
    const workers = (await admin.call('listWorkers')).items;
    assert.deepEqual(
      workers.map(({ name, state, hosts }) => [name, state, hosts]),
      [
        ['one', 'here', ['branch']],
        ['two', 'here', ['other']],
      ],
    );
  });

  await t.test('one that is removed ends, and says why', async () => {
    const { items } = await admin.call('listWorkers');
    const id = items.find(({ name }) => name === 'two')?.id ?? '';
    await admin.call('removeWorker', { path: { id } });
    const { status, stderr } = await second.result;
    assert.notEqual(status, 0);
    assert.match(stderr, /there is no such worker|no worker/);
    const { items: entries } = await admin.call('listAudit', { query: { limit: 100 } });
    const told = entries.filter(({ action }) => action === 'registerWorker').map(({ outcome }) => outcome);
    assert.deepEqual(told.sort(), ['done', 'done', 'failed']);
  });

  await t.test('killed in the midst of a backup and started again: done under the same id', async () => {
    const id = await operation('backup', { sources: ['branch/web'], limits: { read: 2 ** 22 } });
    await began(id);
    worker.kill('SIGKILL');
    await worker.result;
    worker = begin(home, 'one');
    await admin.follow(id);
    assert.equal((await admin.call('getJob', { path: { id } })).attempt, 2);
    const machine = await admin.call('getMachine', { path: { host: 'branch', id: 'web' } });
    assert.equal(machine.points, 1);
  });

  await t.test('restored byte for byte', async () => {
    await admin.operate('restoreToHost', { point: 'latest', host: 'branch', as: 'again' }, 'far');
    const disksOf = async (id: string) =>
      (await admin.call('getMachine', { path: { host: 'branch', id } })).diskList;
    const [before, after] = [await disksOf('web'), await disksOf('again')];
    assert.equal(after.length, 2);
    for (const [index, { path, format }] of before.entries()) {
      const restored = after[index];
      const formats = ['-f', format, '-F', restored?.format ?? ''];
      await runProgram('qemu-img', ['compare', ...formats, path, restored?.path ?? '']);
    }
  });

  await t.test('cancelled while it runs there', async () => {
    const id = await operation('backup', { sources: ['branch/web'], full: true, limits: { read: 2 ** 18 } });
    await began(id);
    await admin.call('cancelJob', { path: { id } });
    await waitUntil(async () => (await admin.call('getJob', { path: { id } })).state === 'cancelled', {
      what: 'its end',
    });
  });

  await t.test('its token is for nothing else, and another organisation’s worker gets nothing', async () => {
    const call = serverResources({ url, token });
    await assert.rejects(call('listMachines'), refused);
    await assert.rejects(call('createToken', { body: { name: 'x', roles: ['worker'], days: 1 } }), refused);
    const client = await admin.call('createOrganisation', { body: { name: 'client' } });
    const other = new Visitor(url);
    await other.signIn('admin');
    other.took(await other.call('chooseOrganisation', { body: { id: client.id } }));
    const theirs = serverResources({ url, token: await tokenOf(other) });
    const [mine] = (await admin.call('listWorkers')).items;
    const path = { id: mine?.id ?? '' };
    const owner = { host: 'h', boot: 'b', pid: 1, pidStart: '1' };
    await assert.rejects(theirs('claimJob', { path, body: { owner } }), { code: 'not-found' });
    const body = { name: 'one', version: '1', hostname: 'h', atOnce: 1, hosts: [] };
    const hosts = [{ name: 'branch', platform: 'qemu' as const, location: '/' }];
    await theirs('registerWorker', { path, body: { ...body, hosts } });
    worker.kill('SIGTERM');
    assert.equal((await worker.result).status, 0);
    const id = await operation('backup', { sources: ['branch/web'] });
    assert.deepEqual(await theirs('claimJob', { path, body: { owner } }), {});
    const { job } = await call('claimJob', { path, body: { owner } });
    assert.equal(job?.id, id);
    assert.equal(job?.repository?.passphrase, repository.passphrase);
    const settle = { attempt: job?.attempt ?? 0, state: 'cancelled' as const };
    const at = { worker: path.id, id };
    await assert.rejects(call('beatJob', { path: at, body: { attempt: settle.attempt - 1 } }), {
      code: 'state',
    });
    await assert.rejects(theirs('settleJob', { path: at, body: settle }), { code: 'not-found' });
    for (let sent = 1; sent <= 2; sent += 1) await call('settleJob', { path: at, body: settle });
  });
});
