import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SFTPWrapper } from 'ssh2';
import { SftpLinks } from './links.ts';
import { type Answer, SftpSession, Status } from './session.ts';

const refusal = (status: number) => Object.assign(new Error('no'), { code: status });

/** A server that answers links with what `answers` has next, success when it has no more, and has `free` bytes. */
function server({ free, answers }: { free: number; answers: number[] }) {
  const sftp = {
    ext_openssh_hardlink: (_from: string, _to: string, answer: Answer<void>) => {
      const status = answers.shift();
      answer(status === undefined ? undefined : refusal(status));
    },
    stat: (_path: string, answer: Answer<never>) => answer(refusal(Status.NO_SUCH_FILE)),
    ext_openssh_statvfs: (_path: string, answer: Answer<object>) =>
      answer(undefined, { f_bavail: free, f_frsize: 1 }),
  };
  const connection = {
    sftp: sftp as unknown as SFTPWrapper,
    onLost: () => undefined,
    destroy: () => undefined,
  };
  return {
    session: new SftpSession(connection, { timeoutMs: 60_000, url: 'sftp://h/x' }),
    doing: 'storing a',
  };
}

const link = { root: '/x', temporary: '/x/.tmp', path: '/x/a', bytes: 1000 };
const twice = (status: number) => [status, status];

test('a link that fails on a full disk is no missing feature', async () => {
  const call = server({ free: 10, answers: twice(Status.FAILURE) });
  await assert.rejects(new SftpLinks().link(call, link), { code: 'no-space', message: /10 are free/ });
});

test('a folder that is gone is told as such', async () => {
  const call = server({ free: 1e9, answers: twice(Status.NO_SUCH_FILE) });
  await assert.rejects(new SftpLinks().link(call, link), { code: 'not-found' });
});

test('where no link was ever made the file system may know none', async () => {
  for (const status of [Status.FAILURE, Status.PERMISSION_DENIED, Status.OP_UNSUPPORTED]) {
    const call = server({ free: 1e9, answers: twice(status) });
    await assert.rejects(new SftpLinks().link(call, link), {
      code: 'unsupported',
      message: /knows hard links/,
    });
  }
});

test('where links were made a failure is only a failure', async () => {
  const links = new SftpLinks();
  const call = server({ free: 1e9, answers: [] });
  assert.equal(await links.link(call, link), 'created');
  const failing = server({ free: 1e9, answers: twice(Status.FAILURE) });
  await assert.rejects(links.link(failing, link), {
    code: 'io',
    message: /storing a: the server answers "no"/,
  });
});

test('a name that was taken only just before is tried once more', async () => {
  const call = server({ free: 1e9, answers: [Status.FAILURE] });
  assert.equal(await new SftpLinks().link(call, link), 'created');
});
