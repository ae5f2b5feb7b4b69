/** The OpenAPI document is one, and a real server answers as it says: every endpoint, what is done and what is refused. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { endpoints } from '@prima/api/http';
import { operationNames, operations } from '@prima/api/schemas';
import { temporaryFolder, waitUntil } from '@prima/testbed';
import { Validator } from '@seriousme/openapi-schema-validator';
import { TOTP } from 'otpauth';
import { Asker, Contract, type Document } from './contract-fixture.ts';
import { clientId, clientSecret, providerWorld } from './provider-fixture.ts';
import { receiver } from './receiver-fixture.ts';
import { password, type ServerWorld, serverWorld } from './server-fixture.ts';

const MiB = 1024 * 1024;
const id = (of: Record<string, unknown>) => ({ id: String(of['id']) });

/** It takes nothing, and refuses nobody. */
const isForAll = (path: string): boolean => path === '/session/ways';

async function contractOf({ server }: ServerWorld): Promise<Contract> {
  const response = await fetch(`${server.url}/api/v1/openapi.json`);
  return new Contract((await response.json()) as Document);
}

test('the document is OpenAPI 3.1, and has each endpoint and operation once', async (t) => {
  const { document } = await contractOf(await serverWorld(t));
  const { valid, errors } = await new Validator().validate({ ...document });
  assert.ok(valid, JSON.stringify(errors));
  const { openapi } = document as unknown as { openapi: string };
  assert.match(openapi, /^3\.1\./);
  const ids = Object.values(document.paths).flatMap((methods) =>
    Object.values(methods).map(({ operationId }) => operationId),
  );
  const wanted = [
    ...Object.keys(endpoints),
    ...operationNames
      .filter((name) => operations[name].local === undefined)
      .map((name) => `operation_${name}`),
    'followJob',
  ];
  assert.deepEqual(ids.sort(), wanted.sort());
});

test('the server answers as its document says', async (t) => {
  const publicUrl = 'https://prima.example';
  const world = await serverWorld(t, { publicUrl });
  const contract = await contractOf(world);
  const someone = () => new Asker(world.server.url, contract);
  const [admin, nobody] = [someone(), someone()];
  const secretOf = (link: unknown) => ({ secret: String(link).split('/link/')[1] ?? '' });

  await t.test('people', async () => {
    const first = secretOf(world.server.firstLink);
    await nobody.ask('openLink', { path: first });
    await admin.ask('useLink', { path: first, body: { name: 'admin', password } });
    await admin.ask('changePassword', { body: { old: password, password } });
    await admin.ask('getSession');
    const { secret } = await admin.ask('beginTotp');
    const code = (laterMs = 0) =>
      new TOTP({ secret: String(secret) }).generate({ timestamp: Date.now() + laterMs });
    await admin.ask('confirmTotp', { body: { code: code() } });
    await someone().ask('signIn', { body: { name: 'admin', password } }); // wants a code
    await admin.ask('removeTotp', { query: { code: code(30_000) } });
    const { path } = await admin.ask('inviteUser', { body: { roles: ['viewer'], name: 'second' } });
    await someone().ask('useLink', { path: secretOf(path), body: { name: 'second', password } });
    const { items } = await admin.ask('listUsers');
    const second = (items as Record<string, unknown>[]).find(({ name }) => name === 'second') ?? {};
    await admin.ask('changeUser', { path: id(second), body: { roles: ['administrator'] } });
    await admin.ask('resetUser', { path: id(second) });
    await admin.ask('removeUser', { path: id(second) });
    await someone().ask('signIn', { body: { name: 'admin', password } });
    const sessions = (await admin.ask('listSessions'))['items'] as Record<string, unknown>[];
    await admin.ask('endSession', { path: id(sessions.find(({ isThis }) => isThis !== true) ?? {}) });
    await admin.ask('endOtherSessions');
    const token = await admin.ask('createToken', { body: { name: 'x', roles: ['viewer'], days: 1 } });
    await admin.ask('listTokens');
    await admin.ask('removeToken', { path: id(token) });
    const made = await admin.ask('createOrganisation', { body: { name: 'client' } });
    await admin.ask('listOrganisations');
    await admin.ask('chooseOrganisation', { body: id(made) });
    await admin.ask('chooseOrganisation', { body: { id: 'main' } });
  });

  await t.test('a provider of identities', async () => {
    const at = await providerWorld(t, `${publicUrl}/sign-in/provider`);
    const { issuer, ca } = at;
    at.people.set('s-admin', { name: 'admin', groups: [] });
    const provider = { name: 'Company', issuer, clientId, clientSecret, ca };
    await admin.ask('changeIdentityProvider', { body: provider });
    await admin.ask('getIdentityProvider');
    await nobody.ask('getSignInWays');
    const { url } = await admin.ask('linkIdentity');
    await admin.ask('finishProviderSignIn', { body: { query: await at.visit(String(url), 's-admin') } });
    await someone().ask('beginProviderSignIn', { body: {} });
    const { items } = await admin.ask('listIdentities');
    await admin.ask('unlinkIdentity', { path: id((items as Record<string, unknown>[])[0] ?? {}) });
    await admin.ask('removeIdentityProvider');
  });

  await t.test('channels of notifications', async () => {
    const target = { kind: 'slack' as const, url: (await receiver(t)).url };
    const body = { name: 'team', target };
    const channel = await admin.ask('addChannel', { body });
    await admin.ask('testChannel', { path: id(channel) });
    await admin.ask('changeChannel', { path: id(channel), body: { ...body, enabled: false } });
    await admin.ask('listChannels');
    await admin.ask('removeChannel', { path: id(channel) });
  });

  const folder = await temporaryFolder(t);
  const url = join(await temporaryFolder(t), 'repository');
  let point = '';

  await t.test('hosts, machines, repositories, policies, jobs, points', async () => {
    await admin.ask('addHost', { body: { name: 'lab', platform: 'qemu', location: folder } });
    const disks = [{ size: 8 * MiB, format: 'raw' }];
    await admin.operate('machineCreate', { host: 'lab', name: 'web', memoryBytes: 64 * MiB, cpus: 1, disks });
    await admin.ask('refreshInventory', { path: { id: 'lab' } });
    await admin.ask('testHost', { path: { id: 'lab' } });
    await admin.ask('listHosts');
    await admin.ask('listMachines');
    await admin.ask('getMachine', { path: { host: 'lab', id: 'web' } });
    await admin.ask('tagMachine', { path: { host: 'lab', id: 'web' }, body: { tags: ['gold'] } });
    const repository = await admin.ask('addRepository', {
      body: { name: 'main', url, passphrase: 'a passphrase', create: true },
    });
    await admin.ask('limitRepository', { path: id(repository), body: { store: 2 ** 30 } });
    const settings = { name: 'nightly', machines: { all: true }, repository: 'main', schedule: '0 2 * * *' };
    await admin.ask('previewPolicy', { body: { machines: { all: true }, schedule: '0 2 * * *' } });
    const policy = await admin.ask('createPolicy', { body: settings });
    await admin.ask('changePolicy', { path: id(policy), body: { ...settings, lockDays: 1 } });
    await admin.ask('changePolicy', { path: id(policy), body: settings });
    const { jobs } = await admin.ask('runPolicy', { path: id(policy), body: {} });
    const job = { id: (jobs as string[])[0] ?? '' };
    await admin.follow(job.id);
    assert.equal((await admin.ask('getJob', { path: job }))['state'], 'succeeded');
    await admin.ask('listJobs');
    await admin.ask('listJobEvents', { path: job });
    await admin.ask('refreshRepository', { path: id(repository) });
    await admin.ask('listRepositories');
    const { items } = await admin.ask('listPoints');
    point = String((items as Record<string, unknown>[])[0]?.['id']);
    for (const detail of ['point', 'disks', 'verification'] as const)
      await admin.ask('getPoint', { path: { repository: 'main', id: point }, query: { detail } });
    const again = await admin.ask('retryJob', { path: job });
    await admin.ask('cancelJob', { path: id(again) });
    await admin.follow(String(again['id']));
    await admin.ask('listPolicies');
    await admin.ask('getOverview');
    for (const [name, request] of [
      ['status', {}],
      ['points', {}],
      ['show', { point, partitions: true, map: true, verification: true }],
      ['diff', { a: point, b: point }],
      ['keyList', {}],
      ['check', { readData: true }],
      ['forget', { points: [point], dryRun: true }],
    ] as const)
      await admin.operate(name, request, 'main');
    for (const [name, request] of [
      ['hostList', {}],
      ['hostTest', { name: 'lab' }],
      ['machineList', {}],
      ['machineShow', { machine: 'lab/web' }],
      ['machinePower', { machine: 'lab/web', action: 'stop' }],
    ] as const)
      await admin.operate(name, request);
  });

  await t.test('a worker', async () => {
    const path = { id: 'w1' };
    const hosts = [{ name: 'edge', platform: 'qemu' as const, location: '/machines' }];
    const said = { name: 'edge', version: '1', hostname: 'edge', atOnce: 1, hosts };
    await admin.ask('registerWorker', { path, body: said });
    await admin.ask('tellInventory', { path, body: { host: 'edge', machines: [] } });
    const body = { point, host: 'edge', as: 'new' };
    const url = '/api/v1/operations/restoreToHost?repository=main';
    assert.equal((await admin.send('/operations/restoreToHost', 'post', { url, body })).status, 202);
    const owner = { host: 'edge', boot: 'b', pid: 1, pidStart: '1' };
    const { job } = (await admin.ask('claimJob', { path, body: { owner } })) as { job: { id: string } };
    await admin.ask('listWorkerJobs', { path });
    const at = { worker: 'w1', id: job.id };
    await admin.ask('beatJob', { path: at, body: { attempt: 1 } });
    await admin.ask('settleJob', { path: at, body: { attempt: 1, state: 'cancelled' } });
    await admin.ask('listWorkers');
    await admin.ask('removeWorker', { path });
  });

  await t.test('what is decided, set, written down; and what is taken away', async () => {
    const settings = { organisationName: 'Main', inventoryMinutes: 10 };
    await admin.ask('changeSettings', { body: { ...settings, secondApproval: true } });
    await admin.ask('getSettings');
    const sent = { url: '/api/v1/operations/forget?repository=main', body: { points: [point] } };
    assert.equal((await admin.send('/operations/forget', 'post', sent)).status, 403);
    const { items } = await admin.ask('listApprovals');
    const [asked = {}] = items as Record<string, unknown>[];
    await admin.ask('decideApproval', { path: id(asked), body: { approve: false } });
    await admin.ask('listAudit', { query: { limit: 500 } });
    await admin.ask('verifyAudit');
    await admin.ask('exportAudit', { query: { from: new Date(0).toISOString() } });
    await waitUntil(
      async () => {
        const jobs = (await admin.ask('listJobs', { query: { state: 'running' } }))['items'] as unknown[];
        return jobs.length === 0;
      },
      { what: 'the jobs to end' },
    );
    const policies = (await admin.ask('listPolicies'))['items'] as Record<string, unknown>[];
    await admin.ask('removePolicy', { path: id(policies[0] ?? {}) });
    const repositories = (await admin.ask('listRepositories'))['items'] as Record<string, unknown>[];
    await admin.ask('removeRepository', { path: id(repositories[0] ?? {}) });
    await admin.ask('removeHost', { path: { id: 'lab' } });
  });

  await t.test('what is refused', async () => {
    const nothing = { id: 'none', host: 'none', repository: 'none', secret: 'none' };
    for (const { path, method } of contract.operations) {
      const where = `/api/v1${path.replaceAll(/\{(\w+)\}/g, (_, key: string) => nothing[key as 'id'])}`;
      const body = method === 'get' || method === 'delete' ? undefined : { nonsense: true };
      const { status } = await nobody.send(path, method, { url: where, body });
      assert.equal(status >= 400, !isForAll(path), where);
      const isOwn = /^\/(session|me|settings|overview)/.test(path);
      if (!isOwn) await admin.send(path, method, { url: where, body });
    }
  });

  await t.test('out', () => admin.ask('signOut').then(() => undefined));

  const unseen = contract.operations.filter(({ id: name, path }) => {
    const statuses = [...(contract.seen.get(name) ?? [])];
    const isResource = Object.hasOwn(endpoints, name) || name === 'followJob';
    const isRefused = isForAll(path) || statuses.some((status) => status >= 400);
    const isDone = !isResource || statuses.some((status) => status < 300);
    return !isRefused || !isDone;
  });
  assert.deepEqual(unseen, []);
  t.diagnostic(
    `${contract.operations.length} operations, ${[...contract.seen.values()].flatMap((of) => [...of]).length} answers`,
  );
});
