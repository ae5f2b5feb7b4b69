import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { testbedCache } from './cache-folder.ts';
import { temporaryFolder } from './test-files.ts';

test('PRIMA_CACHE comes before XDG_CACHE_HOME; the folder is made', async (t) => {
  const folder = await temporaryFolder(t);
  const [own, xdg] = [join(folder, 'own'), join(folder, 'xdg')];
  assert.equal(await testbedCache({ PRIMA_CACHE: own, XDG_CACHE_HOME: xdg }), join(own, 'testbed'));
  assert.equal(await testbedCache({ XDG_CACHE_HOME: xdg }), join(xdg, 'prima/testbed'));
  assert.ok((await stat(join(xdg, 'prima/testbed'))).isDirectory());
});
