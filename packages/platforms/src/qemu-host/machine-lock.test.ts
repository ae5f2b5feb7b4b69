import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { locateMachine } from './machine-folder.ts';
import { lockMachine, withMachineLock } from './machine-lock.ts';

test('one at a time, and who it is is told', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'prima-test-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await assert.rejects(locateMachine(folder), { code: 'not-found' });
  await writeFile(join(folder, 'a.vmx'), '');
  const paths = await locateMachine(folder);
  assert.equal((await locateMachine(join(folder, 'a.vmx'))).vmx, paths.vmx);
  const lock = await lockMachine(paths, { purpose: 'a test' });
  await assert.rejects(lockMachine(paths, { purpose: 'another' }), (error: Error) => {
    assert.match(error.message, new RegExp(`in use by a test \\(process ${process.pid}\\)`));
    return true;
  });
  await lock.release();
  await lock.release();
  assert.equal(await withMachineLock(paths, 'again', () => Promise.resolve(7)), 7);
  await writeFile(join(folder, 'b.vmx'), '');
  await assert.rejects(locateMachine(folder), { code: 'ambiguous' });
});
