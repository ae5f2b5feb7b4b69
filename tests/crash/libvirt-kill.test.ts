/**
 * A backup or restore of a libvirt machine that ends in any way leaves a machine that runs as if it had never been: no job, no
 * note, no checkpoint that nobody needs, nothing frozen or paused, no file.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir } from 'node:fs/promises';
import { createServer, connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { MiB, seededRandom, systemClock } from '@prima/base';
import { type Machine, openLibvirtHost, type Platform } from '@prima/platforms';
import { projectRoot, waitUntil } from '@prima/testbed';
import {
  bitmapsOf,
  defineGuest,
  type LibvirtWorld,
  libvirtWorld,
  shell,
  startGuest,
  verifyGuest,
} from '../e2e/libvirt-fixture.ts';
import { childOf, kill, startProgram } from '../e2e/reader-process.ts';
import { smallDisk } from './small-disk.ts';

const seed = Number(process.env['PRIMA_SEED'] ?? Date.now() % 2 ** 32);

function startReader(
  { daemon: { uri, root } }: LibvirtWorld,
  mode: string,
  until: string,
  more: readonly string[] = [],
): Promise<ChildProcess> {
  const script = join(import.meta.dirname, 'libvirt-reader.ts');
  return startProgram(script, [uri, root, 'web', mode, ...more], until);
}

async function checkpoints({ daemon }: LibvirtWorld): Promise<string[]> {
  return (await daemon.virsh('checkpoint-list', 'web', '--name')).trim().split('\n').filter(Boolean);
}

const hasNote = async ({ daemon }: LibvirtWorld) => /prima:run/.test(await daemon.virsh('dumpxml', 'web'));

/** The guardian is done when the note is gone. */
async function noteGone(world: LibvirtWorld): Promise<void> {
  await waitUntil(async () => !(await hasNote(world)), { what: 'the note to be gone', timeoutMs: 60_000 });
}

/** @param known the checkpoints that are needed */
async function assertUntouched(world: LibvirtWorld, known: readonly string[]): Promise<void> {
  const { daemon } = world;
  assert.match(await daemon.virsh('domstate', 'web', '--reason'), /^running/);
  assert.match(await daemon.virsh('domjobinfo', 'web'), /Job type: +None/);
  const status = await daemon.virsh('qemu-agent-command', 'web', '{"execute":"guest-fsfreeze-status"}');
  assert.match(status, /"thawed"/);
  assert.equal(await hasNote(world), false);
  assert.deepEqual(await checkpoints(world), known);
  const left = (await readdir(daemon.disks)).filter((name) => name.startsWith('prima-'));
  assert.deepEqual(left, []);
  await waitUntil(async () => !/prima-/.test(await daemon.virsh('list', '--all', '--name')), {
    what: 'stand-ins to be gone', // the daemon ends them when it hears of their connection's end
  });
}

async function firstPoint({ platform }: LibvirtWorld, machine: Machine) {
  const reading = await platform.openForBackup(machine, { mode: 'hot', owner: 'one' });
  await reading.succeed();
  await reading.close();
  return reading.checkpoint;
}

test('killed at any moment', async (t) => {
  const world = await libvirtWorld(t);
  const { platform, daemon } = world;
  const machine = await startGuest(world, await defineGuest(world, 'web'));
  const random = seededRandom(seed);
  const since = await firstPoint(world, machine);
  const known = [String(since['name'])];
  const { bootId } = await verifyGuest(world, 'web');
  for (let round = 0; round < 8; round += 1) {
    const mode = round % 4 === 3 ? 'warm' : 'hot';
    const delayMs = random.below(1500);
    await t.test(`${mode}, ${delayMs} ms after it began (seed ${seed}, round ${round})`, async () => {
      const reader = await startReader(world, mode, 'opening');
      await systemClock.sleep(delayMs);
      await kill(reader);
      await systemClock.sleep(500); // a guardian that has just begun
      await noteGone(world);
      await assertUntouched(world, known);
    });
  }
  await t.test('its guardian as well: the host recovers', async () => {
    const reader = await startReader(world, 'hot', 'reading', ['hold']);
    process.kill(await childOf(reader, 'libvirt-host/guardian.ts'), 'SIGKILL');
    await kill(reader);
    const recovered = await platform.recover();
    assert.deepEqual(
      recovered.map(({ machine: name, left }) => [name, left]),
      [['web', []]],
    );
    assert.equal((await platform.recover()).length, 0);
  });
  await t.test('the next one starts from the point before and tidies up', async () => {
    const reading = await platform.openForBackup(machine, { mode: 'hot', owner: 'one', since });
    assert.deepEqual(
      reading.disks.map(({ whyFull }) => whyFull),
      [undefined, undefined],
    );
    await reading.succeed();
    await reading.close();
    await assertUntouched(world, [String(reading.checkpoint['name'])]);
  });
  const report = await verifyGuest(world, 'web');
  assert.deepEqual([report.bad, report.bootId], [0, bootId]);
  await t.test('a cold one: its stand-in goes with it', async () => {
    await platform.power(machine, 'stop');
    const reader = await startReader(world, 'cold', 'reading');
    await kill(reader);
    await waitUntil(async () => !/prima-/.test(await daemon.virsh('list', '--all', '--name')), {
      what: 'the stand-in to go',
    });
    await startGuest(world, machine);
  });
});

test('libvirtd is killed while a machine is read: the point is whole, and what was begun is undone', async (t) => {
  const world = await libvirtWorld(t);
  const { platform, daemon } = world;
  const machine = await startGuest(world, await defineGuest(world, 'web'));
  const reading = await platform.openForBackup(machine, { mode: 'hot', owner: 'one' });
  await daemon.kill();
  const piece = new Uint8Array(MiB);
  for (const { device } of reading.disks) {
    for (let offset = 0; offset + piece.length <= device.size; offset += piece.length)
      await device.read(offset, piece);
  }
  await daemon.restart();
  await reading.succeed();
  await reading.close();
  await noteGone(world);
  await assertUntouched(world, [String(reading.checkpoint['name'])]);
  const next = await platform.openForBackup(machine, {
    mode: 'hot',
    owner: 'one',
    since: reading.checkpoint,
  });
  assert.deepEqual(
    next.disks.map(({ whyFull }) => whyFull),
    [undefined, undefined],
  );
  await next.close();
  assert.equal((await verifyGuest(world, 'web')).bad, 0);
});

test('the machine is killed while it is read: said, and the next backup reads all and says why', async (t) => {
  const world = await libvirtWorld(t);
  const { platform, daemon } = world;
  const machine = await startGuest(world, await defineGuest(world, 'web'));
  const since = await firstPoint(world, machine);
  const reading = await platform.openForBackup(machine, { mode: 'hot', owner: 'one', since });
  process.kill((await daemon.machinePid('web')) ?? 0, 'SIGKILL');
  await assert.rejects(
    async () => {
      for (;;) await reading.disks[0]?.device.read(0, new Uint8Array(MiB));
    },
    { code: 'source-changed', message: /the machine ended/ },
  );
  await reading.close();
  const off = await waitUntil(
    async () => {
      const found = await platform.find('web');
      return found.state === 'off' && found;
    },
    { what: 'libvirt to know that web has crashed' },
  );
  const again = await startGuest(world, off);
  const next = await platform.openForBackup(again, { mode: 'hot', owner: 'one', since });
  for (const { whyFull } of next.disks) assert.match(whyFull ?? '', /killed or crashed since/);
  await next.succeed();
  await next.close();
  await assertUntouched(world, [String(next.checkpoint['name'])]);
  assert.equal((await verifyGuest(world, 'web')).bad, 0);
  await platform.power(again, 'stop');
  for (const { path } of again.disks) assert.deepEqual(await bitmapsOf(path), [next.checkpoint['name']]);
});

test('scratch space that is used up ends the backup, not the guest', async (t) => {
  const small = await smallDisk(t, 96 * MiB);
  const world = await libvirtWorld(t);
  const { platform } = world;
  const machine = await startGuest(world, await defineGuest(world, 'web'));
  await shell(world, 'web', 'dd if=/dev/urandom of=/big bs=1M count=48 conv=fsync');
  const cases = { limit: { limitBytes: 4 * MiB }, room: { folder: small } };
  for (const [name, scratch] of Object.entries(cases)) {
    await t.test(name, async () => {
      const reading = await platform.openForBackup(machine, { mode: 'hot', owner: 'one', scratch });
      const write = 'for i in 1 2 3 4; do dd if=/dev/urandom of=/big bs=1M count=48 conv=notrunc,fsync; done';
      await shell(world, 'web', write);
      await assert.rejects(
        async () => {
          for (;;) await reading.disks[0]?.device.read(0, new Uint8Array(MiB));
        },
        { code: 'no-space', message: /before the guest could notice/ },
      );
      await reading.close();
      await assertUntouched(world, []);
      assert.deepEqual(await readdir(small), []);
      assert.equal((await verifyGuest(world, 'web')).bad, 0);
    });
  }
});

/** A socket before the daemon's, which can be cut. */
async function proxyBefore(
  t: TestContext,
  world: LibvirtWorld,
): Promise<{ path: string; cut(): void; mend(): void }> {
  const path = join(world.daemon.disks, 'proxy.sock');
  const open = new Set<Socket>();
  let isCut = false;
  const server = createServer((near) => {
    if (isCut) {
      near.destroy();
      return;
    }
    const far = connect(world.daemon.socket);
    for (const socket of [near, far]) {
      open.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => open.delete(socket));
    }
    near.pipe(far).pipe(near);
  });
  server.listen(path);
  await once(server, 'listening');
  t.after(() => void server.close());
  return {
    path,
    cut: () => {
      isCut = true;
      for (const socket of open) socket.destroy();
    },
    mend: () => {
      isCut = false;
    },
  };
}

test('the connection to the daemon is cut: the guardian undoes when it is back', async (t) => {
  const world = await libvirtWorld(t);
  const machine = await startGuest(world, await defineGuest(world, 'web'));
  const proxy = await proxyBefore(t, world);
  const far: Platform = openLibvirtHost('far', `qemu+unix:///system?socket=${proxy.path}`, {
    root: world.daemon.root,
  });
  t.after(() => far.close());
  const reading = await far.openForBackup(machine, { mode: 'hot', owner: 'one' });
  proxy.cut();
  const closing = reading.close();
  await systemClock.sleep(2000);
  assert.equal(await hasNote(world), true);
  proxy.mend();
  await closing;
  await noteGone(world);
  await assertUntouched(world, []);
});

test('a restore that is killed leaves nothing', async (t) => {
  const world = await libvirtWorld(t);
  const { platform, daemon } = world;
  const machine = await defineGuest(world, 'web');
  const file = await platform.configuration(machine);
  await mkdir(join(daemon.disks, 'there'));
  const before = (await readdir(daemon.disks)).sort();
  const child = spawn(
    process.execPath,
    [
      '--input-type=module',
      '-e',
      `import { openLibvirtHost } from '@prima/platforms';
      const platform = openLibvirtHost('lab', process.argv[1], { root: process.argv[2] });
      await platform.prepareRestore({ id: 'x', name: 'new', files: [{ name: 'domain.xml', bytes: Buffer.from(process.argv[3]) }],
        disks: [{ slot: 'vda', name: 'vda', size: 64 << 20, format: 'qcow2' }] });
      console.log('prepared');
      setInterval(() => {}, 1000);`,
      daemon.uri,
      daemon.root,
      Buffer.from(file.bytes).toString(),
    ],
    { cwd: projectRoot, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  await once(child.stdout, 'data');
  const names = () => daemon.virsh('list', '--all', '--name');
  assert.match(await names(), /prima-staged-/);
  await kill(child);
  await waitUntil(async () => (await platform.recover()).some(({ undone }) => undone.length > 1), {
    what: 'the restore to be undone',
  });
  assert.deepEqual((await names()).trim().split('\n'), ['web']);
  assert.deepEqual((await readdir(daemon.disks)).sort(), before);
});
