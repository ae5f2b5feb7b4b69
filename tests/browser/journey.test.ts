/**
 * Somebody protects a real machine with nothing but the panel: host, policy, run, live job, point, restore. With PRIMA_SCREENSHOTS, a
 * folder, each page is kept there as a picture.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { silentLogger } from '@prima/base';
import { buildPanel } from '@prima/panel/build';
import { startServer } from '@prima/server';
import { temporaryFolder, waitUntil } from '@prima/testbed';
import { createGuest, startGuest, testHost } from '../e2e/qemu-host-fixture.ts';
import {
  addRepository,
  browserPage,
  checkAccessible,
  tabTo,
  useFirstLink,
  visit,
} from './browser-fixture.ts';

const pictures = process.env['PRIMA_SCREENSHOTS'];

test('a machine is protected, backed up and restored in the panel', async (t) => {
  const host = await testHost(t);
  await startGuest(host, await createGuest(host, 'web01'));
  const home = await temporaryFolder(t);
  const panel = await buildPanel();
  const server = await startServer({ home, listen: '127.0.0.1:0', plain: true, panel, logger: silentLogger });
  t.after(() => server.close());
  const { page, wrong } = await browserPage(t);
  const picture = async (name: string) => {
    if (!pictures) return;
    await page.waitForLoadState('networkidle').catch(() => undefined); // a stream may stay open
    await page.screenshot({ path: join(pictures, `${name}.png`) });
  };
  await page.setViewportSize({ width: 1200, height: 800 });
  await useFirstLink(page, server.firstLink);
  await picture('link');
  await page.getByRole('button', { name: 'Go on' }).click();
  await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();
  await addRepository(page, join(home, 'repository'));

  await t.test('a host is added, and its machine is there', async () => {
    await visit(page, 'Hosts');
    await page.getByRole('button', { name: 'Add host' }).first().click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Name').fill('lab');
    await dialog.getByLabel('Platform').selectOption('qemu');
    await dialog.getByLabel('Folder').fill(host.root);
    await dialog.getByRole('button', { name: 'Try and add' }).click();
    await page.getByRole('heading', { name: 'lab' }).waitFor();
    await page.getByText('1 machine', { exact: false }).first().waitFor();
    await picture('hosts');
    await visit(page, 'Machines');
    await page.getByRole('link', { name: 'web01' }).waitFor();
  });

  await t.test('a policy is made and run; its job is followed to its end', async () => {
    await visit(page, 'Policies');
    await page.getByRole('button', { name: 'New policy' }).first().click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Name').fill('nightly');
    await dialog.getByText('Takes 1 machine').waitFor();
    await picture('policy-form');
    await checkAccessible(page, 'the form of a policy');
    await dialog.getByRole('button', { name: 'Make it' }).click();
    const policy = page.getByRole('region', { name: 'nightly' });
    await policy.waitFor();
    await picture('policies');
    await policy.getByRole('button', { name: 'Run now' }).click();
    await page.waitForURL(/\/jobs\/./);
    await page.getByText('succeeded').first().waitFor({ timeout: 120_000 });
    const line = page
      .getByRole('list', { name: 'Log' })
      .getByRole('listitem')
      .filter({ hasText: 'is committed' });
    const told = await line.locator('time').getAttribute('datetime');
    assert.ok(Math.abs(Date.parse(told ?? '') - Date.now()) < 600_000, `the line was told at ${told}`);
    await checkAccessible(page, 'a job');
    await picture('job');
  });

  await t.test('the machine is protected, and its point is there', async () => {
    await waitUntil(
      async () => {
        await visit(page, 'Machines');
        return (await page.getByText('protected', { exact: true }).count()) > 0;
      },
      { what: 'the machine to be shown as protected', intervalMs: 500 },
    );
    await picture('machines');
    await page.getByRole('link', { name: 'web01' }).click();
    await page.getByRole('heading', { name: 'Restore points' }).waitFor();
    await page.getByRole('table').getByText('hot').first().waitFor();
    await page.getByRole('button', { name: /^Custody of the point/ }).click();
    await page.getByText('never; a check with all data does it').waitFor();
    await page.getByText('no other repository').waitFor();
    await checkAccessible(page, 'a machine');
    await picture('machine');
  });

  await t.test('the point tells what is on its disks', async () => {
    await page.getByRole('region', { name: 'Points' }).getByRole('link').first().click();
    await page.getByRole('heading', { name: 'Disk disk0' }).waitFor();
    await page
      .getByRole('img', { name: /are data/ })
      .first()
      .waitFor();
    await page.getByRole('heading', { name: 'Files of guests' }).waitFor();
    await checkAccessible(page, 'a point');
    await picture('point');
    await page.goBack();
    await page.getByRole('heading', { name: 'Restore points' }).waitFor();
  });

  await t.test('restored as a new machine, with the keyboard alone', async () => {
    await page.keyboard.press('g');
    await page.keyboard.press('r');
    await page.getByRole('heading', { name: '1. Machine' }).waitFor();
    for (const label of ['Machine', 'Point']) {
      await tabTo(page, page.getByLabel(label, { exact: true }));
      await page.keyboard.press('ArrowDown'); // after "choose one"
    }
    await tabTo(page, page.getByLabel('A new machine on a host'));
    await page.keyboard.press('ArrowDown');
    await page.getByText('which has to be off').waitFor();
    await page.getByText('lost').waitFor();
    await page.keyboard.press('ArrowUp');
    await tabTo(page, page.getByLabel('Its name there'));
    await page.keyboard.press('ControlOrMeta+a');
    await page.keyboard.type('web02');
    await page.getByText('A new machine lab/web02 is made').waitFor();
    await picture('restore');
    await checkAccessible(page, 'the restore');
    await tabTo(page, page.getByRole('button', { name: 'Restore' }));
    await page.keyboard.press('Enter');
    await page.waitForURL(/\/jobs\/./);
    await page.getByText('succeeded').first().waitFor({ timeout: 120_000 });
    assert.equal((await host.platform.find('web02')).state, 'off');
  });

  for (const name of [
    'Overview',
    'Points',
    'Jobs',
    'Repositories',
    'Users',
    'Tokens',
    'Audit',
    'Approvals',
    'Organisations',
    'Settings',
  ]) {
    await visit(page, name);
    await page.getByRole('heading', { name, level: 1 }).waitFor();
    await picture(name.toLowerCase());
  }
  await page.emulateMedia({ colorScheme: 'dark' });
  await visit(page, 'Overview');
  await page.getByRole('meter', { name: 'age of the last good point of web01' }).waitFor();
  await picture('overview-dark');
  assert.deepEqual(wrong, []);
});
