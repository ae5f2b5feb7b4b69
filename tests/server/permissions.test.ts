/** Every route with every role, in one's own organisation and in another: who may not, is told so before anything is looked at. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Endpoint, type EndpointName, endpoints, hasRole, roles, urlOf } from '@prima/api/http';
import { operationNames, operations } from '@prima/api/schemas';
import { temporaryFolder, waitUntil } from '@prima/testbed';
import { administrator, serverWorld, Visitor } from './server-fixture.ts';

const ended = (by: Visitor, id: string) =>
  waitUntil(async () => (await by.call('getJob', { path: { id } })).ended, { what: 'the job to end' });

const isRefusal = (status: number) => status === 401 || status === 403;

test('every route, every role', async (t) => {
  const world = await serverWorld(t);
  const admin = await administrator(world);
  const { url } = world.server;
  const tokens = new Map<string, string>();
  const issue = async (by: Visitor, name: string, role: (typeof roles)[number]) => {
    const { secret } = await by.call('createToken', { body: { name, roles: [role], days: 1 } });
    tokens.set(name, secret);
  };
  for (const role of roles) await issue(admin, role, role);
  await admin.call('createOrganisation', { body: { name: 'client' } });
  const other = new Visitor(url);
  await other.signIn('admin');
  const { organisations } = await admin.call('getSession');
  const client = organisations.find(({ name }) => name === 'client');
  assert.ok(client);
  other.took(await other.call('chooseOrganisation', { body: { id: client.id } }));
  const invitation = await other.call('inviteUser', { body: { roles: ['administrator'] } });
  const tenant = new Visitor(url);
  assert.equal((await tenant.useLink(invitation.path, 'tenant')).organisation.name, 'client');
  await issue(tenant, 'tenant', 'administrator');

  const send = (method: string, path: string, token: string | undefined, body: object = {}) =>
    fetch(`${url}${path}`, {
      method: method.toUpperCase(),
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(method === 'get' ? {} : { 'content-type': 'application/json' }),
      },
      ...(method === 'get' ? {} : { body: JSON.stringify(body) }),
    });

  let asked = 0;
  for (const name of Object.keys(endpoints) as EndpointName[]) {
    const { method, path, audience }: Endpoint = endpoints[name];
    if (audience === 'anyone') continue;
    const where = urlOf(path, {
      id: 'none',
      host: 'none',
      repository: 'none',
      secret: 'none',
      worker: 'none',
    });
    assert.equal((await send(method, where, undefined)).status, 401, `${name} by nobody`);
    for (const role of roles) {
      const may: boolean =
        audience === 'provider'
          ? role === 'administrator'
          : audience === 'member' || hasRole([role], audience);
      const { status } = await send(method, where, tokens.get(role));
      // what is one's own account's alone is refused to tokens
      if (audience === 'member') assert.notEqual(status, 401, `${name} by ${role}`);
      else assert.equal(isRefusal(status), !may, `${name} by ${role}: ${status}`);
      assert.ok(status < 500 || status === 501, `${name} by ${role}: ${status}`);
      asked += 1;
    }
    const { status } = await send(method, where, tokens.get('tenant'));
    if (audience === 'provider') assert.equal(status, 403, `${name} by a tenant`);
  }
  for (const name of operationNames) {
    if (operations[name].local !== undefined) continue;
    const where = `/api/v1/operations/${name}`;
    assert.equal((await send('post', where, undefined)).status, 401, `${name} by nobody`);
    const { role } = operations[name];
    for (const held of roles) {
      if (hasRole([held], role)) continue;
      const { status } = await send('post', where, tokens.get(held));
      // a request that does not fit is refused before its roles are looked at: nothing is done either way
      assert.ok(status === 403 || status === 400, `${name} by ${held}: ${status}`);
      asked += 1;
    }
  }
  t.diagnostic(`${asked} requests`);

  await t.test('an organisation sees nothing of another, and names no path of the server', async () => {
    assert.deepEqual((await tenant.call('listUsers')).items.map(({ name }) => name).sort(), [
      'admin',
      'tenant',
    ]);
    assert.deepEqual((await tenant.call('listHosts')).items, []);
    const mine = (await tenant.call('listAudit')).items;
    assert.ok(
      mine.every(({ actor }) => actor === 'tenant' || actor === 'admin' || actor.startsWith('tenant (token')),
    );
    const named = (error: { problem?: { message: string } }) =>
      /path on the server/.test(error.problem?.message ?? '');
    const host = { name: 'here', platform: 'qemu' as const, location: '/etc' };
    await assert.rejects(tenant.call('addHost', { body: host }), named);
    const repository = { name: 'r', url: '/root/repository', passphrase: 'x' };
    await assert.rejects(tenant.call('addRepository', { body: repository }), named);
    const { status } = await send('post', '/api/v1/operations/diskInfo', tokens.get('tenant'), {
      path: '/etc/passwd',
    });
    assert.equal(status, 403);
  });

  await t.test('a job is done again, or ended, only by who may begin it', async () => {
    const begun = await send('post', '/api/v1/operations/diskCheck', tokens.get('administrator'), {
      path: '/nowhere',
    });
    const { job } = (await begun.json()) as { job: { id: string } };
    for (const action of ['retry', 'cancel'])
      for (const [role, wanted] of [
        ['restorer', 403],
        ['viewer', 403],
        ['operator', action === 'retry' ? 403 : 200],
      ] as const) {
        await ended(admin, job.id);
        const { status } = await send('post', `/api/v1/jobs/${job.id}/${action}`, tokens.get(role));
        assert.equal(status, wanted, `${action} by ${role}`);
      }
  });

  await t.test('what a policy keeps is an administrator’s to say', async () => {
    const url = join(await temporaryFolder(t), 'repository');
    await admin.call('addRepository', { body: { name: 'main', url, passphrase: 'x', create: true } });
    const operator = tokens.get('operator');
    assert.equal(
      (await send('post', '/api/v1/policies', operator, { ...policy, retention: { last: 1 } })).status,
      403,
    );
    const made = await send('post', '/api/v1/policies', operator, policy);
    assert.equal(made.status, 200);
    const { id } = (await made.json()) as { id: string };
    const change = (token: string | undefined, body: object) =>
      send('put', `/api/v1/policies/${id}`, token, body);
    assert.equal((await change(operator, { ...policy, retention: { last: 1 } })).status, 403);
    assert.equal(
      (await change(tokens.get('administrator'), { ...policy, retention: { last: 5 } })).status,
      200,
    );
    assert.equal(
      (await change(operator, { ...policy, retention: { last: 5 }, promiseHours: 9 })).status,
      200,
    );
  });

  await t.test('the last administrator stays', async () => {
    const { items } = await admin.call('listUsers');
    const [only] = items;
    assert.ok(only);
    await assert.rejects(
      admin.call('changeUser', { path: { id: only.id }, body: { disabled: true } }),
      /last administrator/,
    );
    await assert.rejects(admin.call('removeUser', { path: { id: only.id } }), /last administrator/);
  });
});

const policy = {
  name: 'nightly',
  machines: { all: true },
  repository: 'main',
  schedule: '0 2 * * *',
};
