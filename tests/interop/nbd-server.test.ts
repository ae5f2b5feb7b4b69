/** Prima's NBD server with the field's clients: libnbd's tools, QEMU's tools, a storage daemon, a machine. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { MiB, runProgram } from '@prima/base';
import { memoryDevice, openRawFile, type WritableDevice } from '@prima/block';
import { connectNbd, listNbdExports, type NbdServerOptions, serveNbd } from '@prima/nbd';
import { makeCertificates, makeRawDisk, startServer, temporaryFolder } from './nbd-fixtures.ts';

async function serve(resources: AsyncDisposableStack, options: Omit<NbdServerOptions, 'listen'>) {
  const socketPath = join(await temporaryFolder(resources), 's');
  const server = await serveNbd({ listen: { socketPath }, ...options });
  resources.defer(() => server.close());
  const uri = (name: string) => `nbd+unix:///${name}?socket=${socketPath}`;
  return { socketPath, uri, server };
}

/** A raw file with random data and holes, exported as "disk". */
async function serveRawDisk(resources: AsyncDisposableStack) {
  const folder = await temporaryFolder(resources);
  const path = join(folder, 'disk.raw');
  const bytes = await makeRawDisk(path, 40 * MiB, 7);
  const device = await openRawFile(path);
  resources.defer(() => device.close());
  const served = await serve(resources, { exports: [{ name: 'disk', device, description: 'a raw disk' }] });
  return { ...served, folder, path, bytes };
}

async function contentOf(device: WritableDevice): Promise<Buffer> {
  const bytes = Buffer.alloc(device.size);
  await device.read(0, bytes);
  return bytes;
}

const json = async (program: string, args: string[]): Promise<unknown> =>
  JSON.parse((await runProgram(program, args)).stdout) as unknown;

test('nbdinfo sees what is exported', async () => {
  await using resources = new AsyncDisposableStack();
  const { uri } = await serveRawDisk(resources);
  const found = (await json('nbdinfo', ['--json', uri('disk')])) as Record<string, unknown>;
  const [entry] = found['exports'] as Record<string, unknown>[];
  assert.equal(found['protocol'], 'newstyle-fixed');
  assert.equal(found['structured'], true);
  assert.deepEqual(entry?.['contexts'], ['base:allocation']);
  assert.equal(entry?.['export-size'], 40 * MiB);
  assert.equal(entry?.['description'], 'a raw disk');
  assert.equal(entry?.['is_read_only'], true);
  assert.equal(entry?.['can_multi_conn'], true);
  const list = (await json('nbdinfo', ['--list', '--json', uri('')])) as { exports: unknown[] };
  assert.equal(list.exports.length, 1);
  const failed = await runProgram('nbdinfo', [uri('none')], { accept: [1] });
  assert.match(failed.stderr, /No such file or directory for export: none/);
});

test('nbdcopy and qemu-img read the same bytes and holes', async () => {
  await using resources = new AsyncDisposableStack();
  const { uri, folder, path, bytes } = await serveRawDisk(resources);
  await runProgram('nbdcopy', ['--connections=4', uri('disk'), join(folder, 'copy.raw')]);
  assert.ok(bytes.equals(await readFile(join(folder, 'copy.raw'))));
  await runProgram('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', path, uri('disk')]);
  const converted = join(folder, 'copy.qcow2');
  await runProgram('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', uri('disk'), converted]);
  await runProgram('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', path, converted]);
  type Part = { start: number; length: number; data: boolean };
  const map = async (name: string) => {
    const parts = (await json('qemu-img', ['map', '--output=json', '-f', 'raw', name])) as Part[];
    return parts.map(({ start, length, data }) => ({ start, length, data }));
  };
  assert.deepEqual(await map(uri('disk')), await map(path));
  const info = (await json('qemu-img', ['info', '--output=json', '-f', 'raw', uri('disk')])) as Record<
    string,
    unknown
  >;
  assert.equal(info['virtual-size'], 40 * MiB);
});

test('a client without structured replies', async () => {
  await using resources = new AsyncDisposableStack();
  const { socketPath, bytes } = await serveRawDisk(resources);
  const second = join(await temporaryFolder(resources), 's');
  // nbdkit as a proxy that lets structured replies pass in neither direction
  const proxy = [
    '-f',
    '--exit-with-parent',
    '--no-sr',
    '-U',
    second,
    'nbd',
    `socket=${socketPath}`,
    'export=disk',
  ];
  await startServer(resources, 'nbdkit', { args: proxy, socketPath: second });
  const device = await connectNbd({ socketPath: second });
  resources.defer(() => device.close());
  const read = new Uint8Array(bytes.length);
  await device.read(0, read);
  assert.ok(bytes.equals(read));
});

test('nbdcopy, qemu-img and qemu-io write', async () => {
  await using resources = new AsyncDisposableStack();
  const folder = await temporaryFolder(resources);
  const path = join(folder, 'disk.raw');
  const bytes = await makeRawDisk(path, 40 * MiB, 9);
  const [a, b, c] = [memoryDevice(40 * MiB), memoryDevice(40 * MiB), memoryDevice(4 * MiB)];
  const { uri } = await serve(resources, {
    exports: [
      { name: 'a', device: a, writable: true },
      { name: 'b', device: b, writable: true },
      { name: 'c', device: c, writable: true },
    ],
  });
  await runProgram('nbdcopy', ['--connections=4', '--flush', path, uri('a')]);
  assert.ok(bytes.equals(await contentOf(a)));
  await runProgram('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'raw', path, uri('b')]);
  assert.ok(bytes.equals(await contentOf(b)));

  const commands = ['write -P 7 1k 3M', 'write -f -P 8 512 512', 'write -z 2M 512k', 'write -zu 3M 4k'];
  const more = [
    'discard 1M 64k',
    'flush',
    'read -P 7 1k 1023k',
    'read -P 0 2M 512k',
    'aio_write -P 5 0 1k',
    'aio_flush',
  ];
  const all = [...commands, ...more].flatMap((command) => ['-c', command]);
  const { stdout } = await runProgram('qemu-io', ['-f', 'raw', ...all, uri('c')]);
  assert.doesNotMatch(stdout, /failed|error/i);
  const expected = Buffer.alloc(4 * MiB).fill(7, 1024, 1024 + 3 * MiB);
  expected
    .fill(5, 0, 1024)
    .fill(0, 2 * MiB, 2.5 * MiB)
    .fill(0, 3 * MiB, 3 * MiB + 4096)
    .fill(0, MiB, MiB + 65_536);
  assert.ok(expected.equals(await contentOf(c)));
});

test('a read-only export cannot be written', async () => {
  await using resources = new AsyncDisposableStack();
  const { uri, bytes, path } = await serveRawDisk(resources);
  const result = await runProgram('qemu-io', ['-f', 'raw', '-c', 'write 0 512', uri('disk')], {
    accept: [0, 1],
  });
  assert.match(result.stdout + result.stderr, /read-only|not permitted|denied/i);
  assert.ok(bytes.equals(await readFile(path)));
});

test('TLS with nbdinfo, a Prima client, and a client without it', async () => {
  await using resources = new AsyncDisposableStack();
  const folder = await temporaryFolder(resources);
  const { ca, cert, key } = await makeCertificates(folder);
  const [caText, certText, keyText] = await Promise.all(
    [ca, cert, key].map((path) => readFile(path, 'utf8')),
  );
  assert.ok(caText !== undefined && certText !== undefined && keyText !== undefined);
  const server = await serveNbd({
    listen: { host: '127.0.0.1', port: 0 },
    exports: [{ name: 'disk', device: memoryDevice(8 * MiB), writable: true }],
    tls: { cert: certText, key: keyText },
  });
  resources.defer(() => server.close());
  assert.ok('port' in server.address);
  const { port } = server.address;
  const uri = `nbds://localhost:${port}/disk?tls-certificates=${folder}`;
  const { stdout } = await runProgram('nbdinfo', [uri]);
  assert.match(stdout, /with TLS/);
  const file = join(folder, 'disk.raw');
  const bytes = await makeRawDisk(file, 8 * MiB, 3);
  await runProgram('nbdcopy', [file, uri]);
  const tls = { ca: caText, serverName: 'localhost' };
  const device = await connectNbd(server.address, { tls });
  resources.defer(() => device.close());
  const read = new Uint8Array(8 * MiB);
  await device.read(0, read);
  assert.ok(bytes.equals(read));
  assert.deepEqual(await listNbdExports(server.address, { tls }), [{ name: 'disk', description: '' }]);
  await assert.rejects(connectNbd(server.address), { code: 'permission' });
  const plain = await runProgram('nbdinfo', [`nbd://localhost:${port}/disk`], { accept: [1] });
  assert.match(plain.stderr, /Operation not supported/);

  const strict = await serveNbd({
    listen: { host: '127.0.0.1', port: 0 },
    exports: [{ name: '', device: memoryDevice(65_536) }],
    tls: { cert: certText, key: keyText, ca: caText },
  });
  resources.defer(() => strict.close());
  await assert.rejects(connectNbd(strict.address, { tls }));
  const known = await connectNbd(strict.address, { tls: { ...tls, cert: certText, key: keyText } });
  await known.close();
});

test('qemu-storage-daemon passes an export on', async () => {
  await using resources = new AsyncDisposableStack();
  const { socketPath, bytes } = await serveRawDisk(resources);
  const second = join(await temporaryFolder(resources), 's');
  const remote = `driver=nbd,node-name=n0,server.type=unix,server.path=${socketPath},export=disk,read-only=on`;
  const listening = `addr.type=unix,addr.path=${second}`;
  const again = 'type=nbd,id=e0,node-name=n0,name=again';
  const args = ['--blockdev', remote, '--nbd-server', listening, '--export', again];
  await startServer(resources, 'qemu-storage-daemon', { args, socketPath: second });
  const device = await connectNbd({ socketPath: second }, { exportName: 'again' });
  resources.defer(() => device.close());
  const read = new Uint8Array(bytes.length);
  await device.read(0, read);
  assert.ok(bytes.equals(read));
});

test('a QEMU machine mirrors a disk onto an export', async () => {
  await using resources = new AsyncDisposableStack();
  const folder = await temporaryFolder(resources);
  const source = join(folder, 'source.raw');
  const bytes = await makeRawDisk(source, 16 * MiB, 11);
  const target = memoryDevice(16 * MiB);
  const { socketPath } = await serve(resources, { exports: [{ name: 't', device: target, writable: true }] });
  const commands = [
    { execute: 'qmp_capabilities' },
    {
      execute: 'blockdev-mirror',
      arguments: { 'job-id': 'm', device: 's0', target: 't0', sync: 'full' },
    },
  ];
  const qmpPath = join(folder, 'qmp');
  const file = `driver=file,node-name=f0,filename=${source}`;
  const remote = `driver=nbd,node-name=t0,server.type=unix,server.path=${socketPath},export=t`;
  const disks = [file, 'driver=raw,node-name=s0,file=f0', remote].flatMap((disk) => ['-blockdev', disk]);
  const bare = ['-machine', 'none', '-nodefaults', '-display', 'none'];
  const args = [...bare, '-qmp', `unix:${qmpPath},server=on,wait=off`, ...disks];
  await startServer(resources, 'qemu-system-x86_64', { args, socketPath: qmpPath });
  const socket = connect(qmpPath);
  resources.defer(() => void socket.destroy());
  let said = '';
  for (const command of commands) socket.write(`${JSON.stringify(command)}\n`);
  for await (const part of socket) {
    said += String(part);
    if (
      said.includes('BLOCK_JOB_READY') &&
      !said.includes('"COMPLETED"') &&
      !said.includes('sent-complete')
    ) {
      socket.write(`${JSON.stringify({ execute: 'block-job-complete', arguments: { device: 'm' } })}\n`);
      said += 'sent-complete';
    }
    assert.doesNotMatch(said, /"error"/);
    if (said.includes('BLOCK_JOB_COMPLETED')) break;
  }
  assert.ok(bytes.equals(await contentOf(target)));
});

test('a killed client leaves the server as it was', async () => {
  await using resources = new AsyncDisposableStack();
  const { uri, bytes, socketPath } = await serveRawDisk(resources);
  for (let round = 0; round < 5; round += 1) {
    const child = spawn('nbdcopy', ['--connections=4', uri('disk'), 'null:'], { stdio: 'ignore' });
    const exited = new Promise((resolve) => child.once('exit', resolve));
    await new Promise((resolve) => setTimeout(resolve, 5 * round));
    child.kill('SIGKILL');
    await exited;
  }
  const device = await connectNbd({ socketPath });
  resources.defer(() => device.close());
  const read = new Uint8Array(bytes.length);
  await device.read(0, read);
  assert.ok(bytes.equals(read));
});
