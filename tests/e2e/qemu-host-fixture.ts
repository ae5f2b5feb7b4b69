/** A plain QEMU host with the tiny guest in it, for end-to-end tests; everything is ended and removed afterwards. */
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { MiB, runProgram, toPrimaError } from '@prima/base';
import { type BlockDevice, copyDevice, openRawFile } from '@prima/block';
import { type Machine, type MachineReading, openQemuHost, type Platform } from '@prima/platforms';
import { connectGuestAgent, connectQmp, type GuestAgent, type QmpClient } from '@prima/qemu';
import { buildTinyGuest, type Cleanup, temporaryFolder, type TinyGuest, waitUntil } from '@prima/testbed';

export interface TestHost {
  platform: Platform;
  /** The host's folder. */
  root: string;
  /** A private folder beside it. */
  scratch: string;
  guest: TinyGuest;
}

export async function testHost(test: Cleanup): Promise<TestHost> {
  const guest = await buildTinyGuest();
  const platforms: Platform[] = [];
  test.after(async () => {
    // registered, and so run, before the folder is removed
    for (const platform of platforms) {
      for (const machine of await platform.inventory()) await platform.power(machine, 'kill');
    }
  });
  const root = await temporaryFolder(test);
  const scratch = await temporaryFolder(test);
  const platform = await openQemuHost('lab', root);
  platforms.push(platform);
  return { platform, root, scratch, guest };
}

/** A machine with its system on a qcow2 disk, and records being written to a raw one; off. */
export async function createGuest(host: TestHost, name: string): Promise<Machine> {
  const { platform, guest, scratch } = host;
  const system = join(scratch, `${name}-system.raw`);
  const qcow2 = join(scratch, `${name}-system.qcow2`);
  const data = join(scratch, `${name}-data.raw`);
  await guest.rootDisk(system);
  await runProgram('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', system, qcow2]);
  await guest.dataDisk(data);
  return platform.create({
    name,
    memoryBytes: 192 * MiB,
    cpus: 1,
    disks: [
      { copyOf: qcow2, format: 'qcow2' },
      { copyOf: data, format: 'raw' },
    ],
    kernel: guest.kernel,
    initrd: guest.initrd,
    append: guest.kernelArguments({ write: true, data: '/dev/vdb' }),
  });
}

/** Starts it and waits until its agent answers. */
export async function startGuest({ platform }: TestHost, machine: Machine): Promise<Machine> {
  await platform.power(machine, 'start');
  return waitUntil(
    async () => {
      const found = await platform.find(machine.name);
      return found.agent === 'answers' && found;
    },
    { what: `the agent of ${machine.name}`, timeoutMs: 120_000 },
  );
}

export const inRun = (machine: Machine, name: string): string => join(machine.folder ?? '', '.run', name);

export async function withAgent<T>(machine: Machine, task: (agent: GuestAgent) => Promise<T>): Promise<T> {
  const agent = await connectGuestAgent(inRun(machine, 'qga.sock'), { timeoutMs: 30_000 });
  try {
    return await task(agent);
  } finally {
    await agent.close();
  }
}

export async function shell(machine: Machine, script: string): Promise<string> {
  return withAgent(machine, async (agent) => {
    const { status, stdout, stderr } = await agent.exec('/bin/sh', ['-c', script]);
    assert.equal(status, 0, `${script}: ${stderr}`);
    return stdout.trim();
  });
}

async function withQmp<T>(machine: Machine, task: (qmp: QmpClient) => Promise<T>): Promise<T> {
  const qmp = await connectQmp(inRun(machine, 'qmp-control.sock'));
  try {
    return await task(qmp);
  } finally {
    await qmp.close();
  }
}

/** Copies a device to a new raw file. */
export async function saveDevice(device: BlockDevice, path: string): Promise<string> {
  const target = await openRawFile(path, { create: { size: device.size } });
  try {
    await copyDevice(device, target, { targetIsZero: true });
  } finally {
    await target.close();
  }
  return path;
}

/** Copies all disks of a reading; answers the files. */
export async function saveReading(reading: MachineReading, folder: string, name: string): Promise<string[]> {
  const files: string[] = [];
  for (const { disk, device } of reading.disks) {
    files.push(await saveDevice(device, join(folder, `${name}-${disk.name}.raw`)));
  }
  return files;
}

/** Puts the changed ranges of a reading's disk over `file`. */
export async function applyChanges(reading: MachineReading, index: number, file: string): Promise<number> {
  const { changed, device, whyFull } = reading.disks[index] ?? assert.fail(`no disk ${index}`);
  assert.ok(changed, `changes of disk ${index} are not known: ${whyFull}`);
  const target = await openRawFile(file, { writable: true });
  let bytes = 0;
  try {
    for (const { offset, length } of changed) {
      const piece = new Uint8Array(length);
      await device.read(offset, piece);
      await target.write(offset, piece);
      bytes += length;
    }
  } finally {
    await target.close();
  }
  return bytes;
}

export async function assertSameFiles(a: string, b: string): Promise<void> {
  const { status, stdout } = await runProgram('cmp', [a, b], { accept: [0, 1] });
  assert.equal(status, 0, `${a} and ${b} differ: ${stdout}`);
}

/** A file system that was frozen: nothing to repair, no journal to play. */
export async function assertCleanFileSystem(file: string): Promise<void> {
  await runProgram('/sbin/e2fsck', ['-fn', file]);
  const { stdout } = await runProgram('/sbin/dumpe2fs', ['-h', file]);
  assert.match(stdout, /^Filesystem features:.*has_journal/m);
  assert.doesNotMatch(stdout, /needs_recovery/);
}

interface NodeAnswer {
  'node-name': string;
  'dirty-bitmaps'?: { name?: string; inconsistent?: boolean }[];
}

/** Named bitmaps of the machine's disks, by QEMU's node. */
async function bitmapsOf(machine: Machine): Promise<Record<string, string[]>> {
  const nodes = await withQmp(machine, (qmp) => qmp.execute<NodeAnswer[]>('query-named-block-nodes'));
  const named = nodes
    .filter((node) => node['node-name'].startsWith('disk-'))
    .map((node) => [
      node['node-name'],
      (node['dirty-bitmaps'] ?? []).flatMap(({ name }) => (name === undefined ? [] : [name])),
    ]);
  return Object.fromEntries(named) as Record<string, string[]>;
}

/** The machine runs as if no backup had been: nothing of ours in QEMU, in its folder, in its guest. */
export async function assertUntouched(machine: Machine, mostBitmaps: number): Promise<void> {
  await withQmp(machine, async (qmp) => {
    assert.deepEqual(await qmp.execute('query-block-exports'), []);
    const nodes = await qmp.execute<NodeAnswer[]>('query-named-block-nodes');
    const names = nodes.map((node) => node['node-name']);
    assert.deepEqual(
      names.filter((name) => name.startsWith('prima-')),
      [],
    );
    assert.equal((await qmp.execute<{ status: string }>('query-status')).status, 'running');
    const capabilities = await qmp.execute<{ capability: string; state: boolean }[]>(
      'query-migrate-capabilities',
    );
    assert.equal(capabilities.find(({ capability }) => capability === 'background-snapshot')?.state, false);
  });
  for (const [node, names] of Object.entries(await bitmapsOf(machine))) {
    assert.ok(names.length <= mostBitmaps, `${node} has the bitmaps ${names.join(', ')}`);
  }
  const left = (await readdir(inRun(machine, ''))).filter((name) =>
    /^scratch-|^memory|^backup\.json|^nbd\.sock/.test(name),
  );
  assert.deepEqual(left, []);
  assert.equal(await withAgent(machine, (agent) => agent.freezeStatus()), 'thawed');
}

/** The error's code and message; fails when `task` does not raise. */
export async function failureOf(task: Promise<unknown>): Promise<{ code: string; message: string }> {
  try {
    await task;
  } catch (error) {
    const { code, message } = toPrimaError(error, 'testing');
    return { code, message };
  }
  return assert.fail('it did not fail');
}
