/** A machine whose redo log fills its host's disk: QEMU stops it, and merging the log lets it go on. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { MiB } from '@prima/base';
import { openQemuHost } from '@prima/platforms';
import { buildTinyGuest, temporaryFolder, waitUntil } from '@prima/testbed';
import { createGuest, startGuest, type TestHost } from '../e2e/qemu-host-fixture.ts';
import { fill, isInNamespace, runInNamespace, smallDisk } from './small-disk.ts';

const timeoutMs = 300_000;

if (isInNamespace) test('a machine that had no room goes on when its redo log is merged', goesOn);
else test('full hosts', { timeout: timeoutMs }, () => runInNamespace(import.meta.filename, timeoutMs));

async function goesOn(t: TestContext): Promise<void> {
  const guest = await buildTinyGuest();
  const root = await smallDisk(t, 512 * MiB);
  const platform = await openQemuHost('lab', root);
  const host: TestHost = { platform, root, scratch: await temporaryFolder(t), guest };
  const machine = await startGuest(host, await createGuest(host, 'full01'));
  try {
    const look = () => platform.find('full01');
    await platform.redo?.add(machine);
    const giveBack = await fill(root);
    const stopped = await waitUntil(
      async () => {
        const found = await look();
        return found.state === 'paused' && found;
      },
      { what: 'QEMU to stop the machine', timeoutMs: 60_000 },
    );
    assert.match(stopped.notes.join('; '), /I\/O error of a disk; .*prima machine resume/);
    await giveBack();
    const result = await platform.redo?.commit(stopped);
    assert.match(result?.why.join('; ') ?? '', /because a disk had no room left; it goes on/);
    assert.equal((await look()).state, 'running');
  } finally {
    await platform.power(machine, 'kill');
  }
}
