/** A policy is made with the keyboard alone; what is wrong is told at its field, what it would do before it is kept. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { silentLogger } from '@prima/base';
import { buildPanel } from '@prima/panel/build';
import { startServer } from '@prima/server';
import { temporaryFolder } from '@prima/testbed';
import { fillState } from '../server/many-rows-fixture.ts';
import { addRepository, browserPage, checkAccessible, tabTo, useFirstLink } from './browser-fixture.ts';

test('the form of a policy', async (t) => {
  const home = await temporaryFolder(t);
  const panel = await buildPanel();
  const server = await startServer({ home, listen: '127.0.0.1:0', plain: true, panel, logger: silentLogger });
  t.after(() => server.close());
  fillState(join(home, 'server.sqlite'), { machines: 40, points: 0 });
  const { page, wrong } = await browserPage(t);
  await useFirstLink(page, server.firstLink);
  await page.getByRole('button', { name: 'Go on' }).click();
  await addRepository(page, join(home, 'repository'), 'second');

  await page.keyboard.press('g');
  await page.keyboard.press('l');
  await tabTo(page, page.getByRole('button', { name: 'New policy' }));
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog');
  const preview = dialog.getByRole('region', { name: 'Preview' });
  const field = (label: string) => dialog.getByLabel(new RegExp(`^${label}( \\*)?$`)); // what is required has a star
  const fill = async (label: string, text: string) => {
    await tabTo(page, field(label));
    await page.keyboard.press('ControlOrMeta+a');
    await page.keyboard.type(text);
  };
  await preview.getByText('Takes 40 machines').waitFor();

  await t.test('what it would do is told while it is typed', async () => {
    await fill('Name', 'web');
    await tabTo(page, field('All machines'));
    await page.keyboard.press('Space');
    await fill('Machines', 'host1/*\nnone*');
    await fill('Except', 'vm0001');
    await preview.getByText('Takes 1 machine:').waitFor();
    await preview.getByText('host1/vm0021').waitFor();
    await preview.getByText('Fits no machine: none*').waitFor();
  });

  await t.test('what is wrong is told at its field, before and after it is sent', async () => {
    await fill('Schedule', '99 * * * *');
    await page.getByLabel('Schedule').and(page.locator('[aria-invalid="true"]')).waitFor();
    await checkAccessible(page, 'the form of a policy with an error');
    await fill('Schedule', '30 20 * * 1-5');
    await fill('Time zone', 'Europe/Berlin');
    await preview.getByText('at 20:30 on Monday to Friday').waitFor();
    await preview.getByRole('listitem').filter({ hasText: '20:30:00' }).nth(4).waitFor();
    await tabTo(page, field('Begins from'));
    await page.keyboard.type('23:30');
    await tabTo(page, dialog.getByRole('button', { name: 'Make it' }));
    await page.keyboard.press('Enter');
    await dialog.getByRole('alert').waitFor();
    const until = field('Begins until');
    assert.equal(await until.getAttribute('aria-invalid'), 'true');
    assert.ok(await until.evaluate((element) => element === element.ownerDocument.activeElement));
    await page.keyboard.type('04:00');
    await preview
      .getByText(/20:30:00.*begins.*23:30:00/)
      .first()
      .waitFor();
  });

  await t.test('all of it is kept, and is there when it is changed', async () => {
    const second = field('Copy to a second');
    await tabTo(page, second);
    await page.keyboard.type('main');
    await fill('Lock, in days', '14');
    await fill('At once on a host', '5');
    await fill('Attempts at most', '7');
    await tabTo(page, field('Leave out the free space of file systems'));
    await page.keyboard.press('Space');
    await fill('hourly', '24');
    await tabTo(page, dialog.getByRole('button', { name: 'Make it' }));
    await page.keyboard.press('Enter');
    await dialog.getByText('the second repository is another than the first').first().waitFor();
    assert.equal(await second.getAttribute('aria-invalid'), 'true');
    await page.keyboard.type('second');
    await tabTo(page, dialog.getByRole('button', { name: 'Make it' }));
    await page.keyboard.press('Enter');
    const made = page.getByRole('region', { name: 'web' });
    await made.waitFor();
    await tabTo(page, made.getByRole('button', { name: 'Change' }));
    await page.keyboard.press('Enter');
    for (const [label, value] of [
      ['Machines', 'host1/*\nnone*'],
      ['Except', 'vm0001'],
      ['Begins from', '23:30'],
      ['Begins until', '04:00'],
      ['Copy to a second', 'second'],
      ['Lock, in days', '14'],
      ['At once on a host', '5'],
      ['Attempts at most', '7'],
      ['hourly', '24'],
    ] as const)
      assert.equal(await field(label).inputValue(), value, label);
    assert.ok(await field('Leave out the free space of file systems').isChecked());
  });

  // the browser says each refused request there
  assert.deepEqual(
    wrong.filter((message) => !/status of (400|404)/.test(message)),
    [],
  );
});
