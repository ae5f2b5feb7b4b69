/** Commands around the backups of a policy: what they are told, what their failures do, who may say them, and a server that ends in the midst. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type ApiError, resourceClient } from '@prima/api/http';
import { temporaryFolder, waitUntil } from '@prima/testbed';
import { createGuest, testHost } from '../e2e/qemu-host-fixture.ts';
import { administrator, serverWorld, Visitor } from './server-fixture.ts';

const shell = (script: string, ...args: string[]) => ['/bin/sh', '-c', script, 'sh', ...args];
const refused = (code: string) => (error: ApiError) => error.problem.code === code;

test('commands around backups', async (t) => {
  const host = await testHost(t);
  await createGuest(host, 'web');
  const world = await serverWorld(t);
  const admin = await administrator(world);
  const folder = await temporaryFolder(t);
  const note = join(folder, 'note');
  const url = join(await temporaryFolder(t), 'repository');
  await admin.call('addRepository', { body: { name: 'main', url, passphrase: 'x', create: true } });
  await admin.call('addHost', { body: { name: 'lab', platform: 'qemu', location: host.root } });
  const policy = {
    name: 'nightly',
    machines: { all: true },
    repository: 'main',
    schedule: '0 2 * * *',
    attempts: 1,
  };
  const after = {
    command: shell('echo "$PRIMA_STEP $PRIMA_OUTCOME $PRIMA_MACHINE $PRIMA_ATTEMPT" >> "$1"', note),
  };
  const { id } = await admin.call('createPolicy', { body: policy });
  const path = { id };
  /** Runs the policy with these commands; answers the ended job, what it told, and what was noted. */
  const run = async (commands: object) => {
    await writeFile(note, '');
    await admin.call('changePolicy', { path, body: { ...policy, commands } });
    const { jobs } = await admin.call('runPolicy', { path, body: {} });
    const job = await ended(admin, jobs[0] ?? '');
    const { items } = await admin.call('listJobEvents', { path: { id: job.id } });
    const said = items.map(({ event }) => (event.type === 'log' ? event.message : '')).join('\n');
    return { job, said, noted: await readFile(note, 'utf8') };
  };

  await t.test('both are run, and told what is what', async () => {
    const { job, said, noted } = await run({ before: { command: shell('env; echo ready') }, after });
    assert.equal(job.state, 'succeeded');
    assert.equal(noted, 'after succeeded lab/web 1\n');
    for (const line of [
      'PRIMA_STEP=before',
      'PRIMA_MACHINE=lab/web',
      'PRIMA_POLICY=nightly',
      `PRIMA_JOB=${job.id}`,
      'ready',
    ])
      assert.ok(said.includes(`/bin/sh: ${line}`), line);
  });

  await t.test('where the one before fails nothing is backed up, unless it was said', async () => {
    const points = async () => (await admin.call('listPoints')).items.length;
    const held = await points();
    const failed = await run({ before: { command: ['/bin/false'] }, after });
    assert.equal(failed.job.state, 'failed');
    assert.match(
      failed.job.error?.message ?? '',
      /before the backup: \/bin\/false failed with status 1.*nothing was/,
    );
    assert.equal(failed.noted, 'after failed lab/web 1\n');
    const late = await run({ before: { command: ['/bin/sleep', '1000'], seconds: 1 }, after });
    assert.match(late.job.error?.message ?? '', /did not end within 1 s/);
    assert.equal(await points(), held);
    const went = await run({
      before: { command: ['/bin/false'], goOn: true },
      after: { command: ['/bin/false'] },
    });
    assert.equal(went.job.state, 'succeeded');
    assert.match(went.said, /the backup goes on/);
    assert.match(went.said, /the command after the backup: \/bin\/false failed/);
    assert.equal(await points(), held + 1);
  });

  await t.test('cancelled, the one before ends and the one after runs', async () => {
    await writeFile(note, '');
    const before = { command: shell('echo on >> "$1"; sleep 1000', note) };
    await admin.call('changePolicy', { path, body: { ...policy, commands: { before, after } } });
    const { jobs } = await admin.call('runPolicy', { path, body: {} });
    await begun(note);
    await admin.call('cancelJob', { path: { id: jobs[0] ?? '' } });
    assert.equal((await ended(admin, jobs[0] ?? '')).state, 'cancelled');
    assert.equal(await readFile(note, 'utf8'), 'on\nafter cancelled lab/web 1\n');
  });

  await t.test('only an administrator of the first organisation says them', async () => {
    const { secret } = await admin.call('createToken', { body: { name: 'o', roles: ['operator'], days: 1 } });
    const operator = resourceClient({
      origin: world.server.url,
      headers: () => ({ authorization: `Bearer ${secret}` }),
    });
    const commands = { before: { command: ['/bin/true'], seconds: 600, goOn: false } };
    await admin.call('changePolicy', { path, body: { ...policy, commands } });
    const change = (body: object) => operator('changePolicy', { path, body: { ...policy, ...body } });
    await assert.rejects(change({}), refused('forbidden'));
    await assert.rejects(change({ commands: { before: { command: ['/bin/false'] } } }), refused('forbidden'));
    assert.equal((await change({ commands, promiseHours: 9 })).promiseHours, 9);
    await assert.rejects(
      operator('createPolicy', { body: { ...policy, name: 'other', commands } }),
      refused('forbidden'),
    );
    const client = await admin.call('createOrganisation', { body: { name: 'client' } });
    const other = new Visitor(world.server.url);
    await other.signIn('admin');
    other.took(await other.call('chooseOrganisation', { body: { id: client.id } }));
    const { path: link } = await other.call('inviteUser', { body: { roles: ['administrator'] } });
    const tenant = new Visitor(world.server.url);
    await tenant.useLink(link, 'tenant');
    await assert.rejects(
      tenant.call('createPolicy', { body: { ...policy, commands } }),
      refused('forbidden'),
    );
    await assert.rejects(
      admin.call('changePolicy', { path, body: { ...policy, commands: { after: { command: ['true'] } } } }),
      refused('usage'),
    );
  });

  await t.test('a server that ends in the midst runs the one after, and all of it again', async () => {
    await writeFile(note, '');
    const first = join(folder, 'first');
    const script = 'echo on >> "$1"; test -e "$2" && exit 0; : > "$2"; echo $$ > "$3"; sleep 1000';
    const pid = join(folder, 'pid');
    const before = { command: shell(script, note, first, pid) };
    await admin.call('changePolicy', { path, body: { ...policy, commands: { before, after } } });
    const { jobs } = await admin.call('runPolicy', { path, body: {} });
    await begun(pid);
    await world.restart();
    const left = Number(await readFile(pid, 'utf8'));
    assert.throws(() => process.kill(left, 0), { code: 'ESRCH' });
    const back = new Visitor(world.server.url);
    await back.signIn('admin');
    assert.equal((await ended(back, jobs[0] ?? '')).state, 'succeeded');
    const said = 'on\nafter interrupted lab/web 1\non\nafter succeeded lab/web 2\n';
    assert.equal(await readFile(note, 'utf8'), said);
  });
});

const ended = (by: Visitor, id: string) =>
  waitUntil(
    async () => {
      const job = await by.call('getJob', { path: { id } });
      return job.ended !== undefined && job;
    },
    { what: 'the job to end' },
  );

const begun = (file: string) =>
  waitUntil(async () => (await readFile(file, 'utf8').catch(() => '')) !== '', {
    what: 'the command to run',
  });
