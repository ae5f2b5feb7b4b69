/** A machine's life with Prima, typed as a person types it: nothing here but `bin/prima` and the field's tools. */
import assert from 'node:assert/strict';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { runProgram, toPrimaError } from '@prima/base';
import { parseNbdUri } from '@prima/nbd';
import { connectGuestAgent, connectQmp } from '@prima/qemu';
import { bootGuest, buildTinyGuest, runPrima, spawnPrima, temporaryFolder, waitUntil } from '@prima/testbed';

interface Point {
  id: string;
  quiesced: boolean;
  mode: string;
  disks: { name: string; changed: string; whyFull?: string }[];
}

test('from an empty folder to a machine that boots from its backup', async (t) => {
  const guest = await buildTinyGuest();
  const folder = await temporaryFolder(t);
  const at = (...names: string[]) => join(folder, ...names);
  const env = { PRIMA_HOME: at('home'), PRIMA_REPO: at('repository'), PRIMA_PASSPHRASE: 'a long passphrase' };
  const prima = async (...args: string[]): Promise<string> => {
    const { status, stdout, stderr } = await runPrima(args, { env });
    assert.equal(status, 0, `prima ${args.join(' ')}\n${stdout}\n${stderr}`);
    return stdout;
  };
  const answer = async (...args: string[]): Promise<unknown> => {
    const lines = (await prima('--json', '--quiet', ...args)).trim().split('\n');
    const last = JSON.parse(lines.at(-1) ?? '') as { type: string; result: unknown };
    assert.equal(last.type, 'result');
    return last.result;
  };
  const backup = async (...args: string[]): Promise<Point> => {
    const { results } = (await answer('backup', ...args)) as { results: [{ point: Point }] };
    return results[0].point;
  };
  const same = async (a: string, b: string) => {
    const { stdout } = await runProgram('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', a, b], {
      accept: [0, 1],
    });
    assert.match(stdout, /Images are identical/, `${a} and ${b}`);
  };
  t.after(async () => {
    await runPrima(['machine', 'stop', '--hard', 'lab/web'], { env });
  });

  const disk = at('system.raw');
  await guest.rootDisk(disk);
  await prima('init');
  await mkdir(at('machines'));
  await prima('host', 'add', 'lab', at('machines'));
  const kernel = ['--kernel', guest.kernel, '--initrd', guest.initrd];
  const append = ['--append', guest.kernelArguments({ write: true })];
  await prima(
    'machine',
    'create',
    'lab/web',
    '--memory',
    '192M',
    '--disk-copy',
    `${disk}:qcow2`,
    ...kernel,
    ...append,
  );
  await prima('machine', 'start', 'lab/web');
  const run = at('machines', 'web', '.run');
  await waitUntil(async () => (await agentAnswers(join(run, 'qga.sock'))) || undefined, {
    what: 'the agent of the machine',
    timeoutMs: 120_000,
  });

  await t.test('hot: quiesced, the restored file system needs no recovery', async () => {
    const first = await backup('lab/web');
    assert.deepEqual([first.mode, first.quiesced], ['hot', true]);
    const second = await backup('lab/web', '--tag', 'nightly');
    assert.equal(second.disks[0]?.changed, 'tracked', second.disks[0]?.whyFull ?? '');
    await prima('restore', second.id, '--to', at('hot'));
    const file = at('hot', 'disk0.raw');
    await runProgram('/sbin/e2fsck', ['-fn', file]);
    assert.doesNotMatch((await runProgram('/sbin/dumpe2fs', ['-h', file])).stdout, /needs_recovery/);
  });

  await t.test(
    'a live machine that is stopped at the snapshot: byte for byte, in every format',
    async (t) => {
      const qmp = await connectQmp(join(run, 'qmp-control.sock'));
      await qmp.execute('stop');
      await qmp.close();
      const point = await backup('lab/web');
      assert.deepEqual([point.mode, point.quiesced], ['hot', false]);
      await prima('machine', 'stop', '--hard', 'lab/web');
      const [name = ''] = (await readdir(at('machines', 'web'))).filter((entry) => entry.endsWith('.qcow2'));
      const source = at('source.raw');
      await runProgram('qemu-img', [
        'convert',
        '-f',
        'qcow2',
        '-O',
        'raw',
        at('machines', 'web', name),
        source,
      ]);
      for (const format of ['raw', 'qcow2', 'vmdk']) {
        await prima('restore', point.id, '--to', at(format), '--format', format);
        const flat = at(`${format}.flat`);
        await runProgram('qemu-img', [
          'convert',
          '-f',
          format,
          '-O',
          'raw',
          at(format, `disk0.${format}`),
          flat,
        ]);
        await same(source, flat);
      }
      await t.test('qemu-img agrees through an export', async () => {
        await using served = spawnPrima(['export', 'web@latest', '--socket', at('read.sock')], { env });
        const [uri] = await served.printed(/nbd\+unix:\S+/);
        await same(source, uri);
        served.kill('SIGINT');
        await served.result;
      });
    },
  );

  await t.test('a machine boots straight from an export, and what it writes goes with it', async (t) => {
    await using served = spawnPrima(['export', 'web@latest', '--socket', at('boot.sock'), '--writable'], {
      env,
    });
    const [uri] = await served.printed(/nbd\+unix:\S+/);
    const { exportName } = parseNbdUri(uri);
    const nbd = {
      driver: 'nbd',
      'node-name': 'd0',
      server: { type: 'unix', path: at('boot.sock') },
      export: exportName,
    };
    await using machine = await bootGuest({
      guest,
      folder: await temporaryFolder(t),
      disks: [],
      arguments: { root: '/dev/vda' },
      extraArguments: ['-blockdev', JSON.stringify(nbd), '-device', 'virtio-blk-pci,drive=d0'],
    });
    const report = await machine.verifyRecords();
    assert.ok(report.records > 0 && report.bad === 0, JSON.stringify(report));
    await machine.shell('echo written > /data/by-the-copy; sync');
    await machine.stop();
    served.kill('SIGINT');
    assert.equal((await served.result).status, 0);
    assert.deepEqual(
      (await readdir(folder)).filter((entry) => entry.endsWith('.sock')),
      [],
    );
    await prima('restore', 'web@latest', '--to', at('again'));
    await same(at('raw.flat'), at('again', 'disk0.raw'));
  });

  await t.test('retention, collection, checks', async () => {
    await prima('forget', 'web', '--keep-last', '1', '--keep-tag', 'nightly');
    assert.equal(((await answer('points')) as unknown[]).length, 2);
    await prima('collect', '--max-delete-share', '1');
    await prima('check', '--read-data');
    await prima('restore', 'web@latest', '--to', at('after'));
    await same(at('raw.flat'), at('after', 'disk0.raw'));
  });
});

async function agentAnswers(socket: string): Promise<boolean> {
  try {
    const agent = await connectGuestAgent(socket, { timeoutMs: 3000 });
    await agent.close();
    return true;
  } catch (error) {
    if (toPrimaError(error, 'asking the agent').code === 'cancelled') throw error;
    return false;
  }
}
