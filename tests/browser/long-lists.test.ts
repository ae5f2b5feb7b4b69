/** Lists of 1,000 machines and 100,000 points: what is asked of the server and drawn is what is in sight, however far one scrolls. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { silentLogger } from '@prima/base';
import { buildPanel } from '@prima/panel/build';
import { startServer } from '@prima/server';
import { temporaryFolder, waitUntil } from '@prima/testbed';
import { fillState } from '../server/many-rows-fixture.ts';
import { browserPage, checkAccessible, useFirstLink, visit } from './browser-fixture.ts';

/** A screen of them, and what is drawn beyond its edges so that none is missing while one scrolls. */
const rowsAtMost = 60;
const rowsOfPage = 100;

test('long lists', async (t) => {
  const home = await temporaryFolder(t);
  const panel = await buildPanel();
  const server = await startServer({ home, listen: '127.0.0.1:0', plain: true, panel, logger: silentLogger });
  t.after(() => server.close());
  fillState(join(home, 'server.sqlite'), { machines: 1000, points: 100_000 });
  const { page, wrong } = await browserPage(t);
  const asked: string[] = [];
  page.on('request', (request) => {
    const { pathname, search } = new URL(request.url());
    if (/^\/api\/v1\/(machines|points)$/.test(pathname)) asked.push(search);
  });
  const table = page.getByRole('table');
  const rows = () => table.getByRole('row').count();
  const scroll = (to: 'end' | 'beginning') =>
    table.evaluate((grid, end) => grid.scrollTo(0, end ? grid.scrollHeight : 0), to === 'end');
  const told = (text: string) => page.getByRole('status').filter({ hasText: text }).waitFor();
  const readTo = async (count: number, of = '') => {
    for (let loaded = rowsOfPage; loaded < count; loaded += rowsOfPage) {
      await scroll('end');
      await told(`${(loaded + rowsOfPage).toLocaleString('en')}${of}`);
      assert.ok((await rows()) <= rowsAtMost);
    }
  };
  await useFirstLink(page, server.firstLink);
  await page.getByRole('button', { name: 'Go on' }).click();
  await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();

  await t.test('machines: one page at first, all of them at the end of the list', async () => {
    asked.length = 0;
    await visit(page, 'Machines');
    await told('100 of 1,000');
    assert.equal(asked.length, 1);
    assert.ok((await rows()) <= rowsAtMost);
    await readTo(1000, ' of 1,000');
    assert.equal(asked.length, 10);
    await scroll('end');
    await page.getByRole('link', { name: 'vm0999' }).waitFor();
    assert.equal(await page.getByRole('link', { name: 'vm0000' }).count(), 0);
    assert.equal(await table.getAttribute('aria-rowcount'), '1000');
    await checkAccessible(page, 'the end of a long list');
    await scroll('beginning');
    await page.getByRole('link', { name: 'vm0000' }).waitFor();
    assert.equal(asked.length, 10);
  });

  await t.test('a filter asks once, and what was typed before is not asked for', async () => {
    asked.length = 0;
    await page.getByLabel('Search').fill('vm05');
    await page.getByLabel('Search').fill('vm0512');
    await told('1 of 1');
    await page.getByRole('link', { name: 'vm0512' }).waitFor();
    assert.deepEqual(asked, ['?q=vm0512']);
    await page.getByLabel('Search').fill('');
    await told('1,000 of 1,000');
  });

  await t.test('points: 1,000 of 100,000 are read as one scrolls to them, and no more', async () => {
    asked.length = 0;
    await visit(page, 'Points');
    await told('100 so far');
    assert.equal(asked.length, 1);
    await readTo(1000, ' so far');
    assert.equal(asked.length, 10);
    await page.getByLabel('Search').fill('vm0007');
    await waitUntil(async () => (await page.getByRole('link', { name: /\/vm0007$/ }).count()) > 10, {
      what: 'the points of one machine',
    });
    assert.deepEqual(asked.slice(10), ['?q=vm0007']);
    assert.ok((await rows()) <= rowsAtMost);
  });

  assert.deepEqual(wrong, []);
});
