/** Prima's NBD client against qemu-nbd and nbdkit. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { KiB, MiB, runProgram, totalLength } from '@prima/base';
import { collectExtents, deviceConformance } from '@prima/block';
import { connectNbd, listNbdExports } from '@prima/nbd';
import { makeCertificates, makeRawDisk, startServer, temporaryFolder } from './nbd-fixtures.ts';

async function nbdkit(resources: AsyncDisposableStack, ...args: string[]) {
  const socketPath = join(await temporaryFolder(resources), 's');
  await startServer(resources, 'nbdkit', {
    args: ['-f', '--exit-with-parent', '-U', socketPath, ...args],
    socketPath,
  });
  return { socketPath };
}

async function qemuNbd(resources: AsyncDisposableStack, ...args: string[]) {
  const socketPath = join(await temporaryFolder(resources), 's');
  await startServer(resources, 'qemu-nbd', {
    args: ['-t', '-e', '8', '-k', socketPath, ...args],
    socketPath,
  });
  return { socketPath };
}

const conformance = { rounds: 20 };

deviceConformance(
  'nbd of nbdkit memory',
  async () => {
    await using resources = new AsyncDisposableStack();
    const device = await connectNbd(await nbdkit(resources, 'memory', '2M'), { writable: true });
    const kept = resources.move(); // had opening failed, what was started would end here
    return { device, dispose: () => kept.disposeAsync() };
  },
  conformance,
);

deviceConformance(
  'nbd of nbdkit with blocks of 4 KiB and requests of 64 KiB at most',
  async () => {
    await using resources = new AsyncDisposableStack();
    const sizes = ['blocksize-minimum=4096', 'blocksize-preferred=4096', 'blocksize-maximum=65536'];
    const policy = ['--filter=blocksize-policy', 'memory', '2M', ...sizes, 'blocksize-error-policy=error'];
    const device = await connectNbd(await nbdkit(resources, ...policy), { writable: true });
    const kept = resources.move(); // had opening failed, what was started would end here
    return { device, dispose: () => kept.disposeAsync() };
  },
  conformance,
);

deviceConformance(
  'nbd of qemu-nbd with a qcow2 disk',
  async () => {
    await using resources = new AsyncDisposableStack();
    const path = join(await temporaryFolder(resources), 'disk.qcow2');
    await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', path, '2M']);
    const device = await connectNbd(await qemuNbd(resources, '-f', 'qcow2', path), { writable: true });
    const kept = resources.move(); // had opening failed, what was started would end here
    return { device, dispose: () => kept.disposeAsync() };
  },
  conformance,
);

test('a raw disk of qemu-nbd: bytes, holes, several connections', async () => {
  await using resources = new AsyncDisposableStack();
  const path = join(await temporaryFolder(resources), 'disk.raw');
  const bytes = await makeRawDisk(path, 48 * MiB, 1);
  const target = await qemuNbd(resources, '-r', '-f', 'raw', path);
  const device = await connectNbd(target);
  resources.defer(() => device.close());
  assert.equal(device.size, bytes.length);
  assert.equal(device.connections, 4);
  const read = new Uint8Array(bytes.length);
  await device.read(0, read);
  assert.ok(bytes.equals(read));
  const map = await runProgram('qemu-img', ['map', '--output=json', '-f', 'raw', path]);
  const expected = JSON.parse(map.stdout) as { start: number; length: number; data: boolean }[];
  const extents = await collectExtents(device.extents({ offset: 0, length: device.size }));
  assert.deepEqual(
    extents.filter((extent) => extent.kind === 'data'),
    expected
      .filter((part) => part.data)
      .map(({ start, length }) => ({ offset: start, length, kind: 'data' })),
  );
  await assert.rejects(connectNbd(target, { writable: true }), { code: 'permission' });
});

test('a server that takes fewer connections than are asked for', async () => {
  await using resources = new AsyncDisposableStack();
  const path = join(await temporaryFolder(resources), 'disk.raw');
  const bytes = await makeRawDisk(path, 8 * MiB, 2);
  for (const shared of [1, 2]) {
    const socketPath = join(await temporaryFolder(resources), 's');
    const args = ['-r', '-t', '-e', `${shared}`, '-k', socketPath, '-f', 'raw', path];
    await startServer(resources, 'qemu-nbd', { args, socketPath });
    const device = await connectNbd({ socketPath });
    resources.defer(() => device.close());
    assert.equal(device.connections, shared);
    const read = new Uint8Array(bytes.length);
    await device.read(0, read);
    assert.ok(bytes.equals(read));
  }
});

test('dirty bitmap and allocation depth of qemu-nbd', async () => {
  await using resources = new AsyncDisposableStack();
  const folder = await temporaryFolder(resources);
  const [base, top] = [join(folder, 'base.qcow2'), join(folder, 'top.qcow2')];
  await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', base, '64M']);
  await runProgram('qemu-io', ['-c', 'write 0 1M', base]);
  await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', base, '-F', 'qcow2', top]);
  await runProgram('qemu-img', ['bitmap', '--add', '-g', '64K', top, 'changes']);
  await runProgram('qemu-io', [
    '-c',
    'write 10M 64k',
    '-c',
    'write 10304k 64k',
    '-c',
    'write 40000k 1k',
    top,
  ]);
  const target = await qemuNbd(resources, '-r', '-f', 'qcow2', '-B', 'changes', '-A', '-x', 'disk', top);
  assert.deepEqual(await listNbdExports(target), [{ name: 'disk', description: '' }]);
  const contexts = ['qemu:dirty-bitmap:changes', 'qemu:allocation-depth'];
  const device = await connectNbd(target, { exportName: 'disk', contexts });
  resources.defer(() => device.close());
  assert.deepEqual([...device.contexts].sort(), ['base:allocation', ...contexts].sort());
  assert.deepEqual(await device.dirtyRanges('changes'), [
    { offset: 10 * MiB, length: 128 * KiB },
    { offset: 40_000 * KiB, length: 64 * KiB },
  ]);
  const part = { offset: 10 * MiB + 1000, length: 70_000 };
  assert.deepEqual(await device.dirtyRanges('changes', part), [part]);
  const depths = new Map<number, number>();
  for await (const { length, flags } of device.blockStatus(
    { offset: 0, length: device.size },
    'qemu:allocation-depth',
  )) {
    depths.set(flags, (depths.get(flags) ?? 0) + length);
  }
  assert.equal(depths.get(2), 1 * MiB);
  assert.equal(depths.get(1), 192 * KiB);
});

test('errors and delays of nbdkit', async () => {
  await using resources = new AsyncDisposableStack();
  const spaceless = ['--filter=error', 'memory', '1M', 'error-pwrite=ENOSPC', 'error-pwrite-rate=1'];
  const broken = [...spaceless, 'error-pread=EIO', 'error-pread-rate=1'];
  const device = await connectNbd(await nbdkit(resources, ...broken), { writable: true });
  resources.defer(() => device.close());
  await assert.rejects(device.write(0, new Uint8Array(512)), { code: 'no-space' });
  await assert.rejects(device.read(0, new Uint8Array(512)), { code: 'remote', retryable: true });
  await device.flush();

  const slowTarget = await nbdkit(resources, '--filter=delay', 'memory', '1M', 'delay-read=30');
  const slow = await connectNbd(slowTarget, { requestTimeoutMs: 300 });
  resources.defer(() => slow.close());
  const cancelled = new AbortController();
  const reading = slow.read(0, new Uint8Array(512), cancelled.signal);
  cancelled.abort();
  await assert.rejects(reading, { code: 'cancelled' });
  await assert.rejects(slow.read(0, new Uint8Array(512)), { code: 'timeout', retryable: true });
});

test('an odd size is refused with its reason', async () => {
  await using resources = new AsyncDisposableStack();
  const target = await nbdkit(resources, 'memory', '1000');
  await assert.rejects(connectNbd(target), { code: 'unsupported', message: /1000 bytes/ });
});

test('an old server: simple replies, no NBD_OPT_GO', async () => {
  await using resources = new AsyncDisposableStack();
  const oldstyle = await nbdkit(resources, '--oldstyle', 'memory', '1M');
  await assert.rejects(connectNbd(oldstyle), { code: 'unsupported' });
  const pattern = await nbdkit(resources, '--no-sr', 'pattern', '1M');
  const device = await connectNbd(pattern);
  resources.defer(() => device.close());
  assert.deepEqual(device.contexts, []);
  const bytes = Buffer.alloc(3 * KiB);
  await device.read(512, bytes);
  for (let at = 0; at < bytes.length; at += 8) assert.equal(bytes.readBigUInt64BE(at), BigInt(512 + at));
});

test('TLS with nbdkit: the right authority, the wrong one, none, a client certificate', async () => {
  await using resources = new AsyncDisposableStack();
  const folder = await temporaryFolder(resources);
  const { ca, cert, key } = await makeCertificates(folder);
  const read = async (path: string) => await readFile(path, 'utf8');
  const certificates = `--tls-certificates=${folder}`;
  const target = await nbdkit(resources, '--tls=require', certificates, 'pattern', '8M');
  const tls = { ca: await read(ca), serverName: 'localhost' };
  const device = await connectNbd(target, { tls });
  resources.defer(() => device.close());
  const bytes = Buffer.alloc(8 * MiB);
  await device.read(0, bytes);
  for (let at = 0; at < bytes.length; at += 4096) assert.equal(bytes.readBigUInt64BE(at), BigInt(at));
  await assert.rejects(connectNbd(target), { code: 'permission', message: /TLS/ });
  await assert.rejects(connectNbd(target, { tls: {} }), { code: 'permission' });
  await assert.rejects(connectNbd(target, { tls: { ...tls, serverName: 'other' } }), { code: 'permission' });
  const plain = await nbdkit(resources, 'memory', '1M');
  await assert.rejects(connectNbd(plain, { tls }), { code: 'unsupported' });

  const strict = await nbdkit(resources, '--tls=require', '--tls-verify-peer', certificates, 'memory', '1M');
  await assert.rejects(connectNbd(strict, { tls }));
  const known = await connectNbd(strict, { tls: { ...tls, cert: await read(cert), key: await read(key) } });
  await known.read(0, new Uint8Array(512));
  await known.close();
});

test('dirty ranges cover what differs', async () => {
  await using resources = new AsyncDisposableStack();
  const folder = await temporaryFolder(resources);
  const path = join(folder, 'disk.qcow2');
  await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', path, '1G']);
  await runProgram('qemu-img', ['bitmap', '--add', '-g', '4K', path, 'b']);
  const writes = Array.from({ length: 300 }, (_, index) => ['-c', `write ${index * 3 * 1024}k 4k`]).flat();
  await runProgram('qemu-io', [...writes, path]);
  const target = await qemuNbd(resources, '-r', '-f', 'qcow2', '-B', 'b', path);
  const device = await connectNbd(target, { contexts: ['qemu:dirty-bitmap:b'] });
  resources.defer(() => device.close());
  const dirty = await device.dirtyRanges('b');
  assert.equal(dirty.length, 300);
  assert.equal(totalLength(dirty), 300 * 4 * KiB);
});
