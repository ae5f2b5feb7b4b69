/** People in the panel: what roles below administrator are offered, and how one signs in with a second factor. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Role } from '@prima/api/http';
import { silentLogger } from '@prima/base';
import { buildPanel } from '@prima/panel/build';
import { type RunningServer, startServer } from '@prima/server';
import { type Cleanup, temporaryFolder, waitUntil } from '@prima/testbed';
import { TOTP } from 'otpauth';
import type { Page } from 'playwright-core';
import { fillState } from '../server/many-rows-fixture.ts';
import { Visitor } from '../server/server-fixture.ts';
import { browserPage, checkAccessible, password, visit } from './browser-fixture.ts';

interface World {
  server: RunningServer;
  admin: Visitor;
}

/** A server with machines, points, a policy, and a job that has failed. */
async function world(t: Cleanup): Promise<World> {
  const home = await temporaryFolder(t);
  const panel = await buildPanel();
  const server = await startServer({ home, listen: '127.0.0.1:0', plain: true, panel, logger: silentLogger });
  t.after(() => server.close());
  fillState(join(home, 'server.sqlite'), { machines: 40, points: 200 });
  const admin = new Visitor(server.url);
  await admin.useLink(server.firstLink ?? '', 'admin');
  const { id } = await admin.call('createPolicy', {
    body: {
      name: 'nightly',
      machines: { all: true },
      repository: 'main',
      schedule: '0 2 * * *',
      attempts: 1,
    },
  });
  const { jobs } = await admin.call('runPolicy', { path: { id }, body: { machines: ['host0/vm0000'] } });
  await waitUntil(async () => (await admin.call('getJob', { path: { id: jobs[0] ?? '' } })).ended, {
    what: 'the job to fail',
  });
  return { server, admin };
}

async function invite({ server, admin }: World, name: string, roles: Role[]): Promise<void> {
  const { path } = await admin.call('inviteUser', { body: { roles } });
  await new Visitor(server.url).useLink(path, name);
}

async function signIn(page: Page, { server }: World, name: string): Promise<void> {
  await page.goto(`${server.url}/sign-in`);
  await page.getByLabel('Name').fill(name);
  await page.getByLabel(/^Password/).fill(password);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
}

async function signOut(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
}

/** Each page of the side, and a page of each kind that these lead to. */
async function buttonsOn(page: Page): Promise<Map<string, string[]>> {
  const buttons = new Map<string, string[]>();
  const look = async (name: string) => {
    await page.waitForLoadState('networkidle');
    const found = await page.getByRole('main').getByRole('button').all();
    const names = await Promise.all(
      found.map(async (button) => (await button.getAttribute('aria-label')) ?? (await button.innerText())),
    );
    buttons.set(name, [...new Set(names)].sort());
  };
  const places = await page.getByRole('navigation').getByRole('link').allInnerTexts();
  for (const name of places) {
    await visit(page, name);
    await page.getByRole('heading', { name, level: 1 }).waitFor();
    await look(name);
    const inner = { Machines: /^vm0000$/, Jobs: /back up host0/ }[name];
    if (!inner) continue;
    await page.getByRole('link', { name: inner }).first().click();
    await page.getByRole('heading', { name: 'Facts' }).waitFor();
    await look(`one of ${name}`);
  }
  return buttons;
}

/** What everybody has: one's own account, looking, what is read anew. */
const ofEverybody =
  /^(Custody of the point of .*|New token|Change|Turn it on|End|End all others|Unlink|Toggle password visibility|Refresh|Look now|Try again)$/;

/** The status of a request that the page sends for the person who is signed in. */
function sent(page: Page, path: string, body: object): Promise<number> {
  const send = async ([to, what]: [string, object]) => {
    const { csrf } = (await (await fetch('/api/v1/session')).json()) as { csrf: string };
    const response = await fetch(to, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-prima-csrf': csrf },
      body: JSON.stringify(what),
    });
    return response.status;
  };
  return page.evaluate(send, [`/api/v1${path}`, body] as [string, object]);
}

test('what one may not do is not offered, and refused all the same', async (t) => {
  const at = await world(t);
  const { page, wrong } = await browserPage(t);
  const may: Partial<Record<Role, { on: string; button: string }[]>> = {
    viewer: [],
    operator: [
      { on: 'Policies', button: 'New policy' },
      { on: 'one of Machines', button: 'Back up now' },
      { on: 'one of Jobs', button: 'Try again' },
    ],
    restorer: [{ on: 'one of Machines', button: 'Restore' }],
    implementer: [{ on: 'Hosts', button: 'Add host' }],
  };
  const { items: policies } = await at.admin.call('listPolicies');
  const changes: [path: string, body: object, role: Role][] = [
    [`/policies/${policies[0]?.id}/run`, { machines: ['none/none'] }, 'operator'],
    ['/hosts/none/test', {}, 'implementer'],
    ['/users', { roles: ['viewer'] }, 'administrator'],
    ['/operations/restoreToHost?repository=main', { point: 'none', host: 'none', as: 'x' }, 'restorer'],
  ];
  const offered = Object.values(may).flatMap((of) => of.map(({ button }) => button));

  for (const role of Object.keys(may) as Role[])
    await t.test(role, async () => {
      await invite(at, role, [role]);
      await signIn(page, at, role);
      await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();
      const buttons = await buttonsOn(page);
      for (const { on, button } of may[role] ?? []) assert.ok(buttons.get(on)?.includes(button), button);
      const own = (may[role] ?? []).map(({ button }) => button);
      for (const [where, names] of buttons)
        for (const name of names)
          if (offered.includes(name) && name !== 'Try again')
            assert.ok(own.includes(name), `${name} on ${where}`);
      if (role === 'viewer')
        for (const [where, names] of buttons)
          assert.deepEqual(
            names.filter(
              (name) => !ofEverybody.test(name) || (where === 'one of Jobs' && name === 'Try again'),
            ),
            [],
            where,
          );
      const places = await page.getByRole('navigation').getByRole('link').allInnerTexts();
      assert.equal(places.includes('Restore'), role === 'restorer');
      for (const name of ['Users', 'Audit', 'Organisations']) assert.ok(!places.includes(name), name);
      for (const [path, body, needed] of changes)
        assert.equal((await sent(page, path, body)) === 403, needed !== role, `${path} by ${role}`);
      await signOut(page);
    });

  // the browser says each refused request there
  const told = wrong.filter((message) => !/status of (400|403|404|409)/.test(message));
  assert.deepEqual(told, []);
});

test('a second factor is turned on, asked for, and turned off', async (t) => {
  const at = await world(t);
  const { page, wrong } = await browserPage(t);
  await signIn(page, at, 'admin');
  await visit(page, 'Settings');
  const section = page.getByRole('region', { name: 'Your second factor' });
  await section.getByRole('button', { name: 'Turn it on' }).click();
  await section.getByRole('img').waitFor();
  const secret = (await section.locator('.mono').innerText()).trim();
  // each counts once; the step after is taken, too
  const code = (steps: number) => new TOTP({ secret }).generate({ timestamp: Date.now() + steps * 30_000 });
  await checkAccessible(page, 'the second factor');
  const field = page.getByLabel('Code of the authenticator');
  await field.fill('000000');
  await section.getByRole('button', { name: 'Turn it on' }).click();
  await section.getByRole('alert').waitFor();
  await field.fill(code(0));
  await section.getByRole('button', { name: 'Turn it on' }).click();
  await section.getByText('It is on.').waitFor();
  await signOut(page);

  await t.test('a password alone opens nothing', async () => {
    await signIn(page, at, 'admin');
    await field.waitFor();
    await checkAccessible(page, 'signing in with a code');
    await field.fill('000000');
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await page.getByRole('alert').waitFor();
    await page.goto(`${at.server.url}/users`);
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  });

  await t.test('with the code of the authenticator one is in', async () => {
    await signIn(page, at, 'admin');
    await field.fill(code(1));
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();
    await visit(page, 'Settings');
    await section.getByText('It is on.').waitFor();
    await visit(page, 'Users');
    await page.getByRole('cell', { name: 'on', exact: true }).waitFor();
  });

  // the browser says the refused codes there
  assert.deepEqual(
    wrong.filter((message) => !/status of 400/.test(message)),
    [],
  );
});
