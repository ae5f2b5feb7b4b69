import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLogger, PrimaError } from '@prima/base';
import { type BlockDevice, memoryDevice } from '@prima/block';
import type { MachineDisk, OpenForBackupOptions } from '@prima/platforms';
import { fakeRepository } from '../fake-repository-fixture.ts';
import { backup } from './backup.ts';
import type { BackupSource, SourceReading } from './source.ts';

const size = 64 * 1024;

function disk(name: string, slot: string): MachineDisk {
  return { name, slot, path: `/srv/${name}.qcow2`, format: 'qcow2', size };
}

async function deviceWith(bytes: string, deviceSize = size): Promise<BlockDevice> {
  const device = memoryDevice(deviceSize);
  await device.write(0, Buffer.from(bytes));
  return device;
}

/** A machine whose reading logs what happens to it; `more` changes the reading. */
function fakeSource(log: string[], more: (since: unknown) => Promise<Partial<SourceReading>>) {
  const opened: OpenForBackupOptions[] = [];
  const source: BackupSource = {
    machine: { id: 'uuid-1', name: 'web01', host: 'lab' },
    open: async (options) => {
      opened.push(options);
      log.push('open');
      return {
        mode: 'hot',
        quiesced: true,
        why: ['running, so hot'],
        pointInTime: Date.UTC(2026, 0, opened.length),
        frozenMs: 4,
        disks: [],
        skipped: [],
        files: [{ name: 'web01.vmx', bytes: Buffer.from('x') }],
        checkpoint: { platform: 'fake', version: 1, number: opened.length },
        succeed: async () => void log.push('succeed'),
        close: async () => void log.push('close'),
        ...(await more(options.since)),
      };
    },
  };
  return { source, opened };
}

test('the disks and the memory are read no faster than is allowed; the session is told its rate', async () => {
  const repository = fakeRepository();
  let waited = 0;
  const clock = {
    now: () => Date.UTC(2026, 0, 1) + waited,
    monotonic: () => waited,
    sleep: async (ms: number) => {
      waited += ms;
    },
  };
  const { source } = fakeSource(repository.log, async () => ({
    mode: 'warm',
    disks: [
      { disk: disk('disk0', 'scsi0:0'), device: await deviceWith('a'.repeat(size)) },
      { disk: disk('disk1', 'scsi0:1'), device: await deviceWith('b'.repeat(size)) },
    ],
    memory: await deviceWith('m'.repeat(size)),
  }));
  await backup(repository, source, { clock, limits: { read: size, store: 5 * size } });
  assert.ok(waited > 2500 && waited <= 3000, `${waited}`); // three times what a second allows
  assert.deepEqual(repository.storeRates, [5 * size]);
  const before = waited;
  await backup(repository, source, { clock });
  assert.equal(waited, before);
});

test('a first backup reads everything, the next what changed, from the point before', async () => {
  const repository = fakeRepository();
  let round = 0;
  const { source, opened } = fakeSource(repository.log, async (since) => {
    round += 1;
    const device = await deviceWith(`round ${round}`);
    const changed = since ? [{ offset: 0, length: 4096 }] : undefined;
    return { disks: [{ disk: disk('disk0', 'scsi0:0'), device, changed }] };
  });
  const first = await backup(repository, source, { name: 'before patch', tags: ['a'] });
  assert.deepEqual(repository.log, ['begin', 'open', 'write disk0', 'commit', 'succeed', 'close']);
  assert.partialDeepStrictEqual(first.point, {
    machine: { id: 'uuid-1', name: 'web01', host: 'lab' },
    time: '2026-01-01T00:00:00.000Z',
    mode: 'hot',
    quiesced: true,
    name: 'before patch',
    tags: ['a'],
    notes: ['running, so hot'],
    frozenMs: 4,
    disks: [{ name: 'disk0', slot: 'scsi0:0', format: 'qcow2', changed: 'all' }],
  });
  assert.equal(first.point.disks[0]?.whyFull, undefined);
  const { point } = await backup(repository, source);
  assert.equal(opened[0]?.since, undefined);
  assert.equal(opened[1]?.owner, repository.id);
  assert.deepEqual(opened[1]?.since, { platform: 'fake', version: 1, number: 1 });
  assert.equal(point.parent, first.point.id);
  assert.partialDeepStrictEqual(point.disks[0], { changed: 'tracked', figures: { read: 4096 } });
  assert.deepEqual(repository.requests[1]?.parent?.root, first.point.disks[0]?.root);
  assert.equal(repository.requests[1]?.parent?.point, first.point.id);
});

test('why everything is read is on the point, disk by disk', async () => {
  const repository = fakeRepository();
  const tracked = [{ offset: 0, length: 512 }];
  let round = 0;
  const { source } = fakeSource(repository.log, async () => {
    round += 1;
    const disks = [
      {
        disk: disk('disk0', 'scsi0:0'),
        device: await deviceWith('a', round === 2 ? 2 * size : size),
        changed: tracked,
      },
      {
        disk: disk('disk1', 'scsi0:1'),
        device: await deviceWith('b'),
        whyFull: 'the bitmap is inconsistent',
      },
      { disk: disk('disk2', 'scsi0:2'), device: await deviceWith('c'), changed: tracked },
    ];
    return { disks: round === 1 ? disks.slice(0, 2) : disks };
  });
  await backup(repository, source);
  const { point } = await backup(repository, source);
  assert.match(point.disks[0]?.whyFull ?? '', /had 65536 bytes before and has 131072/);
  assert.equal(point.disks[1]?.whyFull, 'the bitmap is inconsistent');
  assert.match(point.disks[2]?.whyFull ?? '', /has no disk2/);
  const full = await backup(repository, source, { full: true });
  assert.ok(full.point.disks.every((d) => d.changed === 'all' && d.whyFull === 'asked for'));
});

test('skipped disks, memory and a fault of tracking are said on the point', async () => {
  const repository = fakeRepository();
  const said: string[] = [];
  const logger = createLogger((event) => said.push(`${event.level} ${event.message}`));
  const { source } = fakeSource(repository.log, async (since) => ({
    mode: 'warm',
    memory: await deviceWith('m'.repeat(size)),
    disks: [
      {
        disk: disk('disk0', 'scsi0:0'),
        device: await deviceWith('a'),
        ...(since ? { changed: [{ offset: 512, length: 512 }] } : {}),
      },
    ],
    skipped: [{ disk: disk('disk1', 'scsi0:1'), why: 'a raw device in physical mode' }],
  }));
  const { point } = await backup(repository, source, { logger });
  assert.deepEqual(point.skipped, [{ name: 'disk1', why: 'a raw device in physical mode' }]);
  assert.match(point.warnings.join(), /disk1 is not in this point/);
  assert.equal(point.memory?.name, 'memory');
  repository.trackingFault = { offset: 1024 };
  const { point: second } = await backup(repository, source, { logger });
  assert.partialDeepStrictEqual(second.disks[0], { changed: 'all' });
  assert.match(second.warnings.join(), /first at 1024.*this point is right/);
  assert.match(said.join('\n'), /^error web01: disk0: change tracking/m);
});

test('whatever fails before the commit: the machine is given back first, then the session', async () => {
  for (const step of ['writeDisk', 'commit'] as const) {
    const repository = fakeRepository();
    repository.faults.set(step, new PrimaError('no-space', 'the store is full'));
    const { source } = fakeSource(repository.log, async () => ({
      disks: [{ disk: disk('disk0', 'scsi0:0'), device: await deviceWith('a'.repeat(size)) }],
    }));
    await assert.rejects(backup(repository, source), { code: 'no-space' });
    assert.deepEqual(repository.log.slice(-2), ['close', 'abort: the store is full']);
    assert.ok(!repository.log.includes('succeed'));
    assert.deepEqual(await repository.points(), []);
  }
});

test('a source that fails, or verifies badly, leaves no point', async () => {
  const device: BlockDevice = {
    size,
    blockSize: 512,
    extents: async function* (range) {
      yield { ...range, kind: 'data' };
    },
    read: async () => {
      throw new PrimaError('remote', 'the connection was lost');
    },
    close: async () => undefined,
  };
  const failing: Partial<SourceReading>[] = [
    { disks: [{ disk: disk('disk0', 'scsi0:0'), device }] },
    {
      verify: async () => {
        throw new PrimaError('source-changed', 'it shrank');
      },
    },
  ];
  for (const more of failing) {
    const repository = fakeRepository();
    const { source } = fakeSource(repository.log, async () => more);
    await assert.rejects(backup(repository, source), { code: 'source-changed' });
    assert.deepEqual(await repository.points(), []);
    assert.equal(repository.log.at(-2), 'close');
  }
});

test('a machine that cannot be opened leaves nothing open; cancelling cleans up', async () => {
  const repository = fakeRepository();
  const { source } = fakeSource(repository.log, async () => {
    throw new PrimaError('busy', 'somebody else');
  });
  await assert.rejects(backup(repository, source), { code: 'busy' });
  assert.deepEqual(repository.log, ['begin', 'open', 'abort: somebody else']);
  const controller = new AbortController();
  const { source: slow } = fakeSource(repository.log, async () => {
    controller.abort();
    return { disks: [{ disk: disk('disk0', 'scsi0:0'), device: await deviceWith('a'.repeat(size)) }] };
  });
  await assert.rejects(backup(repository, slow, { signal: controller.signal }), { code: 'cancelled' });
  assert.equal(repository.log.at(-2), 'close');
  assert.match(repository.log.at(-1) ?? '', /^abort/);
});

test('a machine that cannot be given back after the commit is said, the point stays', async () => {
  const repository = fakeRepository();
  const { source } = fakeSource(repository.log, async () => ({
    succeed: async () => {
      throw new PrimaError('remote', 'QEMU is gone');
    },
  }));
  const { point, afterwards } = await backup(repository, source);
  assert.equal((await repository.points())[0]?.id, point.id);
  assert.match(afterwards.join(), /the point is committed, but.*QEMU is gone/);
  assert.equal(repository.log.at(-1), 'close');
});
