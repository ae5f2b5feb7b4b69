/** The panel in a real browser, on a real server: the first account, each page, light and dark, wide and narrow. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { test } from 'node:test';
import { silentLogger } from '@prima/base';
import { buildPanel } from '@prima/panel/build';
import { startServer } from '@prima/server';
import { temporaryFolder } from '@prima/testbed';
import {
  addRepository,
  browserPage,
  checkAccessible,
  checkNarrow,
  password,
  useFirstLink,
  visit,
} from './browser-fixture.ts';
import { Visitor } from '../server/server-fixture.ts';

/** As the side has them, and the headings that the pages have. */
const places = [
  ['Overview', 'Overview'],
  ['Machines', 'Machines'],
  ['Restore', 'Restore'],
  ['Points', 'Points'],
  ['Policies', 'Policies'],
  ['Jobs', 'Jobs'],
  ['Repositories', 'Repositories'],
  ['Hosts', 'Hosts'],
  ['Approvals', 'Approvals'],
  ['Users', 'Users'],
  ['Tokens', 'Tokens'],
  ['Audit', 'Audit'],
  ['Organisations', 'Organisations'],
  ['Settings', 'Settings'],
] as const;

test('from the first link to every page', async (t) => {
  const home = await temporaryFolder(t);
  const panel = await buildPanel();
  const server = await startServer({ home, listen: '127.0.0.1:0', plain: true, panel, logger: silentLogger });
  t.after(() => server.close());
  const { page, wrong } = await browserPage(t);

  await page.goto(`${server.url}/jobs`);
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await checkAccessible(page, 'signing in');

  await useFirstLink(page, server.firstLink);
  await checkAccessible(page, 'the first account');
  await page.getByRole('button', { name: 'Go on' }).click();
  await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();
  await page.getByText('Three steps to the first restore point').waitFor();

  await t.test('a repository is made, and is there', async () => {
    await addRepository(page, join(home, 'repository'));
  });

  await t.test('a worker stands with the hosts', async () => {
    const visitor = new Visitor(server.url);
    await visitor.signIn('admin');
    const hosts = [{ name: 'branch', platform: 'libvirt' as const, location: 'qemu:///system' }];
    const body = { name: 'mover', version: '0.1.0', hostname: 'kvm7', atOnce: 2, hosts };
    await visitor.call('registerWorker', { path: { id: randomUUID() }, body });
    await visit(page, 'Hosts');
    const row = page.getByRole('row', { name: /^mover here / });
    await row.waitFor();
    assert.match((await row.textContent()) ?? '', /kvm7.*branch.*0 of 2/);
  });

  for (const scheme of ['light', 'dark'] as const) {
    await t.test(`each page, ${scheme}`, async () => {
      await page.emulateMedia({ colorScheme: scheme });
      for (const [name, heading] of places) {
        await visit(page, name);
        await page.getByRole('heading', { name: heading, level: 1 }).waitFor();
        await page.waitForLoadState('networkidle');
        await checkAccessible(page, `${name}, ${scheme}`);
      }
    });
  }

  await t.test('each page on a phone', async () => {
    await page.setViewportSize({ width: 390, height: 800 });
    for (const [name, heading] of places) {
      await page.getByRole('button', { name: 'Menu' }).click();
      await visit(page, name);
      await page.getByRole('heading', { name: heading, level: 1 }).waitFor();
      await page.waitForLoadState('networkidle');
      await checkNarrow(page, name);
    }
    await page.setViewportSize({ width: 1280, height: 800 });
  });

  await t.test('a worker is removed, with its hosts', async () => {
    await visit(page, 'Hosts');
    await page
      .getByRole('row', { name: /^mover / })
      .getByRole('button', { name: 'Remove' })
      .click();
    await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
    await page.getByRole('row', { name: /^mover / }).waitFor({ state: 'detached' });
    await page.getByText('There are no hosts yet').waitFor();
  });

  await t.test('the API is there to read, with nothing from elsewhere', async () => {
    const asked: string[] = [];
    page.on('request', (request) => asked.push(request.url()));
    await page.goto(`${server.url}/tokens`);
    await page.getByRole('link', { name: 'the API' }).click();
    // a document as long as this is drawn as far as it is in sight
    await page.getByPlaceholder('Filter by tag').fill('policies');
    await page
      .getByRole('button', { name: /policies.*preview/ })
      .last()
      .click();
    await page.getByText('Needs: viewer.').first().waitFor();
    assert.deepEqual(
      asked.filter((url) => !url.startsWith(server.url) && !url.startsWith('data:')),
      [],
    );
    assert.ok(asked.some((url) => url.endsWith('/api/v1/openapi.json')));
    await page.goto(server.url);
  });

  await t.test('out, not in with a wrong password, and in again where one was', async () => {
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    await page.goto(`${server.url}/hosts`);
    await page.getByLabel('Name').fill('admin');
    await page.getByLabel(/^Password/).fill('not the password');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('alert').waitFor();
    await page.getByLabel(/^Password/).fill(password);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('heading', { name: 'Hosts', level: 1 }).waitFor();
  });

  assert.deepEqual(wrong, []);
});
