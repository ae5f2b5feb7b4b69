/** The guest agent's client against a real agent in a real guest. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { connectUnix, PrimaError } from '@prima/base';
import { connectGuestAgent } from '@prima/qemu';
import { bootGuest, buildTinyGuest, temporaryFolder } from '@prima/testbed';

async function failureOf(promise: Promise<unknown>): Promise<PrimaError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof PrimaError, `a PrimaError was wanted: ${String(error)}`);
  return error;
}

test('an agent that others left in the middle of a sentence', async (t) => {
  const guest = await buildTinyGuest();
  const folder = await temporaryFolder(t);
  const disk = join(folder, 'root.raw');
  await guest.rootDisk(disk);
  await using machine = await bootGuest({ guest, folder, disks: [{ path: disk }] });
  const path = join(folder, 'agent');

  // the channel serves one at a time: a second client waits without an answer
  const second = await failureOf(connectGuestAgent(path, { timeoutMs: 300 }));
  assert.equal(second.code, 'timeout');
  assert.match(second.message, /does not answer/);
  await machine.agent.close();

  for (const rest of ['{"execute": "guest-in', '{"execute": "guest-info"}\n'.repeat(3), '{"a"]]\n\u0000{{']) {
    const rude = await connectUnix(path);
    await new Promise((resolve) => rude.write(rest, resolve));
    rude.destroy();
    const polite = await connectGuestAgent(path, { timeoutMs: 30_000 });
    const info = await polite.info();
    assert.ok(info.commands.includes('guest-fsfreeze-freeze'), rest);
    await polite.close();
  }

  const agent = await connectGuestAgent(path, { timeoutMs: 30_000 });
  const result = await agent.exec('/bin/sh', ['-c', 'cat; echo problem >&2; exit 7'], { input: 'in ü\n' });
  assert.deepEqual(result, { status: 7, stdout: 'in ü\n', stderr: 'problem\n' });
  assert.equal((await agent.exec('/bin/sh', ['-c', 'kill -9 $$'])).status, 137);
  assert.equal((await failureOf(agent.exec('/bin/sleep', ['60'], { timeoutMs: 500 }))).code, 'timeout');
  assert.equal((await failureOf(agent.execute('guest-no-such'))).details.class, 'CommandNotFound');
  assert.ok((await agent.osInfo()).kernelRelease);

  assert.ok((await agent.freeze()) >= 1);
  assert.equal(await agent.freezeStatus(), 'frozen');
  assert.equal((await failureOf(agent.exec('/bin/true'))).code, 'remote'); // not while frozen
  assert.ok((await agent.thaw()) >= 1);
  assert.equal(await agent.freezeStatus(), 'thawed');
  await agent.thaw();

  // a freeze that is cancelled at once ends thawed
  const cancel = new AbortController();
  const freezing = failureOf(agent.freeze(60_000, cancel.signal));
  cancel.abort();
  assert.equal((await freezing).code, 'cancelled');
  assert.equal(await agent.freezeStatus(), 'thawed');
  await agent.close();
});
