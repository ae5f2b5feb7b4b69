/** Signing in through a provider that others wrote: who gets in, as whom, with which roles; and all that must not work. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import type { ApiError } from '@prima/api/http';
import { clientId, clientSecret, type ProviderWorld, providerWorld } from './provider-fixture.ts';
import { administrator, password, serverWorld, Visitor } from './server-fixture.ts';

const publicUrl = 'https://prima.example';
const redirectUri = `${publicUrl}/sign-in/provider`;

const refused = (code: string, words: RegExp) => (error: ApiError) => {
  assert.match(error.message, words);
  assert.equal(error.problem.code, code);
  return true;
};

const settingsOf = ({ issuer, ca }: ProviderWorld) => ({
  name: 'Company',
  issuer,
  clientId,
  clientSecret,
  ca,
});

async function begin(visitor: Visitor, link?: string): Promise<string> {
  return (await visitor.call('beginProviderSignIn', { body: link === undefined ? {} : { link } })).url;
}

async function signIn(world: { url: string; provider: ProviderWorld }, subject: string, link?: string) {
  const visitor = new Visitor(world.url);
  const query = await world.provider.visit(await begin(visitor, link), subject);
  const session = visitor.took(await visitor.call('finishProviderSignIn', { body: { query } }));
  return { visitor, session };
}

test('people sign in through a provider', async (t) => {
  const world = await serverWorld(t, { publicUrl });
  const admin = await administrator(world);
  const provider = await providerWorld(t, redirectUri);
  const here = { url: world.server.url, provider };
  const body = settingsOf(provider);
  const client = await admin.call('createOrganisation', { body: { name: 'client' } });
  provider.people.set('s-admin', { name: 'admin', groups: [] });
  provider.people.set('s-jane', { name: 'jane.doe@example.com', groups: ['backup', 'other'] });
  const stranger = new Visitor(here.url);
  await assert.rejects(begin(stranger), refused('not-found', /no provider/));
  assert.deepEqual(await stranger.call('getSignInWays'), {});

  await t.test('it is asked before it is kept, and what is wrong is said', async () => {
    const keep = (more: object) => admin.call('changeIdentityProvider', { body: { ...body, ...more } });
    await assert.rejects(keep({ ca: undefined }), refused('remote', /certificate .* is not known here/));
    await assert.rejects(keep({ issuer: 'http://idp.example' }), refused('usage', /https alone/));
    await assert.rejects(
      keep({ issuer: provider.issuer.replace('127.0.0.1', 'localhost') }),
      refused('protocol', /another name/),
    );
    await assert.rejects(
      keep({ groups: [{ group: 'a', organisation: 'none', roles: ['viewer'] }] }),
      refused('not-found', /no organisation none/),
    );
    const kept = await keep({});
    assert.ok(kept.hasSecret && !JSON.stringify(kept).includes(clientSecret));
    assert.deepEqual(await stranger.call('getSignInWays'), { provider: 'Company' });
    assert.equal((await admin.call('getIdentityProvider')).redirectUri, redirectUri);
  });

  await t.test('nobody is let in because a name is the same', async () => {
    await assert.rejects(signIn(here, 's-admin'), refused('forbidden', /nobody here is linked to you/));
    await admin.call('changeIdentityProvider', {
      body: {
        ...body,
        admitsUnknown: true,
        groups: [{ group: 'all', organisation: 'main', roles: ['viewer'] }],
      },
    });
    await assert.rejects(signIn(here, 's-admin'), refused('forbidden', /nobody here is linked to you/));
    provider.people.set('s-admin', { name: 'admin', groups: ['all'] });
    await assert.rejects(signIn(here, 's-admin'), refused('exists', /name admin is taken/));
  });

  await t.test('an account is linked by whoever is signed in to it, and by nobody else', async () => {
    const { url } = await admin.call('linkIdentity');
    const query = await provider.visit(url, 's-admin');
    await assert.rejects(
      stranger.call('finishProviderSignIn', { body: { query } }),
      refused('unauthorized', /not begun in this browser/),
    );
    admin.took(await admin.call('finishProviderSignIn', { body: { query } }));
    const { items } = await admin.call('listIdentities');
    assert.deepEqual(
      items.map(({ subject }) => subject),
      ['s-admin'],
    );
    const { session } = await signIn(here, 's-admin');
    assert.equal(session.user.name, 'admin');
    assert.deepEqual(session.organisation.roles, ['administrator']); // by hand: groups do not take it
  });

  await t.test('a session that was revoked meanwhile links nothing', async () => {
    const other = new Visitor(here.url);
    await other.signIn('admin');
    const { url } = await other.call('linkIdentity');
    const query = await provider.visit(url, 's-jane');
    await other.call('signOut');
    await assert.rejects(
      other.call('finishProviderSignIn', { body: { query } }),
      refused('unauthorized', /session .* ended meanwhile/),
    );
  });

  await t.test('another state, another nonce, a code twice, another clock', async () => {
    const visitor = new Visitor(here.url);
    const finish = (query: string) => visitor.call('finishProviderSignIn', { body: { query } });
    const changed = async (change: (url: URL) => void) => {
      const url = new URL(await begin(visitor));
      change(url);
      return provider.visit(url.href, 's-admin');
    };
    const state = await changed((url) => url.searchParams.set('state', 'x'.repeat(43)));
    await assert.rejects(finish(state), refused('unauthorized', /another sign-in/));
    const nonce = await changed((url) => url.searchParams.set('nonce', 'x'.repeat(43)));
    await assert.rejects(finish(nonce), refused('unauthorized', /another sign-in/));
    const challenge = await changed((url) => url.searchParams.set('code_challenge', 'x'.repeat(43)));
    await assert.rejects(finish(challenge), refused('unauthorized', /does not take the code/));

    const query = await changed(() => undefined);
    const { headers } = visitor;
    visitor.took(await finish(query));
    await assert.rejects(finish(query), refused('unauthorized', /not begun in this browser/));
    const replayed = await fetch(`${here.url}/api/v1/session/provider`, {
      method: 'PUT',
      headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify({ query }),
    });
    assert.equal(replayed.status, 401);
    assert.match(((await replayed.json()) as { detail: string }).detail, /does not take the code/);

    provider.aheadMs = -2 * 3_600_000;
    const late = await changed(() => undefined);
    await assert.rejects(finish(late), refused('protocol', /does not fit this server’s clock/));
    provider.aheadMs = 0;
    const denied = `?error=access_denied&error_description=not+you&state=${new URL(await begin(visitor)).searchParams.get('state') ?? ''}&iss=${encodeURIComponent(provider.issuer)}`;
    await assert.rejects(finish(denied), refused('unauthorized', /not you/));
  });

  await t.test('groups give roles, and take them at the next sign-in', async () => {
    const jane = { name: 'jane.doe@example.com' };
    const groups = [
      { group: 'backup', organisation: 'main', roles: ['operator' as const] },
      { group: 'restore', organisation: 'main', roles: ['restorer' as const] },
      { group: 'backup', organisation: client.id, roles: ['viewer' as const] },
    ];
    await admin.call('changeIdentityProvider', { body: { ...body, admitsUnknown: true, groups } });
    const first = await signIn(here, 's-jane');
    assert.equal(first.session.user.name, 'jane.doe-example.com');
    const rolesIn = ({ session }: typeof first) =>
      Object.fromEntries(session.organisations.map(({ name, roles }) => [name, roles]));
    assert.deepEqual(rolesIn(first), { Main: ['operator'], client: ['viewer'] });
    const token = await first.visitor.call('createToken', {
      body: { name: 't', roles: ['operator'], days: 9 },
    });

    await admin.call('changeIdentityProvider', {
      body: { ...body, admitsUnknown: true, groups: groups.slice(0, 2) },
    });
    provider.people.set('s-jane', { ...jane, groups: ['backup', 'restore'] });
    assert.deepEqual(rolesIn(await signIn(here, 's-jane')), { Main: ['operator', 'restorer'] });

    provider.people.set('s-jane', { ...jane, groups: [] });
    await assert.rejects(signIn(here, 's-jane'), refused('forbidden', /in no organisation/));
    await assert.rejects(first.visitor.call('getSession'), refused('unauthorized', /./));
    const withToken = await fetch(`${here.url}/api/v1/jobs`, {
      headers: { authorization: `Bearer ${token.secret}` },
    });
    assert.equal(withToken.status, 401);

    provider.people.set('s-jane', { ...jane, groups: ['restore'] });
    assert.deepEqual(rolesIn(await signIn(here, 's-jane')), { Main: ['restorer'] });
  });

  await t.test('whoever is kept out here stays out', async () => {
    const { items } = await admin.call('listUsers');
    const id = items.find(({ name }) => name.startsWith('jane'))?.id ?? '';
    await admin.call('changeUser', { path: { id }, body: { disabled: true } });
    await assert.rejects(signIn(here, 's-jane'), refused('forbidden', /in no organisation/));
  });

  await t.test('an invitation is used through the provider, without a password', async () => {
    provider.people.set('s-max', { name: 'max', groups: [] });
    const { path } = await admin.call('inviteUser', { body: { roles: ['administrator'] } });
    const link = path.split('/link/')[1] ?? '';
    const { visitor, session } = await signIn(here, 's-max', link);
    assert.equal(session.user.name, 'max');
    await assert.rejects(begin(stranger, link), refused('not-found', /used before/));
    const [identity] = (await visitor.call('listIdentities')).items;
    await assert.rejects(
      visitor.call('unlinkIdentity', { path: { id: identity?.id ?? '' } }),
      refused('refused', /no way in/),
    );
    for (const name of ['', ' ', password])
      await assert.rejects(
        stranger.call('signIn', { body: { name: 'max', password: name } }),
        refused('unauthorized', /wrong/),
      );
    // who has no password is locked out with the provider: an administrator with one has to stay
    const me = (await admin.call('getSession')).user.id;
    await assert.rejects(
      visitor.call('changeUser', { path: { id: me }, body: { disabled: true } }),
      refused('refused', /last administrator/),
    );
  });

  await t.test('passwords open while the provider is away; nothing secret is kept in the clear', async () => {
    await admin.call('removeIdentityProvider');
    assert.deepEqual(await stranger.call('getSignInWays'), {});
    await new Visitor(here.url).signIn('admin');
    const { items } = await admin.call('listAudit', { query: { limit: 500 } });
    const said = JSON.stringify(items);
    assert.ok(!said.includes(clientSecret));
    for (const wanted of [
      'finishProviderSignIn refused',
      'finishProviderSignIn done',
      'linkIdentity done',
      'changeUser done',
    ])
      assert.ok(
        items.some(({ action, outcome }) => `${action} ${outcome}` === wanted),
        wanted,
      );
    assert.ok((await admin.call('verifyAudit')).isWhole);
  });
});

test('without its own address the server begins nothing', async (t) => {
  const world = await serverWorld(t);
  const admin = await administrator(world);
  const body = { name: 'x', issuer: 'https://idp.example', clientId };
  await assert.rejects(
    admin.call('changeIdentityProvider', { body }),
    refused('state', /start it with --public-url/),
  );
  await assert.rejects(serverWorld(t, { publicUrl: 'https://prima.example/path' }), { code: 'usage' });
});

test('a provider that says nothing is not waited for', async (t) => {
  const world = await serverWorld(t, { publicUrl });
  const admin = await administrator(world);
  const silent = createServer();
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  t.after(async () => {
    silent.closeAllConnections();
    await new Promise((resolve) => silent.close(resolve));
  });
  const issuer = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
  const body = { name: 'x', issuer, clientId };
  await assert.rejects(
    admin.call('changeIdentityProvider', { body }),
    refused('timeout', /did not answer in time/),
  );
});
