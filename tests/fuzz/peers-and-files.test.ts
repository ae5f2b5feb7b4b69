/** What hosts, guests, peers and people hand us, nearly right: .vmx files, disks, QMP, guest agents, NBD. */
import assert from 'node:assert/strict';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { connectUnix, withDeadline } from '@prima/base';
import { memoryDevice } from '@prima/block';
import {
  detectFormat,
  diskFormats,
  parseQcow2Header,
  parseVmx,
  qcow2HeaderBytes,
  vmxSettings,
  writeVmx,
} from '@prima/formats';
import { connectNbd, listNbdExports, parseNbdUri, serveNbd } from '@prima/nbd';
import { connectGuestAgent, connectQmp } from '@prima/qemu';
import { answerOf, fuzzRun, mutate, temporaryFolder } from '@prima/testbed';

test('.vmx: what parses can be written and says the same again', async (t) => {
  const { seed, rounds, random } = fuzzRun(3000);
  t.diagnostic(`seed ${seed}`);
  const valid = [
    '.encoding = "UTF-8"\ndisplayName = "web01"\nmemsize = "2048"\nnumvcpus = "2"\nscsi0.present = "TRUE"\n' +
      'scsi0:0.present = "TRUE"\nscsi0:0.fileName = "web01.vmdk"\nscsi0:0.mode = "independent-persistent"\n',
    '# comment\nethernet0.present = "TRUE"\nethernet0.address = "00:50:56:00:00:01"\nuuid.bios = ' +
      '"56 4d 01 02 03 04 05 06-07 08 09 0a 0b 0c 0d 0e"\nannotation = "a|0Ab"\nide1:0.deviceType = "cdrom-image"\n',
  ].map((text) => Buffer.from(text));
  for (let round = 0; round < rounds; round += 1) {
    const bytes = mutate(random, valid[random.below(valid.length)] ?? Buffer.alloc(0), valid);
    const where = `seed ${seed}, round ${round}: ${JSON.stringify(bytes.toString('latin1'))}`;
    await answerOf(() => {
      const vmx = parseVmx(bytes);
      const again = parseVmx(writeVmx(vmx));
      assert.equal(writeVmx(again), writeVmx(vmx));
      return vmxSettings(vmx);
    }, where);
  }
});

test('disks: a format is told or refused, and a name for raw is believed', async (t) => {
  const { seed, rounds, random } = fuzzRun(3000);
  t.diagnostic(`seed ${seed}`);
  const magics = [
    'QFI\xfb\0\0\0\x03',
    'KDMV\x01',
    'COWD',
    '# Disk DescriptorFile',
    'vhdxfile',
    'conectix',
    'LUKS\xba\xbe',
  ];
  const valid = magics.map((magic) => Buffer.concat([Buffer.from(magic, 'latin1'), Buffer.alloc(600)]));
  const names = ['a.raw', 'a.img', 'a-flat.vmdk', 'a.qcow2', 'a.vmdk', 'a.vhdx', 'a.vhd', 'a.vdi', 'a', ''];
  for (let round = 0; round < rounds; round += 1) {
    const bytes = mutate(random, valid[random.below(valid.length)] ?? Buffer.alloc(0), valid);
    const device = memoryDevice(Math.ceil(bytes.length / 512) * 512);
    await device.write(0, bytes);
    const name = names[random.below(names.length)] ?? '';
    const where = `seed ${seed}, round ${round}: ${name} ${bytes.toString('hex')}`;
    const format = await answerOf(() => detectFormat(device, name), where);
    assert.ok(format === undefined || diskFormats.includes(format), where);
    if (/\.(raw|img)$|-flat\.vmdk$/.test(name)) assert.equal(format, 'raw', where);
  }
});

test('qcow2 headers are parsed within their bytes', async (t) => {
  const { seed, rounds, random } = fuzzRun(3000);
  t.diagnostic(`seed ${seed}`);
  const header = Buffer.alloc(512);
  header.write('QFI\xfb', 0, 'latin1');
  header.writeUInt32BE(3, 4);
  header.writeBigUInt64BE(112n, 8); // backing file's name
  header.writeUInt32BE(8, 16);
  header.writeUInt32BE(16, 20);
  header.writeBigUInt64BE(1n << 30n, 24);
  header.writeUInt32BE(104, 100);
  header.write('base.raw', 112, 'latin1');
  for (let round = 0; round < rounds; round += 1) {
    const bytes = mutate(random, header).subarray(0, qcow2HeaderBytes);
    await answerOf(() => parseQcow2Header(bytes), `seed ${seed}, round ${round}: ${bytes.toString('hex')}`);
  }
});

test('NBD URIs', async (t) => {
  const { seed, rounds, random } = fuzzRun(3000);
  t.diagnostic(`seed ${seed}`);
  const valid = ['nbd://h:10809/x', 'nbds://[::1]/a%20b', 'nbd+unix:///disk?socket=/run/a.sock'].map((s) =>
    Buffer.from(s),
  );
  for (let round = 0; round < rounds; round += 1) {
    const text = mutate(random, valid[random.below(valid.length)] ?? Buffer.alloc(0), valid).toString('utf8');
    await answerOf(() => parseNbdUri(text), `seed ${seed}, round ${round}: ${JSON.stringify(text)}`);
  }
});

/** Listens on a socket and lets `serve` talk to whoever comes; what it does to them may fail. */
async function listen(t: TestContext, serve: (socket: Socket) => void): Promise<string> {
  const path = join(await temporaryFolder(t), 's');
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return path;
}

const timeoutMs = 200;

test('QMP: a monitor that talks nonsense ends in an error of ours, in time', async (t) => {
  const { seed, rounds, random } = fuzzRun(40);
  t.diagnostic(`seed ${seed}`);
  const greeting =
    '{"QMP": {"version": {"qemu": {"micro": 1, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}\n';
  const event = '{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP", "data": {}}\n';
  const path = await listen(t, (socket) => {
    socket.write(mutate(random, Buffer.from(random.below(3) === 0 ? greeting : `${greeting}${event}`)));
    socket.on('data', (bytes) => {
      const id = /"id":\s*("[^"]*"|\d+)/.exec(bytes.toString())?.[1] ?? '0';
      const answer = Buffer.from(`${event}{"return": {"status": "running", "running": true}, "id": ${id}}\n`);
      socket.write(random.below(3) === 0 ? answer : mutate(random, answer));
    });
  });
  for (let round = 0; round < rounds; round += 1) {
    await answerOf(async () => {
      const qmp = await connectQmp(path, { timeoutMs });
      qmp.closed.catch(() => undefined);
      try {
        await qmp.execute('query-status', {}, { timeoutMs });
      } finally {
        await qmp.close();
      }
    }, `seed ${seed}, round ${round}`);
  }
});

test('guest agents: a guest that talks nonsense ends in an error of ours, in time', async (t) => {
  const { seed, rounds, random } = fuzzRun(15);
  t.diagnostic(`seed ${seed}`);
  const path = await listen(t, (socket) => {
    socket.on('data', (bytes) => {
      const id = /"id":\s*(\d+)/.exec(bytes.toString('latin1'))?.[1];
      const answers = [
        '"thawed"',
        '{}',
        '1',
        '{"version": "7", "supported_commands": [{"name": "guest-ping", "enabled": true}]}',
      ];
      const answer = id ?? answers[random.below(answers.length)] ?? '{}';
      const line = Buffer.concat([Buffer.of(0xff), Buffer.from(`{"return": ${answer}}\n`)]);
      socket.write(random.below(3) > 0 ? line : mutate(random, line));
    });
  });
  for (let round = 0; round < rounds; round += 1) {
    await answerOf(async () => {
      const agent = await connectGuestAgent(path, { timeoutMs });
      try {
        const calls = [
          () => agent.freezeStatus({ timeoutMs }),
          () => agent.info({ timeoutMs }),
          () => agent.osInfo({ timeoutMs }),
          () => agent.freeze(timeoutMs),
          () => agent.exec('/bin/true', [], { timeoutMs }),
        ];
        await calls[random.below(calls.length)]?.();
      } finally {
        await agent.close();
      }
    }, `seed ${seed}, round ${round}`);
  }
});

interface Middle {
  /** Called with what either says; answers what the other hears. */
  pass: (from: 'client' | 'server', bytes: Buffer) => Buffer;
}

/** A real server, and a socket that leads to it by way of `pass`. */
async function serverBehind(t: TestContext, { pass }: Middle): Promise<string> {
  const socketPath = join(await temporaryFolder(t), 'real');
  const device = memoryDevice(64 * 1024);
  await device.write(0, Buffer.alloc(4096, 7));
  const real = await serveNbd({
    listen: { socketPath },
    exports: [{ name: 'disk', device, writable: true }],
    handshakeTimeoutMs: 2000,
  });
  t.after(() => real.close());
  return listen(t, (socket) => {
    socket.pause();
    void connectUnix(socketPath).then((upstream) => {
      socket.on('data', (bytes: Buffer) => upstream.write(pass('client', bytes))).resume();
      upstream.on('data', (bytes: Buffer) => socket.write(pass('server', bytes)));
      upstream.on('error', () => socket.destroy()).on('close', () => socket.destroy());
      socket.on('close', () => upstream.destroy());
    });
  });
}

async function useExport(socketPath: string): Promise<void> {
  const limits = { connectTimeoutMs: 300, requestTimeoutMs: 300 };
  const client = await connectNbd({ socketPath }, { exportName: 'disk', connections: 1, ...limits });
  try {
    await client.read(0, new Uint8Array(512));
    let end = 0;
    for await (const { offset, length } of client.extents({ offset: 0, length: client.size })) {
      assert.ok(offset === end && length > 0, 'extents follow each other');
      end = offset + length;
    }
    assert.equal(end, client.size);
  } finally {
    await client.close();
  }
}

test('NBD client: a server that says nearly the right thing ends in an error of ours, in time', async (t) => {
  const { seed, rounds, random } = fuzzRun(60);
  t.diagnostic(`seed ${seed}`);
  const socketPath = await serverBehind(t, {
    pass: (from, bytes) => (from === 'server' && random.below(6) === 0 ? mutate(random, bytes) : bytes),
  });
  let good = 0;
  for (let round = 0; round < rounds; round += 1) {
    const where = `seed ${seed}, round ${round}`;
    await answerOf(async () => {
      if (random.below(4) === 0) await listNbdExports({ socketPath }, { connectTimeoutMs: 300 });
      else await useExport(socketPath);
      good += 1;
    }, where);
  }
  t.diagnostic(`${good} of ${rounds} went well all the same`);
});

test('NBD server: whatever a client sends, the next one is served', async (t) => {
  const { seed, rounds, random } = fuzzRun(200);
  t.diagnostic(`seed ${seed}`);
  const said: Buffer[] = [];
  const pass: Middle['pass'] = (from, bytes) => {
    if (from === 'client') said.push(bytes);
    return bytes;
  };
  await useExport(await serverBehind(t, { pass }));
  const client = Buffer.concat(said);
  const socketPath = join(await temporaryFolder(t), 'served');
  const server = await serveNbd({
    listen: { socketPath },
    exports: [{ name: 'disk', device: memoryDevice(64 * 1024) }],
    handshakeTimeoutMs: 2000,
  });
  t.after(() => server.close());
  for (let round = 0; round < rounds; round += 1) {
    const socket = await connectUnix(socketPath);
    socket.on('error', () => undefined).on('data', () => undefined);
    const gone = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket.end(mutate(random, client, [client]));
    await withDeadline(20_000, `seed ${seed}, round ${round}: waiting for the server to let go`, () => gone);
    if (round % 10 !== 0) continue;
    await useExport(socketPath);
  }
});
