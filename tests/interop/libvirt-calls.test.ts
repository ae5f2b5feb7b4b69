/** One call after the other against a real libvirtd: what it takes and answers is read as it is meant. */
import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { MiB, runProgram } from '@prima/base';
import {
  AffectFlags,
  BlockCommitFlags,
  BlockJobAbortFlags,
  BlockJobStatus,
  BlockJobType,
  BlockResizeFlags,
  CheckpointListFlags,
  connectLibvirt,
  CreateFlags,
  DeviceFlags,
  type Domain,
  DomainState,
  JobOperation,
  JobStatsFlags,
  JobType,
  MetadataType,
  NetworkXmlFlags,
  paramValues,
  SecretUsageType,
  SnapshotCreateFlags,
  SnapshotDeleteFlags,
  UndefineFlags,
  VcpuFlags,
} from '@prima/libvirt';
import { startLibvirtDaemon, waitUntil } from '@prima/testbed';

const daemon = await startLibvirtDaemon({ after });
const libvirt = await connectLibvirt(daemon.uri);
after(() => libvirt.close());

const { VIR_DOMAIN_AFFECT_CONFIG: config, VIR_DOMAIN_AFFECT_LIVE: live } = AffectFlags;

async function image(name: string, bytes = 4 * MiB): Promise<string> {
  const path = join(daemon.disks, name);
  await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', path, String(bytes)]);
  return path;
}

const disk = (path: string, target: string) =>
  `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${path}'/><target dev='${target}' bus='virtio'/></disk>`;

/** A machine of one disk, `vda`, without anything to boot. */
async function machine(name: string): Promise<Domain> {
  const xml = `<domain type='qemu'><name>${name}</name><memory unit='MiB'>64</memory><vcpu current='1'>2</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>
<devices>${disk(await image(`${name}.qcow2`), 'vda')}<controller type='usb' model='none'/></devices></domain>`;
  return (await libvirt.call('domainDefineXmlFlags', { xml })).dom;
}

async function removed(dom: Domain): Promise<void> {
  const { active } = await libvirt.call('domainIsActive', { dom });
  if (active) await libvirt.call('domainDestroyFlags', { dom });
  const {
    VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA: snapshots,
    VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA: checkpoints,
  } = UndefineFlags;
  await libvirt.call('domainUndefineFlags', { dom, flags: snapshots | checkpoints });
}

test('settings of a machine: autostart, metadata, memory, processors, scheduler, name', async () => {
  const dom = await machine('settings');
  assert.deepEqual(await libvirt.call('domainGetAutostart', { dom }), { autostart: false });
  await libvirt.call('domainSetAutostart', { dom, autostart: true });
  assert.deepEqual(await libvirt.call('domainGetAutostart', { dom }), { autostart: true });
  await libvirt.call('domainSetAutostart', { dom, autostart: false });

  const { VIR_DOMAIN_METADATA_ELEMENT: element, VIR_DOMAIN_METADATA_TITLE: title } = MetadataType;
  const uri = 'https://prima.example/1';
  await libvirt.call('domainSetMetadata', { dom, type: title, metadata: 'Wëb', flags: config });
  assert.deepEqual(await libvirt.call('domainGetMetadata', { dom, type: title }), { metadata: 'Wëb' });
  const own = { dom, type: element, uri };
  await libvirt.call('domainSetMetadata', { ...own, metadata: '<a>1</a>', key: 'prima', flags: config });
  assert.match((await libvirt.call('domainGetMetadata', own)).metadata, /<a>1<\/a>/);
  await libvirt.call('domainSetMetadata', { ...own, key: 'prima', flags: config });
  await assert.rejects(libvirt.call('domainGetMetadata', own), { code: 'not-found' });

  await libvirt.call('domainSetMemoryFlags', { dom, memoryKib: 32_768, flags: config });
  assert.equal((await libvirt.call('domainGetInfo', { dom })).memoryKib, 32_768);
  assert.deepEqual(await libvirt.call('domainGetMaxMemory', { dom }), { memoryKib: 65_536 });
  await libvirt.call('domainSetVcpusFlags', { dom, vcpus: 2, flags: config });
  const maximum = VcpuFlags.VIR_DOMAIN_VCPU_MAXIMUM | config;
  assert.deepEqual(await libvirt.call('domainGetVcpusFlags', { dom, flags: maximum }), { vcpus: 2 });
  const shares = { field: 'cpu_shares', type: 'ullong', value: 512n } as const;
  await libvirt.call('domainSetSchedulerParametersFlags', { dom, params: [shares], flags: config });
  const { params } = await libvirt.call('domainGetSchedulerParametersFlags', { dom, flags: config });
  assert.equal(paramValues(params)['cpu_shares'], 512n);
  const weight = { field: 'weight', type: 'uint', value: 500 } as const;
  await libvirt.call('domainSetBlkioParameters', { dom, params: [weight], flags: config });
  const blkio = await libvirt.call('domainGetBlkioParameters', { dom, flags: config });
  assert.equal(paramValues(blkio.params)['weight'], 500);
  const limit = { field: 'hard_limit', type: 'ullong', value: 1_000_000n } as const;
  await libvirt.call('domainSetMemoryParameters', { dom, params: [limit], flags: config });
  const memory = await libvirt.call('domainGetMemoryParameters', { dom, flags: config });
  assert.equal(paramValues(memory.params)['hard_limit'], 1_000_000n);

  await libvirt.call('domainRename', { dom, newName: 'renamed' });
  assert.equal((await libvirt.call('domainLookupByUuid', { uuid: dom.uuid })).dom.name, 'renamed');
  assert.deepEqual(await libvirt.call('domainIsPersistent', { dom }), { persistent: true });
  await removed(dom);
});

test('checkpoints and a backup', async () => {
  const dom = await machine('backup');
  await libvirt.call('domainCreateWithFlags', { dom, flags: CreateFlags.VIR_DOMAIN_START_PAUSED });
  const checkpointXml = (name: string) =>
    `<domaincheckpoint><name>${name}</name><disks><disk name='vda' checkpoint='bitmap'/></disks></domaincheckpoint>`;
  const first = (await libvirt.call('domainCheckpointCreateXml', { dom, xml: checkpointXml('c1') }))
    .checkpoint;
  const socket = join(daemon.disks, 'nbd');
  const backupXml = `<domainbackup mode='pull'><incremental>c1</incremental><server transport='unix' socket='${socket}'/><disks>
<disk name='vda' backup='yes' type='file' exportname='vda'><driver type='qcow2'/><scratch file='${socket}.scratch'/></disk></disks></domainbackup>`;
  await libvirt.call('domainBackupBegin', { dom, backupXml, checkpointXml: checkpointXml('c2') });
  assert.match((await libvirt.call('domainBackupGetXmlDesc', { dom })).xml, /<incremental>c1<\/incremental>/);
  assert.ok((await stat(socket)).isSocket());
  const stats = await libvirt.call('domainGetJobStats', { dom });
  assert.equal(stats.type, JobType.VIR_DOMAIN_JOB_UNBOUNDED);
  assert.equal(paramValues(stats.params)['operation'], JobOperation.VIR_DOMAIN_JOB_OPERATION_BACKUP);
  assert.equal((await libvirt.call('domainGetJobInfo', { dom })).type, JobType.VIR_DOMAIN_JOB_UNBOUNDED);
  const stream = await libvirt.openUnix(socket);
  stream.destroy();
  const jobs: TypedParamValues[] = [];
  const subscription = await libvirt.on('jobCompleted', ({ params }) => jobs.push(paramValues(params)), {
    dom,
  });
  await libvirt.call('domainAbortJob', { dom });
  await waitUntil(() => jobs.length > 0, { what: 'the event that the job has ended' });
  await subscription.close();
  const flags = JobStatsFlags.VIR_DOMAIN_JOB_STATS_COMPLETED;
  const after = await libvirt.call('domainGetJobStats', { dom, flags });
  assert.equal(after.type, JobType.VIR_DOMAIN_JOB_COMPLETED); // of a pull, that is its end

  const names = async (
    list: { checkpoints: { name: string }[] } | Promise<{ checkpoints: { name: string }[] }>,
  ) => (await list).checkpoints.map(({ name }) => name);
  const topological = CheckpointListFlags.VIR_DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL;
  assert.deepEqual(await names(libvirt.call('domainListAllCheckpoints', { dom, flags: topological })), [
    'c1',
    'c2',
  ]);
  assert.deepEqual(await names(libvirt.call('domainCheckpointListAllChildren', { checkpoint: first })), [
    'c2',
  ]);
  const second = (await libvirt.call('domainCheckpointLookupByName', { dom, name: 'c2' })).checkpoint;
  assert.deepEqual((await libvirt.call('domainCheckpointGetParent', { checkpoint: second })).parent, first);
  assert.match(
    (await libvirt.call('domainCheckpointGetXmlDesc', { checkpoint: second })).xml,
    /<name>c1<\/name>/,
  );
  for (const checkpoint of [first, second]) await libvirt.call('domainCheckpointDelete', { checkpoint });
  await removed(dom);
});

type TypedParamValues = ReturnType<typeof paramValues>;

test('an external snapshot, and the disk brought together again', async () => {
  const dom = await machine('snapshots');
  await libvirt.call('domainCreateWithFlags', { dom, flags: CreateFlags.VIR_DOMAIN_START_PAUSED });
  const { VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY: diskOnly } = SnapshotCreateFlags;
  const overlay = join(daemon.disks, 'snapshots.overlay');
  const xml = `<domainsnapshot><name>s1</name><disks><disk name='vda' snapshot='external'><source file='${overlay}'/></disk></disks></domainsnapshot>`;
  const { snapshot } = await libvirt.call('domainSnapshotCreateXml', { dom, xml, flags: diskOnly });
  assert.deepEqual((await libvirt.call('domainListAllSnapshots', { dom })).snapshots, [snapshot]);
  assert.deepEqual(
    (await libvirt.call('domainSnapshotLookupByName', { dom, name: 's1' })).snapshot,
    snapshot,
  );
  assert.deepEqual(await libvirt.call('domainHasCurrentSnapshot', { dom }), { result: true });
  assert.deepEqual(await libvirt.call('domainSnapshotIsCurrent', { snapshot }), { current: true });
  assert.match((await libvirt.call('domainSnapshotGetXmlDesc', { snapshot })).xml, /snapshots\.overlay/);
  await assert.rejects(libvirt.call('domainSnapshotGetParent', { snapshot }), { code: 'not-found' });

  const states: number[] = [];
  const subscription = await libvirt.on(
    'blockJob2',
    ({ disk: target, status }) => target === 'vda' && states.push(status),
    { dom },
  );
  const { VIR_DOMAIN_BLOCK_COMMIT_ACTIVE: active } = BlockCommitFlags;
  await libvirt.call('domainBlockCommit', { dom, disk: 'vda', flags: active });
  await waitUntil(() => states.includes(BlockJobStatus.VIR_DOMAIN_BLOCK_JOB_READY), {
    what: 'the commit to be ready',
  });
  const job = await libvirt.call('domainGetBlockJobInfo', { dom, disk: 'vda' });
  assert.deepEqual([job.found, job.type], [true, BlockJobType.VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT]);
  await libvirt.call('domainBlockJobSetSpeed', { dom, disk: 'vda', bandwidth: 100 });
  const { VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT: pivot } = BlockJobAbortFlags;
  await libvirt.call('domainBlockJobAbort', { dom, disk: 'vda', flags: pivot });
  await waitUntil(() => states.includes(BlockJobStatus.VIR_DOMAIN_BLOCK_JOB_COMPLETED), {
    what: 'the commit to end',
  });
  await subscription.close();
  assert.doesNotMatch((await libvirt.call('domainGetXmlDesc', { dom })).xml, /snapshots\.overlay'/);
  const { VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY: metadataOnly } = SnapshotDeleteFlags;
  await libvirt.call('domainSnapshotDelete', { snapshot, flags: metadataOnly });
  assert.deepEqual((await libvirt.call('domainListAllSnapshots', { dom })).snapshots, []);
  await removed(dom);
});

test('disks are added, copied, grown and taken away', async () => {
  const dom = await machine('devices');
  await libvirt.call('domainCreateWithFlags', { dom, flags: CreateFlags.VIR_DOMAIN_START_PAUSED });
  const { VIR_DOMAIN_DEVICE_MODIFY_LIVE: modify } = DeviceFlags;
  const second = disk(await image('devices-2.qcow2'), 'vdb');
  await libvirt.call('domainAttachDeviceFlags', { dom, xml: second, flags: modify });
  assert.equal((await libvirt.call('domainGetBlockInfo', { dom, disk: 'vdb' })).capacity, 4 * MiB);
  const { VIR_DOMAIN_BLOCK_RESIZE_BYTES: bytes } = BlockResizeFlags;
  await libvirt.call('domainBlockResize', { dom, disk: 'vdb', size: 8 * MiB, flags: bytes });
  assert.equal((await libvirt.call('domainGetBlockInfo', { dom, disk: 'vdb' })).capacity, 8 * MiB);
  await libvirt.call('domainSetBlockThreshold', { dom, device: 'vdb', threshold: 4096 });
  const stats = await libvirt.call('domainBlockStatsFlags', { dom, disk: 'vdb' });
  assert.equal(typeof paramValues(stats.params)['wr_bytes'], 'bigint');
  assert.deepEqual(await libvirt.call('domainGetDiskErrors', { dom }), { errors: [], count: 0 });
  const copy = join(daemon.disks, 'devices-copy.qcow2');
  const destXml = `<disk type='file'><source file='${copy}'/><driver type='qcow2'/></disk>`;
  const params = [{ field: 'bandwidth', type: 'ullong', value: 100_000_000n }] as const;
  const transient = 4; // VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
  await libvirt.call('domainBlockCopy', { dom, disk: 'vdb', destXml, params, flags: transient });
  await waitUntil(
    async () => {
      const job = await libvirt.call('domainGetBlockJobInfo', { dom, disk: 'vdb' });
      return job.found && job.end > 0n && job.cur === job.end;
    },
    { what: 'the copy to be ready' },
  );
  await libvirt.call('domainBlockJobAbort', { dom, disk: 'vdb' });
  await libvirt.call('domainMemoryStats', { dom });
  const update = `<disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>`;
  await assert.rejects(libvirt.call('domainUpdateDeviceFlags', { dom, xml: update, flags: live }), {
    name: 'LibvirtError',
  });
  await removed(dom);
});

test("a machine is saved and woken, in a place of ours and of libvirt's", async () => {
  const dom = await machine('saved');
  await libvirt.call('domainCreateWithFlags', { dom });
  await libvirt.call('domainManagedSave', { dom });
  assert.deepEqual(await libvirt.call('domainHasManagedSaveImage', { dom }), { result: true });
  assert.match((await libvirt.call('domainManagedSaveGetXmlDesc', { dom })).xml, /<name>saved<\/name>/);
  await libvirt.call('domainManagedSaveRemove', { dom });
  assert.deepEqual(await libvirt.call('domainHasManagedSaveImage', { dom }), { result: false });
  await libvirt.call('domainCreateWithFlags', { dom });
  const file = join(daemon.disks, 'saved.state');
  await libvirt.call('domainSaveFlags', { dom, to: file });
  const { xml } = await libvirt.call('domainSaveImageGetXmlDesc', { file });
  assert.match(xml, /<name>saved<\/name>/);
  await libvirt.call('domainSaveImageDefineXml', { file, dxml: xml });
  await libvirt.call('domainRestoreFlags', { from: file });
  assert.equal((await libvirt.call('domainGetState', { dom })).state, DomainState.VIR_DOMAIN_RUNNING);
  await libvirt.call('domainReboot', { dom, flags: 1 });
  await libvirt.call('domainShutdownFlags', { dom });
  assert.deepEqual(await libvirt.call('domainGetControlInfo', { dom }), {
    state: 0,
    details: 0,
    stateTimeMs: 0,
  });
  await removed(dom);
});

test('networks, filters, secrets, devices', async () => {
  const xml = `<network><name>nët</name><bridge name='prima-t0'/><ip address='192.0.2.1' netmask='255.255.255.0'/></network>`;
  const { network } = await libvirt.call('networkDefineXml', { xml });
  assert.deepEqual((await libvirt.call('connectListAllNetworks', {})).networks, [network]);
  assert.deepEqual((await libvirt.call('networkLookupByName', { name: 'nët' })).network, network);
  assert.deepEqual((await libvirt.call('networkLookupByUuid', { uuid: network.uuid })).network, network);
  const { VIR_NETWORK_XML_INACTIVE: flags } = NetworkXmlFlags;
  assert.match((await libvirt.call('networkGetXmlDesc', { network, flags })).xml, /192\.0\.2\.1/);
  assert.deepEqual(await libvirt.call('networkGetBridgeName', { network }), { name: 'prima-t0' });
  assert.deepEqual(await libvirt.call('networkIsActive', { network }), { active: false });
  await libvirt.call('networkSetAutostart', { network, autostart: true });
  assert.deepEqual(await libvirt.call('networkGetAutostart', { network }), { autostart: true });
  await libvirt.call('networkUndefine', { network });
  await assert.rejects(libvirt.call('networkLookupByName', { name: 'nët' }), { code: 'not-found' });

  const secretXml = `<secret ephemeral='no' private='no'><usage type='ceph'><name>client</name></usage></secret>`;
  const { secret } = await libvirt.call('secretDefineXml', { xml: secretXml });
  const value = Buffer.from('s\0ecret');
  await libvirt.call('secretSetValue', { secret, value });
  assert.deepEqual(Buffer.from((await libvirt.call('secretGetValue', { secret })).value), value);
  const usageType = SecretUsageType.VIR_SECRET_USAGE_TYPE_CEPH;
  assert.deepEqual(
    (await libvirt.call('secretLookupByUsage', { usageType, usageId: 'client' })).secret,
    secret,
  );
  assert.deepEqual((await libvirt.call('connectListAllSecrets', {})).secrets, [secret]);
  assert.match((await libvirt.call('secretGetXmlDesc', { secret })).xml, /client/);
  await libvirt.call('secretUndefine', { secret });

  const { nwfilter } = await libvirt.call('nwfilterDefineXml', {
    xml: "<filter name='f'><rule action='drop' direction='in'/></filter>",
  });
  assert.deepEqual((await libvirt.call('nwfilterLookupByName', { name: 'f' })).nwfilter, nwfilter);
  await libvirt.call('nwfilterUndefine', { nwfilter });
  const { devices } = await libvirt.call('connectListAllNodeDevices', {});
  for (const { name } of devices.slice(0, 3)) {
    assert.match((await libvirt.call('nodeDeviceGetXmlDesc', { name })).xml, /<device>/);
  }
  const { interfaces } = await libvirt.call('connectListAllInterfaces', {});
  assert.ok(interfaces.some(({ name }) => name === 'lo'));
});

test('pools are defined, built, started, refreshed and removed', async () => {
  const path = join(daemon.disks, 'built');
  const xml = `<pool type='dir'><name>built</name><target><path>${path}</path></target></pool>`;
  const { pool } = await libvirt.call('storagePoolDefineXml', { xml });
  await libvirt.call('storagePoolBuild', { pool });
  await libvirt.call('storagePoolCreate', { pool });
  assert.deepEqual(await libvirt.call('storagePoolIsActive', { pool }), { active: true });
  await libvirt.call('storagePoolRefresh', { pool });
  await libvirt.call('storagePoolSetAutostart', { pool, autostart: true });
  assert.deepEqual(await libvirt.call('storagePoolGetAutostart', { pool }), { autostart: true });
  const volumeXml = (name: string) =>
    `<volume><name>${name}</name><capacity unit='MiB'>1</capacity><target><format type='qcow2'/></target></volume>`;
  const { vol } = await libvirt.call('storageVolCreateXml', { pool, xml: volumeXml('one') });
  const clone = await libvirt.call('storageVolCreateXmlFrom', { pool, xml: volumeXml('two'), source: vol });
  assert.equal(clone.vol.name, 'two');
  assert.deepEqual((await libvirt.call('storagePoolLookupByVolume', { vol })).pool, pool);
  assert.deepEqual((await libvirt.call('storagePoolLookupByTargetPath', { path })).pool, pool);
  assert.match((await libvirt.call('storageVolGetXmlDesc', { vol })).xml, /qcow2/);
  for (const one of [vol, clone.vol]) await libvirt.call('storageVolDelete', { vol: one });
  await libvirt.call('storagePoolDestroy', { pool });
  await libvirt.call('storagePoolDelete', { pool });
  await libvirt.call('storagePoolUndefine', { pool });
  assert.deepEqual((await libvirt.call('connectListAllStoragePools', {})).pools, []);
});
