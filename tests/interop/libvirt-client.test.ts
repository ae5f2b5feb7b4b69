/** The RPC client against a real libvirtd, with machines that need no guest. */
import assert from 'node:assert/strict';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { runProgram } from '@prima/base';
import {
  BlockJobType,
  connectLibvirt,
  type Domain,
  DomainEventType,
  DomainState,
  LibvirtError,
  MetadataType,
  paramValues,
  StatsTypes,
  XmlFlags,
} from '@prima/libvirt';
import { startLibvirtDaemon, temporaryFolder, waitUntil } from '@prima/testbed';

const daemon = await startLibvirtDaemon({ after });
const libvirt = await connectLibvirt(daemon.uri);
after(() => libvirt.close());

const machine = (name: string, devices = '') => `<domain type='qemu'>
  <name>${name}</name><memory unit='MiB'>32</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>${devices}</devices>
</domain>`;

async function defined(name: string, devices?: string): Promise<Domain> {
  const { dom } = await libvirt.call('domainDefineXmlFlags', { xml: machine(name, devices) });
  return dom;
}

test('the host says what it is, as virsh says it', async () => {
  const { hostname } = await libvirt.call('connectGetHostname', {});
  assert.equal(hostname, (await daemon.virsh('hostname')).trim());
  assert.deepEqual(await libvirt.call('connectGetUri', {}), { uri: 'qemu:///system' });
  assert.deepEqual(await libvirt.call('connectGetType', {}), { type: 'QEMU' });
  const { version } = await libvirt.call('connectGetLibVersion', {});
  assert.ok(version >= 9_000_000 && version < 100_000_000, String(version));
  assert.ok((await libvirt.call('connectGetVersion', {})).version >= 7_000_000);
  const { capabilities } = await libvirt.call('connectGetCapabilities', {});
  assert.equal(capabilities.trim(), (await daemon.virsh('capabilities')).trim());
  const domain = await libvirt.call('connectGetDomainCapabilities', { virttype: 'qemu' });
  assert.match(domain.capabilities, /<backup supported=/);
  const node = await libvirt.call('nodeGetInfo', {});
  const told = await daemon.virsh('nodeinfo');
  assert.equal(Number(/Memory size: +(\d+)/.exec(told)?.[1]), node.memoryKib);
  assert.equal(/CPU model: +(\S+)/.exec(told)?.[1], node.model);
  assert.deepEqual(await libvirt.call('connectIsSecure', {}), { secure: true });
});

test('a machine is defined, found, started, watched and ended', async () => {
  const seen: [event: number, detail: number][] = [];
  const dom = await defined('süß 1');
  const other = await defined('other');
  const subscription = await libvirt.on('lifecycle', ({ event, detail }) => seen.push([event, detail]), {
    dom,
  });
  assert.deepEqual((await libvirt.call('domainLookupByName', { name: 'süß 1' })).dom, dom);
  assert.deepEqual((await libvirt.call('domainLookupByUuid', { uuid: dom.uuid })).dom, dom);
  const { domains } = await libvirt.call('connectListAllDomains', {});
  assert.deepEqual(domains.map(({ name }) => name).sort(), ['other', 'süß 1']);
  const { xml } = await libvirt.call('domainGetXmlDesc', { dom, flags: XmlFlags.VIR_DOMAIN_XML_INACTIVE });
  assert.match(xml, /<name>süß 1<\/name>/);

  const started = await libvirt.call('domainCreateWithFlags', { dom });
  assert.ok(started.dom.id > 0);
  assert.equal((await libvirt.call('domainGetState', { dom })).state, DomainState.VIR_DOMAIN_RUNNING);
  const info = await libvirt.call('domainGetInfo', { dom });
  assert.deepEqual([info.state, info.memoryKib, info.vcpus], [1, 32_768, 1]);
  assert.ok(info.cpuTimeNs > 0n);
  const stats = await libvirt.call('connectGetAllDomainStats', {
    doms: [dom],
    stats: StatsTypes.VIR_DOMAIN_STATS_BALLOON,
  });
  assert.equal(stats.records.length, 1);
  assert.equal(paramValues(stats.records[0]?.params ?? [])['balloon.current'], 32_768n);
  await libvirt.call('domainSuspend', { dom });
  assert.equal((await libvirt.call('domainGetState', { dom })).state, DomainState.VIR_DOMAIN_PAUSED);
  await libvirt.call('domainResume', { dom });
  await libvirt.call('domainDestroyFlags', { dom });
  await libvirt.call('domainUndefineFlags', { dom });
  const stopped = DomainEventType.VIR_DOMAIN_EVENT_STOPPED;
  await waitUntil(() => seen.some(([event]) => event === stopped), { what: 'the event that it has stopped' });
  const events = seen.map(([event]) => event);
  const { VIR_DOMAIN_EVENT_STARTED: began, VIR_DOMAIN_EVENT_SUSPENDED: paused } = DomainEventType;
  for (const event of [began, paused])
    assert.ok(events.includes(event), `event ${event} in ${events.join(', ')}`);
  await subscription.close();
  await subscription.close();
  await libvirt.call('domainUndefineFlags', { dom: other });
});

test("what is refused keeps libvirt's code, domain and words, and has a code of ours", async () => {
  await assert.rejects(libvirt.call('domainLookupByName', { name: 'nobody' }), (error) => {
    assert.ok(error instanceof LibvirtError);
    assert.deepEqual(
      [error.code, error.libvirtCode, error.libvirtDomain, error.details['level']],
      ['not-found', 'VIR_ERR_NO_DOMAIN', 'VIR_FROM_QEMU', 2],
    );
    assert.match(error.text, /no domain with matching name 'nobody'/);
    return true;
  });
  const dom = await defined('refused');
  const refusals: [() => Promise<unknown>, string][] = [
    [() => libvirt.call('domainSuspend', { dom }), 'state'],
    [() => libvirt.call('domainDefineXmlFlags', { xml: '<domain/>' }), 'usage'],
    [() => libvirt.call('domainLookupByName', { name: 'a\0b' }), 'usage'],
    [() => libvirt.call('domainCheckpointLookupByName', { dom, name: 'x' }), 'not-found'],
    [() => libvirt.call('domainBackupGetXmlDesc', { dom }), 'not-found'],
    [() => libvirt.call('storagePoolLookupByName', { name: 'none' }), 'not-found'],
    [() => libvirt.call('storageVolLookupByPath', { path: '/none' }), 'not-found'],
  ];
  for (const [call, code] of refusals) await assert.rejects(call(), { code });
  await libvirt.call('domainUndefineFlags', { dom });
});

test('typed parameters are set and read again', async () => {
  const disk = join(daemon.disks, 'tuned.raw');
  await writeFile(disk, Buffer.alloc(1024 * 1024));
  const dom = await defined(
    'tuned',
    `<disk type='file'><driver name='qemu' type='raw'/><source file='${disk}'/><target dev='vda' bus='virtio'/></disk>`,
  );
  await libvirt.call('domainCreateWithFlags', { dom });
  const params = [
    { field: 'read_bytes_sec', type: 'ullong', value: 10_000_000n },
    { field: 'group_name', type: 'string', value: 'gröup' },
  ] as const;
  await libvirt.call('domainSetBlockIoTune', { dom, disk: 'vda', params });
  const tuned = await libvirt.call('domainGetBlockIoTune', { dom, disk: 'vda' });
  const values = paramValues(tuned.params);
  assert.equal(values['read_bytes_sec'], 10_000_000n);
  assert.equal(values['group_name'], 'gröup');
  const info = await libvirt.call('domainGetBlockInfo', { dom, disk: 'vda' });
  assert.equal(info.capacity, 1024 * 1024);
  const job = await libvirt.call('domainGetBlockJobInfo', { dom, disk: 'vda' });
  assert.deepEqual([job.found, job.type], [false, BlockJobType.VIR_DOMAIN_BLOCK_JOB_TYPE_UNKNOWN]);
  const { result } = await libvirt.call('domainMonitorCommand', {
    dom,
    command: '{"execute":"query-status"}',
  });
  assert.equal(JSON.parse(result).return.status, 'running');
  await libvirt.call('domainDestroyFlags', { dom });
  await libvirt.call('domainUndefineFlags', { dom });
});

test("QEMU's own events come through", async () => {
  const dom = await defined('events');
  await libvirt.call('domainCreateWithFlags', { dom });
  const seen: string[] = [];
  const subscription = await libvirt.onMonitorEvent(({ event }) => seen.push(event), { dom });
  await libvirt.call('domainMonitorCommand', { dom, command: '{"execute":"stop"}' });
  await waitUntil(() => seen.includes('STOP'), { what: "QEMU's event STOP" });
  await subscription.close();
  await libvirt.call('domainDestroyFlags', { dom });
  await libvirt.call('domainUndefineFlags', { dom });
});

test('changes of settings are told', async () => {
  const dom = await defined('told');
  await libvirt.call('domainCreateWithFlags', { dom });
  const seen: unknown[] = [];
  const subscriptions = [
    await libvirt.on('metadataChange', ({ type, uri }) => seen.push(['metadata', type, uri]), { dom }),
    await libvirt.on('reboot', () => seen.push('reboot'), { dom }),
  ];
  const { VIR_DOMAIN_METADATA_TITLE: title, VIR_DOMAIN_METADATA_ELEMENT: element } = MetadataType;
  await libvirt.call('domainSetMetadata', { dom, type: title, metadata: 'x', flags: 1 });
  const own = { dom, type: element, key: 'p', uri: 'urn:p', flags: 1 };
  await libvirt.call('domainSetMetadata', { ...own, metadata: '<a/>' });
  await libvirt.call('domainReset', { dom });
  await waitUntil(() => seen.includes('reboot'), { what: 'the event of a reboot' });
  assert.deepEqual(seen.slice(0, 2), [
    ['metadata', title, undefined],
    ['metadata', element, 'urn:p'],
  ]);
  for (const subscription of subscriptions) await subscription.close();
  await libvirt.call('domainDestroyFlags', { dom });
  await libvirt.call('domainUndefineFlags', { dom });
});

test('many calls at once are all answered, more than the daemon takes', async () => {
  const answers = await Promise.all(
    Array.from({ length: 300 }, (_, i) =>
      i % 2 === 0
        ? libvirt.call('connectGetHostname', {})
        : libvirt.call('domainLookupByName', { name: `none ${i}` }).catch((error: Error) => error.message),
    ),
  );
  for (const [i, answer] of answers.entries()) {
    if (i % 2 === 1) assert.match(JSON.stringify(answer), new RegExp(`'none ${i}'`));
  }
});

test('a connection for looking may not change anything', async () => {
  await using looking = await connectLibvirt(`qemu+unix:///system?socket=${daemon.socket}-ro`, {
    readOnly: true,
  });
  await looking.call('connectGetHostname', {});
  await assert.rejects(looking.call('domainDefineXmlFlags', { xml: machine('x') }), { code: 'permission' });
});

test('where there is no libvirtd, the daemon of QEMU alone is taken', async (test) => {
  const runtime = await temporaryFolder(test);
  await mkdir(join(runtime, 'libvirt'));
  await symlink(daemon.socket, join(runtime, 'libvirt/virtqemud-sock'));
  const before = process.env['XDG_RUNTIME_DIR'];
  test.after(() => {
    if (before === undefined) delete process.env['XDG_RUNTIME_DIR'];
    else process.env['XDG_RUNTIME_DIR'] = before;
  });
  process.env['XDG_RUNTIME_DIR'] = runtime;
  await using own = await connectLibvirt('qemu:///session?name=qemu:///system');
  assert.deepEqual(await own.call('connectGetUri', {}), { uri: 'qemu:///system' });
});

test('nobody at the socket: the sentence says where it was looked for', async () => {
  await assert.rejects(connectLibvirt(`qemu+unix:///system?socket=${daemon.folder}/none`), {
    code: 'remote',
    retryable: true,
    message: /nobody listens at .*\/none; is libvirtd \(or virtqemud\) running\?/,
  });
});

test('when the daemon is killed in the middle of a call, the call ends with an error', async () => {
  const own = await connectLibvirt(daemon.uri);
  const dom = await defined('survivor');
  await libvirt.call('domainCreateWithFlags', { dom });
  process.kill(daemon.pid, 'SIGSTOP'); // so that it does not answer before it is killed
  const call = own.call('domainGetState', { dom });
  const killed = daemon.kill();
  await assert.rejects(call, { code: 'remote', retryable: true, message: /was lost/ });
  await killed;
  await own.close();
  await daemon.restart();
  await using again = await connectLibvirt(daemon.uri);
  assert.equal((await again.call('domainGetState', { dom })).state, DomainState.VIR_DOMAIN_RUNNING);
  await again.call('domainDestroyFlags', { dom });
});

test('a daemon that hangs is given up', async () => {
  await using own = await connectLibvirt(daemon.uri, { keepAlive: { intervalMs: 50, count: 3 } });
  process.kill(daemon.pid, 'SIGSTOP');
  try {
    await assert.rejects(own.call('connectGetHostname', {}), {
      code: 'remote',
      message: /qemu\+unix:\/\/\/system was lost: no sign of life/,
    });
  } finally {
    process.kill(daemon.pid, 'SIGCONT');
  }
});

test('polkit: root is let in, others are told what to do', async () => {
  const config = join(daemon.folder, 'etc/libvirtd.conf');
  const text = await readFile(config, 'utf8');
  await writeFile(config, text.replace('auth_unix_rw = "none"', 'auth_unix_rw = "polkit"'));
  await daemon.restart();
  await using own = await connectLibvirt(daemon.uri);
  await own.call('connectGetHostname', {});
  // another user, who may all the same enter the tests' folders
  const nobody = ['--reuid=65534', '--regid=65534', '--clear-groups'];
  const capability = ['--inh-caps=+dac_override', '--ambient-caps=+dac_override'];
  const reader = join(import.meta.dirname, 'libvirt-polkit-reader.ts');
  const { stdout } = await runProgram('setpriv', [
    ...nobody,
    ...capability,
    process.execPath,
    reader,
    daemon.uri,
  ]);
  assert.match(stdout, /^permission connecting to .*: polkit does not let this user in .*group libvirt/);
});
