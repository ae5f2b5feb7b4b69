/** The panel in a real browser, on a real server: the first account, each page, light and dark, wide and narrow. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { AxeBuilder } from '@axe-core/playwright';
import { silentLogger } from '@prima/base';
import { buildPanel } from '@prima/panel/build';
import { startServer } from '@prima/server';
import { temporaryFolder } from '@prima/testbed';
import { chromium, type Page } from 'playwright-core';

const password = 'correct horse battery';
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

/** A page of Debian's Chromium, and what went wrong in it. */
async function browserPage(t: TestContext): Promise<{ page: Page; wrong: string[] }> {
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-dev-shm-usage'], // tests may run as root, and in containers
  });
  t.after(() => browser.close());
  const context = await browser.newContext({ colorScheme: 'light', reducedMotion: 'reduce' });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const wrong: string[] = [];
  page.on('pageerror', (error) => wrong.push(error.message));
  page.on('console', (message) => {
    // Chromium says 401 there too: what tells the panel that nobody is signed in
    if (message.type() === 'error' && !message.text().includes('401'))
      wrong.push(`${message.location().url}: ${message.text()}`);
  });
  return { page, wrong };
}

async function checkAccessible(page: Page, where: string): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const grave = violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
  assert.deepEqual(grave, [], where);
}

async function checkNarrow(page: Page, where: string): Promise<void> {
  const width: number = await page.evaluate(
    'document.documentElement.scrollWidth - document.documentElement.clientWidth',
  );
  assert.equal(width, 0, `${where} scrolls sideways by ${width} pixels`);
}

const visit = async (page: Page, name: string): Promise<void> => {
  await page.getByRole('navigation').getByRole('link', { name, exact: true }).click();
};

test('from the first link to every page', async (t) => {
  const home = await temporaryFolder(t);
  const panel = await buildPanel();
  const server = await startServer({ home, listen: '127.0.0.1:0', plain: true, panel, logger: silentLogger });
  t.after(() => server.close());
  const { page, wrong } = await browserPage(t);

  await page.goto(`${server.url}/jobs`);
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await checkAccessible(page, 'signing in');

  await page.goto(server.firstLink ?? '');
  await page.getByLabel('Name').fill('admin');
  await page.getByLabel(/^Password/).fill(password);
  await page.getByLabel('The password again').fill(password);
  await checkAccessible(page, 'the first account');
  await page.getByRole('button', { name: 'Go on' }).click();
  await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();
  await page.getByText('Three steps to the first restore point').waitFor();

  await t.test('a repository is made, and is there', async () => {
    await visit(page, 'Repositories');
    await page.getByRole('button', { name: 'Add repository' }).first().click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Name').fill('main');
    await dialog.getByLabel('Where').fill(join(home, 'repository'));
    await dialog.getByLabel(/^Passphrase/).fill(password);
    await dialog.getByLabel('The passphrase again').fill(password);
    await checkAccessible(page, 'the form of a repository');
    await dialog.getByRole('button', { name: 'Add' }).click();
    await page.getByRole('dialog', { name: 'Write these words down' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('heading', { name: 'main' }).waitFor();
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
