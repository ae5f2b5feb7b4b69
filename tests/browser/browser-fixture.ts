/** The panel in Debian's Chromium. */
import assert from 'node:assert/strict';
import { AxeBuilder } from '@axe-core/playwright';
import type { Cleanup } from '@prima/testbed';
import { chromium, type Locator, type Page } from 'playwright-core';

export const password = 'correct horse battery';

/** A page of Debian's Chromium, and what went wrong in it. */
export async function browserPage(t: Cleanup): Promise<{ page: Page; wrong: string[] }> {
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-dev-shm-usage'], // tests may run as root, and in containers
  });
  t.after(() => browser.close());
  const context = await browser.newContext({
    colorScheme: 'light',
    reducedMotion: 'reduce',
    locale: 'en-GB',
  });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const wrong: string[] = [];
  page.on('pageerror', (error) => wrong.push(error.message));
  page.on('console', (message) => {
    // Chromium says 401 there too: what tells the panel that nobody is signed in
    if (message.type() === 'error' && !message.text().includes('401'))
      wrong.push(`${message.location().url}: ${message.text()}`);
  });
  return { page, wrong };
}

export async function checkAccessible(page: Page, where: string): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const grave = violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
  assert.deepEqual(grave, [], where);
}

export async function checkNarrow(page: Page, where: string): Promise<void> {
  const width: number = await page.evaluate(
    'document.documentElement.scrollWidth - document.documentElement.clientWidth',
  );
  assert.equal(width, 0, `${where} scrolls sideways by ${width} pixels`);
}

export const visit = async (page: Page, name: string): Promise<void> => {
  await page.getByRole('navigation').getByRole('link', { name, exact: true }).click();
};

/** Goes to a control as somebody without a mouse does. */
export async function tabTo(page: Page, control: Locator): Promise<void> {
  const pressesAtMost = 100;
  await control.waitFor();
  for (let presses = 0; presses < pressesAtMost; presses += 1) {
    if (await control.evaluate((element) => element === element.ownerDocument.activeElement)) return;
    await page.keyboard.press('Tab');
  }
  assert.fail(`${control.toString()} is not reached with the Tab key`);
}

/** Makes the first account with the link that the server said. */
export async function useFirstLink(page: Page, link: string | undefined): Promise<void> {
  await page.goto(link ?? '');
  await page.getByLabel('Name').fill('admin');
  await page.getByLabel(/^Password/).fill(password);
  await page.getByLabel('The password again').fill(password);
}

/** Makes a repository, and closes the words of its recovery key. */
export async function addRepository(page: Page, path: string, name = 'main'): Promise<void> {
  await visit(page, 'Repositories');
  await page.getByRole('button', { name: 'Add repository' }).first().click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Name').fill(name);
  await dialog.getByLabel('Where').fill(path);
  await dialog.getByLabel(/^Passphrase/).fill(password);
  await dialog.getByLabel('The passphrase again').fill(password);
  await checkAccessible(page, 'the form of a repository');
  await dialog.getByRole('button', { name: 'Add' }).click();
  await page.getByRole('dialog', { name: 'Write these words down' }).waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('heading', { name }).waitFor();
}
