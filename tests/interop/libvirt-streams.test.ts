/** Streams of the RPC client against a real libvirtd: volumes with holes, a screenshot, a console; and a guest's agent. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, open, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { KiB, MiB, runProgram, seededRandom, systemClock } from '@prima/base';
import {
  AgentState,
  connectLibvirt,
  CreateFlags,
  type Domain,
  InterfaceAddressesSource,
  LibvirtError,
  StorageVolDownloadFlags,
  StorageVolUploadFlags,
  streamDuplex,
  type StoragePool,
  type StorageVolume,
} from '@prima/libvirt';
import { buildTinyGuest, startLibvirtDaemon, waitUntil } from '@prima/testbed';

// a daemon that is quick to give up clients that show no sign of life
const daemon = await startLibvirtDaemon(
  { after },
  { config: 'keepalive_interval = 1\nkeepalive_count = 2\n' },
);
const libvirt = await connectLibvirt(daemon.uri);
after(() => libvirt.close());
const sparse = StorageVolDownloadFlags.VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM;
const sparseUpload = StorageVolUploadFlags.VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM;

const folder = join(daemon.disks, 'pool');
await mkdir(folder);
const poolXml = `<pool type='dir'><name>pööl</name><target><path>${folder}</path></target></pool>`;
const { pool } = await libvirt.call('storagePoolCreateXml', { xml: poolXml });

async function volume(name: string, bytes: number, of: StoragePool = pool): Promise<StorageVolume> {
  const xml = `<volume><name>${name}</name><capacity unit='bytes'>${bytes}</capacity><allocation>0</allocation></volume>`;
  const { vol } = await libvirt.call('storageVolCreateXml', { pool: of, xml });
  return vol;
}

const random = (bytes: number, seed: number) => seededRandom(seed).bytes(Buffer.alloc(bytes));
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

test('pools and volumes are found, described and looked up', async () => {
  const vol = await volume('looked-up', MiB);
  const { pools } = await libvirt.call('connectListAllStoragePools', {});
  assert.deepEqual(pools, [pool]);
  const info = await libvirt.call('storagePoolGetInfo', { pool });
  assert.ok(info.capacity > 0 && info.available > 0);
  assert.deepEqual((await libvirt.call('storagePoolListAllVolumes', { pool })).volumes, [vol]);
  const { path } = await libvirt.call('storageVolGetPath', { vol });
  assert.equal(path, join(folder, 'looked-up'));
  for (const found of [
    await libvirt.call('storageVolLookupByPath', { path }),
    await libvirt.call('storageVolLookupByKey', { key: vol.key }),
    await libvirt.call('storageVolLookupByName', { pool, name: 'looked-up' }),
  ]) {
    assert.deepEqual(found.vol, vol);
  }
  assert.equal((await libvirt.call('storageVolGetInfo', { vol })).capacity, MiB);
  await libvirt.call('storageVolResize', { vol, capacity: 2 * MiB });
  assert.equal((await stat(path)).size, 2 * MiB);
  await libvirt.call('storageVolDelete', { vol });
  await assert.rejects(libvirt.call('storageVolGetInfo', { vol }), { code: 'not-found' });
});

test('a volume whose name is not UTF-8 is listed and can be used', async () => {
  const name = Buffer.from(`${folder}/Fran\xe7ois`, 'latin1');
  await writeFile(name, 'bonjour');
  await libvirt.call('storagePoolRefresh', { pool });
  const { volumes } = await libvirt.call('storagePoolListAllVolumes', { pool });
  const vol = volumes.find((one) => one.name.startsWith('Fran'));
  assert.ok(vol);
  assert.deepEqual((await libvirt.call('storageVolLookupByName', { pool, name: vol.name })).vol, vol);
  let text = '';
  for await (const bytes of await libvirt.openStream('storageVolDownload', { vol }))
    text += Buffer.from(bytes).toString();
  assert.equal(text, 'bonjour');
  await libvirt.call('storageVolDelete', { vol });
});

test('a volume is written and read as a whole, and in part', async () => {
  const content = random(5 * MiB + 123, 1);
  const vol = await volume('whole', content.length);
  const upload = await libvirt.openStream('storageVolUpload', { vol });
  for (let at = 0; at < content.length; at += 700_000) await upload.write(content.subarray(at, at + 700_000));
  await upload.finish();
  const pieces: Uint8Array[] = [];
  for await (const piece of await libvirt.openStream('storageVolDownload', { vol })) pieces.push(piece);
  assert.equal(sha256(Buffer.concat(pieces)), sha256(content));
  const part: Uint8Array[] = [];
  const range = { vol, offset: MiB + 1, length: 70_000 };
  for await (const piece of await libvirt.openStream('storageVolDownload', range)) part.push(piece);
  assert.ok(Buffer.concat(part).equals(content.subarray(MiB + 1, MiB + 70_001)));
});

test('holes go as holes in both directions', async () => {
  const size = 256 * MiB;
  const [head, tail] = [random(64 * KiB, 2), random(128 * KiB, 3)];
  const vol = await volume('sparse', size);
  const upload = await libvirt.openStream('storageVolUpload', { vol, flags: sparseUpload });
  await upload.write(head);
  await upload.writeHole(100 * MiB);
  await upload.write(tail);
  await upload.writeHole(size - 100 * MiB - head.length - tail.length);
  await upload.finish();
  const file = await stat(join(folder, 'sparse'));
  assert.equal(file.size, size);
  assert.ok(file.blocks * 512 < MiB, `${file.blocks} blocks are taken`);
  const found: string[] = [];
  const data: Uint8Array[] = [];
  for await (const piece of (
    await libvirt.openStream('storageVolDownload', { vol, flags: sparse })
  ).pieces()) {
    if ('data' in piece) data.push(piece.data);
    else found.push(`hole ${piece.holeBytes}`);
  }
  assert.deepEqual(found, [`hole ${100 * MiB}`, `hole ${size - 100 * MiB - head.length - tail.length}`]);
  assert.ok(Buffer.concat(data).equals(Buffer.concat([head, tail])));
  // without the flag the same is all bytes
  let length = 0;
  for await (const piece of await libvirt.openStream('storageVolDownload', { vol })) length += piece.length;
  assert.equal(length, size);
});

test('a download that is given up leaves the connection usable', async () => {
  const vol = await volume('given-up', 64 * MiB);
  for await (const piece of await libvirt.openStream('storageVolDownload', { vol })) {
    assert.ok(piece.length > 0);
    break;
  }
  const upload = await libvirt.openStream('storageVolUpload', { vol });
  await upload.write(random(MiB, 4));
  await upload.abort();
  await libvirt.call('storageVolDelete', { vol });
});

test('what goes wrong in a stream is raised', async () => {
  const vol = await volume('small', MiB);
  // more than was announced
  const upload = await libvirt.openStream('storageVolUpload', { vol, length: 1000 });
  await assert.rejects(
    async () => {
      for (let i = 0; i < 100; i += 1) await upload.write(random(KiB, i));
      await upload.finish();
    },
    (error) => error instanceof LibvirtError,
  );
  await rename(join(folder, 'small'), join(folder, 'moved'));
  await assert.rejects(libvirt.openStream('storageVolDownload', { vol }), { code: /not-found|remote/ });
});

test('several streams and calls share a connection', async () => {
  const contents = [5, 6, 7].map((seed) => random(3 * MiB, seed));
  await Promise.all(
    contents.map(async (content, i) => {
      const vol = await volume(`shared-${i}`, content.length);
      const upload = await libvirt.openStream('storageVolUpload', { vol });
      for (let at = 0; at < content.length; at += MiB / 2) {
        await upload.write(content.subarray(at, at + MiB / 2));
        await libvirt.call('connectGetHostname', {});
      }
      await upload.finish();
      const pieces: Uint8Array[] = [];
      for await (const piece of await libvirt.openStream('storageVolDownload', { vol })) {
        pieces.push(piece);
        await libvirt.call('storageVolGetInfo', { vol });
      }
      assert.equal(sha256(Buffer.concat(pieces)), sha256(content));
    }),
  );
});

async function defineGuest(name: string): Promise<Domain> {
  const guest = await buildTinyGuest();
  const append = guest.kernelArguments({ root: null });
  const os = `<kernel>${guest.kernel}</kernel><initrd>${guest.initrd}</initrd><cmdline>${append}</cmdline>`;
  const xml = `<domain type='qemu'><name>${name}</name><memory unit='MiB'>192</memory>
<os><type arch='x86_64' machine='q35'>hvm</type>${os}</os><features><acpi/></features><cpu mode='maximum'/>
<devices><serial type='pty'><target port='0'/></serial><serial type='pty'><target port='1'/><alias name='ua-second'/></serial>
<video><model type='vga'/></video><channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>`;
  const { dom } = await libvirt.call('domainDefineXmlFlags', { xml });
  return dom;
}

test('a guest: its agent, its screen, its console', async () => {
  const dom = await defineGuest('guest');
  const agent: number[] = [];
  const subscription = await libvirt.on('agentLifecycle', ({ state }) => agent.push(state), { dom });
  await libvirt.call('domainCreateWithFlags', { dom, flags: CreateFlags.VIR_DOMAIN_START_PAUSED });
  await libvirt.call('domainResume', { dom });
  const { VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED: connected } = AgentState;
  await waitUntil(() => agent.includes(connected), {
    what: 'the event that the agent is there',
    timeoutMs: 120_000,
  });
  await subscription.close();

  const ask = async <T>(execute: string, args: object = {}): Promise<T> => {
    const command = JSON.stringify({ execute, arguments: args });
    const { result } = await libvirt.call('domainAgentCommand', { dom, command, timeoutSeconds: 60 });
    return (JSON.parse(result ?? '') as { return: T }).return;
  };
  await ask('guest-ping');
  await assert.rejects(
    ask('guest-nonsense'),
    (error) => error instanceof LibvirtError && /guest-nonsense/.test(error.text),
  );
  await libvirt.call('domainGetFsInfo', { dom });
  const { seconds } = await libvirt.call('domainGetTime', { dom });
  assert.ok(Math.abs(seconds - Date.now() / 1000) < 3600, String(seconds));
  const source = InterfaceAddressesSource.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT;
  const { interfaces } = await libvirt.call('domainInterfaceAddresses', { dom, source });
  assert.deepEqual(interfaces.find(({ name }) => name === 'lo')?.addresses[0], {
    type: 0,
    address: '127.0.0.1',
    prefix: 8,
  });

  const screen = await libvirt.openStream('domainScreenshot', { dom });
  const picture: Uint8Array[] = [];
  for await (const bytes of screen) picture.push(bytes);
  assert.equal(screen.reply.mime, 'image/png');
  assert.equal(Buffer.concat(picture).toString('latin1', 1, 4), 'PNG');

  // the guest sends one line of its second serial port back
  const console = streamDuplex(await libvirt.openStream('domainOpenConsole', { dom, device: 'ua-second' }));
  const script = 'stty -F /dev/ttyS1 raw -echo; read line </dev/ttyS1; echo "got $line" >/dev/ttyS1';
  await ask('guest-exec', { path: '/bin/sh', arg: ['-c', script] });
  let said = '';
  console.setEncoding('utf8').on('data', (text: string) => (said += text));
  await waitUntil(
    () => {
      console.write('hello\n'); // until somebody reads
      return said.includes('got hello');
    },
    { what: 'the answer at the console', intervalMs: 200 },
  );
  const closed = new Promise((resolve) => console.once('close', resolve));
  console.end();
  await closed;
  await libvirt.call('domainDestroyFlags', { dom });
});

test("a console ends with the machine's end", async () => {
  const dom = await defineGuest('short-lived');
  await libvirt.call('domainCreateWithFlags', { dom });
  const console = streamDuplex(await libvirt.openStream('domainOpenConsole', { dom }));
  const ended = new Promise<Error | undefined>((resolve) => {
    console
      .once('error', resolve)
      .once('end', () => resolve(undefined))
      .resume();
  });
  await libvirt.call('domainDestroyFlags', { dom });
  const error = await ended;
  assert.ok(error === undefined || error instanceof LibvirtError, String(error));
  await assert.rejects(libvirt.openStream('domainOpenConsole', { dom }), { code: 'state' });
});

test('a reader may take its time: both sides know that the other lives', async () => {
  await using own = await connectLibvirt(daemon.uri, { keepAlive: { intervalMs: 300, count: 3 } });
  const vol = await volume('slow', 32 * MiB);
  const stream = await own.openStream('storageVolDownload', { vol });
  await systemClock.sleep(5000); // the daemon gives up a silent client after 3 s
  let length = 0;
  for await (const piece of stream) length += piece.length;
  assert.equal(length, 32 * MiB);
  await own.call('connectGetHostname', {});
});

test('the same bytes as virsh reads', async () => {
  const vol = await volume('compared', 8 * MiB);
  await using file = await open(join(folder, 'compared'), 'r+');
  await file.write(random(2 * MiB, 9), 0, 2 * MiB, 3 * MiB);
  const target = join(daemon.disks, 'by-virsh');
  await runProgram('virsh', ['-q', '-c', daemon.uri, 'vol-download', 'compared', target, '--pool', 'pööl']);
  const hash = createHash('sha256');
  for await (const piece of await libvirt.openStream('storageVolDownload', { vol })) hash.update(piece);
  const { stdout } = await runProgram('sha256sum', [target]);
  assert.equal(stdout.slice(0, 64), hash.digest('hex'));
});
