/** People are told what needs them: signed requests, mail, what is down comes later, and no secret comes out. */
import assert from 'node:assert/strict';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ApiError } from '@prima/api/http';
import { temporaryFolder, waitUntil } from '@prima/testbed';
import { mailPassword, mailServer, receiver, signingSecret } from './receiver-fixture.ts';
import { administrator, serverWorld, Visitor } from './server-fixture.ts';

const notificationTimes = { everyMs: 50, gatherMs: 200, pauseMs: 100, lookMs: 100 };

const refused = (code: string, words: RegExp) => (error: ApiError) => {
  assert.match(error.message, words);
  assert.equal(error.problem.code, code);
  return true;
};

const fail = (by: Visitor) =>
  by.operate('diskCheck', { path: '/nowhere' }).then(
    () => assert.fail('it must not succeed'),
    (error: Error) => assert.match(error.message, /nowhere/),
  );

test('channels: webhooks and mail', async (t) => {
  const world = await serverWorld(t, { notificationTimes });
  const admin = await administrator(world);
  const at = await receiver(t);
  const mail = await mailServer(t);
  const hook = { kind: 'webhook' as const, url: `${at.url}/hook/secret-path`, secret: signingSecret };

  await t.test('a webhook gets signed requests', async () => {
    const { id } = await admin.call('addChannel', { body: { name: 'hook', target: hook } });
    await admin.call('testChannel', { path: { id } });
    const [got] = at.got;
    assert.equal(got?.body.event, 'test');
    assert.equal(got.body.organisation, 'Main');
    assert.match(String(got.headers['x-prima-signature']), /^sha256=[0-9a-f]{64}$/);
    await assert.rejects(
      admin.call('addChannel', { body: { name: 'hook', target: hook } }),
      refused('exists', /hook already/),
    );
    const [kept] = (await admin.call('listChannels')).items;
    assert.ok(kept?.lastSent !== undefined && kept.lastError === undefined);
  });

  await t.test('Slack, Teams, Matrix and ntfy have their own shapes', async () => {
    const targets = [
      { kind: 'slack' as const, url: `${at.url}/slack` },
      { kind: 'teams' as const, url: `${at.url}/teams` },
      { kind: 'matrix' as const, url: at.url, room: '!room:example', token: 'token-of-matrix' },
      { kind: 'ntfy' as const, url: `${at.url}/topic` },
    ];
    for (const target of targets) {
      at.got.length = 0;
      const { id } = await admin.call('addChannel', { body: { name: target.kind, target } });
      await admin.call('testChannel', { path: { id } });
      await admin.call('removeChannel', { path: { id } });
      const [got] = at.got;
      assert.match(JSON.stringify(got?.body), /A test of this channel/);
      if (target.kind === 'matrix') {
        assert.match(
          `${got?.method} ${got?.url}`,
          /^PUT \/_matrix\/.*!room%3Aexample\/send\/m.room.message\//,
        );
        assert.equal(got?.headers.authorization, 'Bearer token-of-matrix');
      }
      if (target.kind === 'ntfy') assert.match(JSON.stringify(got), /"url":"\/".*"topic":"topic"/);
    }
  });

  await t.test('mail goes over STARTTLS, signed in', async () => {
    const target = {
      kind: 'email' as const,
      host: 'localhost',
      port: mail.port,
      user: 'prima',
      password: mailPassword,
      from: 'prima@example.com',
      to: ['admin@example.com'],
      ca: mail.ca,
    };
    const { id } = await admin.call('addChannel', { body: { name: 'mail', target } });
    await admin.call('testChannel', { path: { id } });
    const [got] = mail.got;
    assert.ok(got?.isSecure);
    assert.deepEqual([got.from, ...got.to, got.user], ['prima@example.com', 'admin@example.com', 'prima']);
    assert.match(got.text, /^Subject: Prima Main: A test of this channel/m);
    const change = (more: object) =>
      admin.call('changeChannel', { path: { id }, body: { name: 'mail', target: { ...target, ...more } } });
    await change({ password: 'another-password' });
    await assert.rejects(admin.call('testChannel', { path: { id } }), (error: ApiError) => {
      assert.doesNotMatch(error.message, /another-password/); // the server repeats it
      return refused('remote', /sending to localhost:.*wrong: …/)(error);
    });
    await change({ ca: undefined });
    await assert.rejects(admin.call('testChannel', { path: { id } }), refused('remote', /certificate/));
    const [kept] = (await admin.call('listChannels')).items.filter(({ name }) => name === 'mail');
    assert.match(kept?.lastError?.message ?? '', /certificate/);
    await admin.call('removeChannel', { path: { id } });
  });

  await t.test('what is down first gets it later, also after a restart', async () => {
    at.got.length = 0;
    at.status = 503;
    await fail(admin);
    await waitUntil(async () => at.refused > 1, { what: 'it to be tried again' });
    const [kept] = (await admin.call('listChannels')).items;
    assert.match(kept?.lastError?.message ?? '', /answered with status 503/);
    assert.equal(kept?.waiting, 1);
    await world.restart();
    at.status = 204;
    await waitUntil(async () => at.got.length > 0, { what: 'it to be delivered' });
    const again = new Visitor(world.server.url);
    await again.signIn('admin');
    await waitUntil(async () => (await again.call('listChannels')).items[0]?.waiting === 0, {
      what: 'nothing to wait',
    });
    assert.equal(at.got.length, 1);
    const { event, title, lines } = at.got[0]?.body ?? {};
    assert.equal(event, 'job-failed');
    assert.match(`${title} ${lines?.join()}`, /nowhere/);
    assert.equal((await again.call('listChannels')).items[0]?.lastError, undefined);
  });

  await t.test('no secret is in an answer, in the log or in the audit log', async () => {
    const again = new Visitor(world.server.url);
    await again.signIn('admin');
    const { items } = await again.call('listAudit', { query: { limit: 500 } });
    assert.ok(items.some(({ action, outcome }) => action === 'testChannel' && outcome === 'failed'));
    const channels = (await again.call('listChannels')).items;
    assert.equal(channels[0]?.at, at.url);
    const said = JSON.stringify([items, channels, world.said]);
    for (const secret of [signingSecret, mailPassword, 'another-password', 'secret-path', 'token-of-matrix'])
      assert.ok(!said.includes(secret), secret);
  });
});

test('other organisations reach nothing of the server’s own network', async (t) => {
  const world = await serverWorld(t, { notificationTimes });
  const admin = await administrator(world);
  const at = await receiver(t);
  const mail = await mailServer(t);
  await admin.call('createOrganisation', { body: { name: 'client' } });
  const { organisations } = await admin.call('getSession');
  const id = organisations.find(({ name }) => name === 'client')?.id ?? '';
  admin.took(await admin.call('chooseOrganisation', { body: { id } }));
  const { path } = await admin.call('inviteUser', { body: { roles: ['administrator'] } });
  const tenant = new Visitor(world.server.url);
  await tenant.useLink(path, 'tenant');
  const add = (url: string) =>
    tenant.call('addChannel', { body: { name: 'hook', target: { kind: 'slack', url } } });
  await assert.rejects(add(at.url), refused('usage', /https alone/));
  for (const host of [
    '127.0.0.1',
    '[::1]',
    '10.1.2.3',
    '169.254.169.254',
    '[::ffff:127.0.0.1]',
    '2130706433',
  ])
    await assert.rejects(add(`https://${host}/`), refused('forbidden', /own network/), host);
  const { port } = new URL(at.url);
  const hook = await add(`https://localhost:${port}/`);
  await assert.rejects(
    tenant.call('testChannel', { path: { id: hook.id } }),
    refused('forbidden', /localhost is an address of the server's own network/),
  );
  const target = {
    kind: 'email' as const,
    host: 'localhost',
    port: mail.port,
    from: 'a@b.cd',
    to: ['a@b.cd'],
  };
  const letter = await tenant.call('addChannel', { body: { name: 'mail', target } });
  await assert.rejects(
    tenant.call('testChannel', { path: { id: letter.id } }),
    refused('forbidden', /own network/),
  );
  assert.deepEqual([at.got, at.refused, mail.got], [[], 0, []]);
});

test('a repository that is away is told once, and once when it is back', async (t) => {
  const world = await serverWorld(t, { notificationTimes });
  const admin = await administrator(world);
  const at = await receiver(t);
  const folder = join(await temporaryFolder(t), 'repository');
  const repository = { name: 'vault', url: folder, passphrase: 'x', create: true };
  const { id } = await admin.call('addRepository', { body: repository });
  const target = { kind: 'webhook' as const, url: at.url, secret: signingSecret };
  await admin.call('addChannel', { body: { name: 'hook', target, events: ['repository'] } });
  const told = (words: RegExp) =>
    waitUntil(async () => at.got.some(({ body }) => words.test(`${body.title} ${body.lines.join()}`)), {
      what: `to be told ${words}`,
    });
  await rename(folder, `${folder}-away`);
  await assert.rejects(admin.call('refreshRepository', { path: { id } }));
  await told(/Repositories: vault vault: cannot be read/);
  await rename(`${folder}-away`, folder);
  await admin.call('refreshRepository', { path: { id } });
  await told(/vault: can be read again/);
  assert.equal(at.got.length, 2);
});
