import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { answers, machine, point, troubled } from './fake-answers.ts';
import { type Answers, type Call, type FakeSetup, runFake } from './fake-environment.ts';

process.env['TZ'] = 'UTC';

/** What each command line asks the application for. */
const requests: readonly (readonly [string, Call])[] = [
  ['init', { method: 'init', request: {} }],
  [
    'init --chunk-size 64K --level 5 --no-read-back --label first',
    { method: 'init', request: { chunkSize: 65_536, level: 5, readBack: false, label: 'first' } },
  ],
  ['status', { method: 'status' }],
  ['backup lab/web01', { method: 'backup', request: { sources: ['lab/web01'] } }],
  [
    'backup a.raw b.raw --mode cold --full --skip-free-space --name n --tag x --tag y --no-read-back',
    {
      method: 'backup',
      request: {
        sources: ['a.raw', 'b.raw'],
        mode: 'cold',
        full: true,
        skipFreeSpace: true,
        name: 'n',
        tags: ['x', 'y'],
        readBack: false,
      },
    },
  ],
  ['points', { method: 'points', request: {} }],
  ['points web01 --tag x', { method: 'points', request: { machine: 'web01', tags: ['x'] } }],
  ['show web01@latest', { method: 'show', request: { point: 'web01@latest' } }],
  ['show latest --partitions', { method: 'show', request: { point: 'latest', partitions: true } }],
  [
    'show latest --map --verification',
    { method: 'show', request: { point: 'latest', map: true, verification: true } },
  ],
  ['diff 1f2e latest', { method: 'diff', request: { a: '1f2e', b: 'latest' } }],
  ['restore latest --to /out', { method: 'restoreToFolder', request: { point: 'latest', folder: '/out' } }],
  [
    'restore latest --to out --format qcow2 --disk 0 --force',
    {
      method: 'restoreToFolder',
      request: { point: 'latest', folder: resolve('out'), format: 'qcow2', disk: '0', force: true },
    },
  ],
  [
    'restore latest --to out/web.OVA --force',
    {
      method: 'restoreToPackage',
      request: { point: 'latest', path: resolve('out/web.OVA'), format: 'ova', force: true },
    },
  ],
  [
    'restore latest --to web.ovf --format ovf --allow-damaged',
    {
      method: 'restoreToPackage',
      request: { point: 'latest', path: resolve('web.ovf'), format: 'ovf', allowDamaged: true },
    },
  ],
  ['restore latest --to-host lab', { method: 'restoreToHost', request: { point: 'latest', host: 'lab' } }],
  [
    'restore latest --to-device /dev/sdb --disk disk1 --overwrite-lun --force',
    {
      method: 'restoreToDevice',
      request: { point: 'latest', device: '/dev/sdb', disk: 'disk1', overwrite: true, force: true },
    },
  ],
  [
    'restore latest --to out --map-luns --lun iscsi://san/iqn.x/1 --lun /dev/sdb',
    {
      method: 'restoreToFolder',
      request: {
        point: 'latest',
        folder: resolve('out'),
        luns: { devices: ['iscsi://san/iqn.x/1', '/dev/sdb'] },
      },
    },
  ],
  [
    'restore latest --to-host lab --map-luns --overwrite-lun',
    { method: 'restoreToHost', request: { point: 'latest', host: 'lab', luns: { overwrite: true } } },
  ],
  [
    'restore latest --to-host lab --as web02 --start',
    { method: 'restoreToHost', request: { point: 'latest', host: 'lab', as: 'web02', start: true } },
  ],
  ['recover latest --to-host lab', { method: 'recover', request: { point: 'latest', host: 'lab' } }],
  [
    'recover latest --to-host lab --as web02 --migrate-to fast --move-rate 50M --allow-damaged',
    {
      method: 'recover',
      request: {
        point: 'latest',
        host: 'lab',
        as: 'web02',
        pool: 'fast',
        moveRate: 50 * 1024 * 1024,
        allowDamaged: true,
      },
    },
  ],
  [
    'recover latest --to-host lab --no-migrate',
    { method: 'recover', request: { point: 'latest', host: 'lab', move: false } },
  ],
  ['recover --resume lab/web01', { method: 'recoverResume', request: { machine: 'lab/web01' } }],
  ['recover --cancel lab/web01', { method: 'recoverCancel', request: { machine: 'lab/web01' } }],
  ...(
    [
      ['copy 1f2e latest', { points: ['1f2e', 'latest'] }, {}],
      ['copy --machine web01 --verify --dry-run', { machine: 'web01' }, { verify: true, dryRun: true }],
      ['copy --all --no-read-back', { all: true }, { readBack: false }],
    ] as const
  ).map(([line, which, how]): readonly [string, Call] => [
    `${line} --to /mnt/copy`,
    {
      method: 'copy',
      request: { ...which, to: { url: '/mnt/copy', secret: { kind: 'passphrase', text: 'other' } }, ...how },
    },
  ]),
  [
    'machine export lab/web01 --to /out --kind streamOptimized --method filter --force',
    {
      method: 'machineExport',
      request: {
        machine: 'lab/web01',
        folder: '/out',
        kind: 'streamOptimized',
        method: 'filter',
        force: true,
      },
    },
  ],
  [
    'disk rdm create lun.vmdk --device /dev/sdb --mode physical',
    { method: 'rdmCreate', request: { target: resolve('lun.vmdk'), device: '/dev/sdb', mode: 'physical' } },
  ],
  ['disk rdm query lun.vmdk', { method: 'rdmQuery', request: { path: resolve('lun.vmdk') } }],
  [
    'disk rdm remap lun.vmdk --device /dev/sdc --force',
    { method: 'rdmRemap', request: { path: resolve('lun.vmdk'), device: '/dev/sdc', force: true } },
  ],
  ['disk redo list lab/web01', { method: 'redoList', request: { target: 'lab/web01' } }],
  [
    'disk redo add lab/web01 --disk disk0 --disk scsi0:1 --no-quiesce',
    { method: 'redoAdd', request: { target: 'lab/web01', disks: ['disk0', 'scsi0:1'], quiesce: false } },
  ],
  [
    'disk redo commit a.raw --format raw --level 1 --freeze',
    { method: 'redoCommit', request: { target: 'a.raw', format: 'raw', level: 1, freeze: true } },
  ],
  ['disk redo commit a.raw --level 0', { method: 'redoCommit', request: { target: 'a.raw', level: 0 } }],
  ['disk redo discard a.raw --yes', { method: 'redoDiscard', request: { target: 'a.raw' } }],
  [
    'machine start lab/web01 --redo append',
    { method: 'machinePower', request: { machine: 'lab/web01', action: 'start', redo: 'append' } },
  ],
  ['init --lock 14d', { method: 'init', request: { lockMs: 14 * 86_400_000 } }],
  [
    'backup a.raw --limit-read 100M',
    { method: 'backup', request: { sources: ['a.raw'], limits: { read: 100 * 1024 ** 2 } } },
  ],
  ['backup a.raw --lock 12h', { method: 'backup', request: { sources: ['a.raw'], lockMs: 43_200_000 } }],
  [
    'lock 1f2e latest --for 30d',
    { method: 'lock', request: { points: ['1f2e', 'latest'], forMs: 2_592_000_000 } },
  ],
  ['lock 1f2e --until 2026-12-31', { method: 'lock', request: { points: ['1f2e'], until: '2026-12-31' } }],
  ['check', { method: 'check', request: {} }],
  ['check --read-data', { method: 'check', request: { readData: true } }],
  [
    'check --budget 50G --machine web01 --no-record --rebuild-index',
    {
      method: 'check',
      request: { budgetBytes: 50 * 1024 ** 3, machine: 'web01', record: false, rebuildIndex: true },
    },
  ],
  [
    'restore 1f2e --to /out --allow-damaged',
    { method: 'restoreToFolder', request: { point: '1f2e', folder: '/out', allowDamaged: true } },
  ],
  [
    'restore 1f2e --to-host lab --allow-damaged',
    { method: 'restoreToHost', request: { point: '1f2e', host: 'lab', allowDamaged: true } },
  ],
  ['forget 1f2e aa2e', { method: 'forget', request: { points: ['1f2e', 'aa2e'] } }],
  ['forget --keep-last 3', { method: 'forget', request: { keep: { last: 3 } } }],
  [
    'forget web01 --keep-hourly 1 --keep-daily 2 --keep-weekly 3 --keep-monthly 4 --keep-yearly 5 --keep-tag t --dry-run',
    {
      method: 'forget',
      request: {
        machine: 'web01',
        keep: { hourly: 1, daily: 2, weekly: 3, monthly: 4, yearly: 5 },
        keepTags: ['t'],
        dryRun: true,
      },
    },
  ],
  ['collect', { method: 'collect', request: {} }],
  [
    'collect --dry-run --wait 10m --max-delete-share 0.5',
    { method: 'collect', request: { dryRun: true, waitMs: 600_000, maxDeleteShare: 0.5 } },
  ],
  ['key list', { method: 'keyList' }],
  ['key rotate', { method: 'keyRotate' }],
  ['key rotate --root', { method: 'keyRotateRoot', request: {} }],
  [
    'key rotate --root --also-key-file vault.key --drop-others',
    {
      method: 'keyRotateRoot',
      request: { others: [{ kind: 'keyfile', path: resolve('vault.key') }], dropOthers: true },
    },
  ],
  [
    'key add --recovery --label safe --read-only',
    { method: 'keyAdd', request: { secret: { kind: 'new-recovery' }, label: 'safe', readOnly: true } },
  ],
  ['init --recovery', { method: 'init', request: { recovery: true } }],
  ['repair', { method: 'repair', request: {} }],
  [
    'repair --from /mnt/old --from s3://b/p --keep 30d --yes',
    { method: 'repair', request: { apply: true, keepMs: 2_592_000_000, from: ['/mnt/old', 's3://b/p'] } },
  ],
  ['check --accept-head', { method: 'check', request: { acceptHead: true } }],
  ['key remove k1 --force', { method: 'keyRemove', request: { id: 'k1', force: true } }],
  ['storage test sftp://u@nas/b', { method: 'storageTest', request: { url: 'sftp://u@nas/b' } }],
  [
    'storage undelete s3://b/p --dry-run',
    { method: 'storageUndelete', request: { url: 's3://b/p', dryRun: true } },
  ],
  ['disk info web.qcow2', { method: 'diskInfo', request: { path: 'web.qcow2' } }],
  [
    'disk map x --format raw --limit 5',
    { method: 'diskMap', request: { path: 'x', format: 'raw', limit: 5 } },
  ],
  [
    'disk compare x y --b-format qcow2',
    { method: 'diskCompare', request: { a: { path: 'x' }, b: { path: 'y', format: 'qcow2' } } },
  ],
  [
    'disk convert x y.vmdk --force',
    { method: 'diskConvert', request: { source: { path: 'x' }, target: 'y.vmdk', force: true } },
  ],
  ['datastore list', { method: 'datastoreList' }],
  [
    'datastore add fast a /b',
    { method: 'datastoreAdd', request: { name: 'fast', folders: [resolve('a'), '/b'] } },
  ],
  ['datastore remove fast', { method: 'datastoreRemove', request: { name: 'fast' } }],
  ['datastore show fast', { method: 'datastoreShow', request: { name: 'fast' } }],
  ['datastore show ./a /b', { method: 'datastoreShow', request: { folders: [resolve('a'), '/b'] } }],
  [
    'disk create y.vmdk --size 10G --kind vmfsThin --adapter pvscsi',
    {
      method: 'diskCreate',
      request: { target: 'y.vmdk', size: 10 * 2 ** 30, kind: 'vmfsThin', adapter: 'pvscsi' },
    },
  ],
  [
    'disk create y.qcow2 --parent x --parent-format raw --force',
    {
      method: 'diskCreate',
      request: { target: 'y.qcow2', parent: { path: 'x', format: 'raw' }, force: true },
    },
  ],
  [
    'disk clone x y --keep-parent --allow-folder /base --source-format vmdk',
    {
      method: 'diskClone',
      request: {
        source: { path: 'x', format: 'vmdk', allowed: ['/base'] },
        target: 'y',
        keepParent: true,
      },
    },
  ],
  ['disk check x --allow-folder /a', { method: 'diskCheck', request: { path: 'x', allowed: ['/a'] } }],
  ['disk repair x', { method: 'diskRepair', request: { path: 'x' } }],
  ['disk repair x --yes', { method: 'diskRepair', request: { path: 'x', apply: true } }],
  [
    'disk extend x --size 2M --eager-zero',
    { method: 'diskExtend', request: { path: 'x', size: 2 * 2 ** 20, eagerZero: true } },
  ],
  ['disk inflate x', { method: 'diskInflate', request: { path: 'x' } }],
  ['disk punch x --format raw', { method: 'diskPunch', request: { path: 'x', format: 'raw' } }],
  ['disk rename x y', { method: 'diskRename', request: { path: 'x', target: 'y' } }],
  ['disk delete x', { method: 'diskDelete', request: { path: 'x' } }],
  ['disk delete x --yes', { method: 'diskDelete', request: { path: 'x', apply: true } }],
  ['host list', { method: 'hostList' }],
  [
    'host add lab machines',
    { method: 'hostAdd', request: { name: 'lab', platform: 'qemu', location: resolve('machines') } },
  ],
  ['host test lab', { method: 'hostTest', request: { name: 'lab' } }],
  ['host remove lab', { method: 'hostRemove', request: { name: 'lab' } }],
  [
    'host backup lab --tag x --lock 1d',
    { method: 'hostBackup', request: { host: 'lab', tags: ['x'], lockMs: 86_400_000 } },
  ],
  ['host diff 1f2e', { method: 'hostDiff', request: { point: '1f2e' } }],
  ['host diff 1f2e lab', { method: 'hostDiff', request: { point: '1f2e', with: 'lab' } }],
  [
    'host restore 1f2e --to-host new --only networks --only etc/libvirt --replace --dry-run',
    {
      method: 'hostRestore',
      request: {
        point: '1f2e',
        host: 'new',
        only: ['networks', 'etc/libvirt'],
        replace: true,
        dryRun: true,
      },
    },
  ],
  ['machine list', { method: 'machineList', request: {} }],
  ['machine list lab', { method: 'machineList', request: { host: 'lab' } }],
  ['machine show lab/web01', { method: 'machineShow', request: { machine: 'lab/web01' } }],
  [
    'machine import lab web.ova',
    { method: 'machineImport', request: { host: 'lab', path: resolve('web.ova') } },
  ],
  [
    'machine import lab web.ovf --name web02 --system vm --start',
    {
      method: 'machineImport',
      request: { host: 'lab', path: resolve('web.ovf'), name: 'web02', system: 'vm', start: true },
    },
  ],
  [
    'machine config show lab/web01',
    { method: 'machineConfiguration', request: { source: 'lab/web01', as: 'json' } },
  ],
  [
    'machine config show a.ovf --as qemu --system two',
    { method: 'machineConfiguration', request: { source: 'a.ovf', as: 'qemu', system: 'two' } },
  ],
  [
    'machine create lab/web02',
    {
      method: 'machineCreate',
      request: { host: 'lab', name: 'web02', memoryBytes: 256 * 1024 ** 2, cpus: 1, disks: [] },
    },
  ],
  [
    'machine create lab/web02 --memory 1G --cpus 4 --disk 1G:qcow2 --disk-copy /a:b.raw:raw --disk 512M ' +
      '--kernel /k --initrd /i --append quiet --network user',
    {
      method: 'machineCreate',
      request: {
        host: 'lab',
        name: 'web02',
        memoryBytes: 1024 ** 3,
        cpus: 4,
        disks: [
          { size: 1024 ** 3, format: 'qcow2' },
          { copyOf: '/a:b.raw', format: 'raw' },
          { size: 512 * 1024 ** 2, format: 'raw' },
        ],
        kernel: '/k',
        initrd: '/i',
        append: 'quiet',
        network: 'user',
      },
    },
  ],
  ...(['start', 'stop', 'suspend', 'resume'] as const).map(
    (action) =>
      [
        `machine ${action} lab/web01`,
        { method: 'machinePower', request: { machine: 'lab/web01', action } },
      ] as const,
  ),
  [
    'machine stop lab/web01 --hard --timeout 90s',
    { method: 'machinePower', request: { machine: 'lab/web01', action: 'kill', timeoutMs: 90_000 } },
  ],
  [
    'machine doctor lab/web01 --take-over',
    { method: 'machineDoctor', request: { machine: 'lab/web01', takeOver: true } },
  ],
  ['machine resources lab/web01', { method: 'machineResources', request: { machine: 'lab/web01' } }],
  [
    'machine resources set lab/web01 --cpu-shares 512 --cpu-quota none --memory 1G --disk vda:read-bytes=50M --disk vda:total-iops=0 --disk vdb:write-bytes=1M',
    {
      method: 'machineResourcesSet',
      request: {
        machine: 'lab/web01',
        settings: {
          machine: { 'cpu-shares': 512, 'cpu-quota': -1, memory: 1024 ** 3 },
          disks: [
            { disk: 'vda', limits: { 'read-bytes': 50 * 1024 ** 2, 'total-iops': 0 } },
            { disk: 'vdb', limits: { 'write-bytes': 1024 ** 2 } },
          ],
        },
      },
    },
  ],
  [
    'machine rollback begin lab/web01 --no-quiesce',
    { method: 'rollbackBegin', request: { machine: 'lab/web01', quiesce: false } },
  ],
  ['machine rollback list', { method: 'rollbackList', request: {} }],
  ['machine rollback list lab/web01', { method: 'rollbackList', request: { machine: 'lab/web01' } }],
  ['machine rollback keep lab/web01', { method: 'rollbackKeep', request: { machine: 'lab/web01' } }],
  ['machine rollback undo lab/web01', { method: 'rollbackUndo', request: { machine: 'lab/web01' } }],
  ['machine delete lab/web01', { method: 'machineDelete', request: { machine: 'lab/web01' } }],
  [
    'machine console lab/web01 --bytes 100',
    { method: 'machineConsole', request: { machine: 'lab/web01', bytes: 100 } },
  ],
  [
    'self backup /b --database postgres://p@h/prima --unencrypted',
    { method: 'selfBackup', request: { file: '/b', database: 'postgres://p@h/prima' } },
  ],
  [
    'self restore /b --database /d --unencrypted',
    { method: 'selfRestore', request: { file: '/b', database: '/d' } },
  ],
  ['demo', { method: 'demo', request: {} }],
  ['demo --folder /tmp/d --keep', { method: 'demo', request: { folder: '/tmp/d', keep: true } }],
];

for (const [line, call] of requests) {
  test(`prima ${line}: asks for the right thing; its JSON is one result line`, async () => {
    const human = await runFake(line.split(' '), { answers });
    assert.deepEqual(human.calls, [call], human.stderr);
    assert.equal(human.closed, true);
    assert.equal(human.stderr, '');
    assert.notEqual(human.stdout, '');
    const json = await runFake([...line.split(' '), '--json'], { answers });
    assert.equal(json.status, human.status);
    const [result, ...more] = json.stdout
      .trimEnd()
      .split('\n')
      .map((text) => JSON.parse(text));
    assert.deepEqual(more, []);
    assert.equal(result.type, 'result');
    assert.ok(line.startsWith(result.command), `${line} names itself ${result.command}`);
    assert.equal('result' in result, true);
  });
}

async function shown(line: string, setup: FakeSetup & { with?: Answers } = {}): Promise<string> {
  const { stdout } = await runFake(line.split(' '), { ...setup, answers: { ...answers, ...setup.with } });
  return stdout;
}

test('points are a table in the order of time', async () => {
  assert.equal(
    await shown('points'),
    [
      'POINT     MACHINE  TIME              MODE  QUIESCED      SIZE       NEW  REMARKS                    NAME              TAGS',
      'aa2e3d4c  web01    2026-03-03 12:30  warm            8.00 GiB  12.0 MiB  1 disk missing, 1 warning  before the patch',
      '1f2e3d4c  web01    2026-03-04 12:30  hot   yes       8.00 GiB  12.0 MiB                                               nightly',
      '',
    ].join('\n'),
  );
  assert.equal(await shown('points', { with: { points: () => [] } }), 'No restore points.\n');
});

test('points fit a terminal of any width', async () => {
  for (const columns of [20, 40, 60, 80, 100, 200]) {
    const text = await shown('points', { columns, env: { PRIMA_REPO: 'r', NO_COLOR: '1' } });
    for (const line of text.split('\n')) assert.ok(line.length <= columns, `${columns}: ${line}`);
    assert.match(text, /1f2e3d4c/);
  }
});

test('show says everything about a point', async () => {
  assert.equal(
    await shown('show latest'),
    `Point      1f2e3d4c5b6a79880011223344556677
Machine    web01 on lab (b7c1)
Time       2026-03-04 12:30:05 +00:00 (2 h ago)
Stored by  2026-03-04 12:30:17 +00:00 (12 s later)
Mode       hot, guest quiesced, guest frozen for 14 ms
Memory     not included
Size       8.00 GiB in 1 disk
Cost       read 120 MiB, new 30.0 MiB, stored 12.0 MiB
Tags       nightly

Disks
  NAME   SLOT     FORMAT      SIZE     READ       NEW    STORED  CHANGES  PATH
  disk0  scsi0:0  qcow2   8.00 GiB  120 MiB  30.0 MiB  12.0 MiB  tracked  /machines/web01/web01.qcow2

Files
  web01.vmx (1.20 KiB)

Bring it back
  prima restore 1f2e3d4c --to FOLDER
  prima restore 1f2e3d4c --to-host lab --start
`,
  );
});

test('show --partitions tells what is on the disks, in 80 columns', async () => {
  const MiB = 1024 * 1024;
  const partition = {
    index: 1,
    offset: MiB,
    length: 512 * MiB,
    typeId: 'ef',
    typeName: 'EFI system',
    bootable: false,
  };
  const named = { name: 'EFI System Partition', uuid: 'c12a7328-0000-0000-0000-000000000001' };
  const partitionTable = {
    kind: 'gpt' as const,
    sectorSize: 512,
    diskId: 'c12a7328-0000-0000-0000-00000000d15c',
    partitions: [
      {
        ...partition,
        ...named,
        fileSystem: { kind: 'vfat', role: 'file-system' as const, uuid: '1a2b-3c4d' },
      },
      {
        ...partition,
        ...named,
        index: 2,
        offset: 513 * MiB,
        length: 7000 * MiB,
        typeName: 'Linux root (x86-64)',
        bootable: true,
        fileSystem: { kind: 'ext4', role: 'file-system' as const, label: 'root', uuid: named.uuid },
      },
      { ...partition, index: 3, offset: 7600 * MiB, length: 100 * MiB, typeId: '0x99', typeName: 'unknown' },
    ],
    notes: ['the backup GPT is damaged: it is not there'],
  };
  const empty = { kind: 'mbr' as const, sectorSize: 512, partitions: [], notes: [] };
  const [disk] = point.disks;
  assert.ok(disk);
  const disks = [
    { ...disk, partitionTable },
    { ...disk, name: 'disk1', partitionTable: empty },
  ];
  const text = await shown('show latest --partitions', {
    columns: 80,
    env: { PRIMA_REPO: 'r', NO_COLOR: '1' },
    with: { show: () => ({ ...point, disks }) },
  });
  const part = /Partitions\n([^]*?)\n\n/.exec(text)?.[1];
  assert.equal(
    part,
    [
      '  disk0: GPT, disk c12a7328-0000-0000-0000-00000000d15c',
      '    NR     START      SIZE  TYPE                BOOT  HOLDS  LABEL  NAME',
      '     1  1.00 MiB   512 MiB  EFI system                vfat          EFI System …',
      '     2   513 MiB  6.84 GiB  Linux root (x86-6…  yes   ext4   root   EFI System …',
      '     3  7.42 GiB   100 MiB  0x99',
      '    ! the backup GPT is damaged: it is not there',
      '  disk1: MBR, no partitions',
    ].join('\n'),
  );
});

test('show --map and --verification tell where the data lies, and when it was read', async () => {
  const MiB = 1024 * 1024;
  const [disk] = point.disks;
  assert.ok(disk);
  const map = { cellBytes: MiB, dataBytes: 5 * MiB, cells: [MiB, MiB, 0, MiB / 2, 0, MiB] };
  const disks = [
    { ...disk, size: 6 * MiB, map },
    { ...disk, name: 'disk1', map: { ...map, note: 'it is damaged' } },
  ];
  const verification = { packs: 3, never: 1, missing: 0, oldest: point.time };
  const text = await shown('show latest --map --verification', {
    env: { PRIMA_REPO: 'r', NO_COLOR: '1' },
    with: { show: () => ({ ...point, disks, verification }) },
  });
  assert.match(text, /disk0: 5\.00 MiB of 6\.00 MiB are data\n {2}██·▒·█\n {2}disk1: it is damaged/);
  assert.match(text, /Verified +.* ago\); 1 of 3 packs never/);
});

test('show puts what is wrong with a point before its disks', async () => {
  const text = await shown('show latest', { with: { show: () => troubled } });
  assert.match(
    text,
    /\n\nWarnings\n {2}! the guest agent did not answer\n {2}! not in this point: data1: a physical raw device mapping\n\nDisks and memory\n/,
  );
  assert.match(text, /^Name {7}before the patch$/m);
  assert.match(text, /^Mode {7}warm, guest frozen for 14 ms, machine paused for 210 ms$/m);
  assert.match(text, /^Memory {5}256 MiB included$/m);
  assert.match(text, /read in full: the machine was restarted/);
  assert.match(text, /\nNotes\n {2}- read in full\n/);
  assert.match(text, /^Based on {3}00aa$/m);
});

test('backup tells what it did, and what a point lacks', async () => {
  assert.equal(
    await shown('backup lab/web01'),
    `web01: point 1f2e3d4c, hot, guest quiesced, 8.00 GiB
  read 120 MiB, new 30.0 MiB, stored 12.0 MiB, in 12 s (10.0 MiB/s)
`,
  );
  const results = [{ source: 'x', point: troubled, elapsedMs: 1000 }];
  assert.equal(
    await shown('backup x', { with: { backup: () => ({ results }) } }),
    `web01: point aa2e3d4c, warm, 8.00 GiB
  read 120 MiB, new 30.0 MiB, stored 12.0 MiB, in 1.0 s (120 MiB/s)
  read in full: the machine was restarted
  ! the guest agent did not answer
  ! not in this point: data1: a physical raw device mapping
`,
  );
});

test('backup tells what became of free space, and show as well', async () => {
  const kept = ['partition 2 (ntfs): it is marked as dirty: it was not unmounted cleanly'];
  const [disk] = point.disks;
  assert.ok(disk);
  const skipping = { ...point, disks: [{ ...disk, freeSpace: { bytes: 3 * 1024 ** 3, kept } }] };
  const results = [{ source: 'x', point: skipping, elapsedMs: 1000 }];
  assert.match(
    await shown('backup x --skip-free-space', { with: { backup: () => ({ results }) } }),
    /\n {2}disk0: 3.00 GiB of free space left out\n {2}disk0: free space not left out: partition 2 \(ntfs\): it is marked/,
  );
  const text = await shown('show latest', { with: { show: () => skipping } });
  assert.match(text, /LEFT OUT/);
  assert.match(text, /3\.00 GiB/);
});

test('backup of several sources ends with the status of the first that failed', async () => {
  const error = (code: string, exitStatus: number) => ({ code, message: `no ${code}`, exitStatus });
  const results = [
    { source: 'a', point, elapsedMs: 1 },
    { source: 'b', error: error('busy', 5), elapsedMs: 1 },
    { source: 'c', error: error('io', 20), elapsedMs: 1 },
  ];
  const setup = { answers: { backup: () => ({ results }) } };
  const human = await runFake(['backup', 'a', 'b', 'c'], setup);
  assert.equal(human.status, 5);
  assert.match(human.stdout, /^web01: point 1f2e3d4c/);
  assert.equal(human.stderr, 'prima: b: no busy\nprima: c: no io\n');
  const json = await runFake(['backup', 'a', 'b', 'c', '--json'], setup);
  assert.equal(json.status, 5);
  assert.equal(json.stderr, '');
  assert.deepEqual(JSON.parse(json.stdout).result.results, results);
});

test('diff, restore, forget, collect, status and init say what they did', async () => {
  assert.equal(
    await shown('diff a b --ranges'),
    `aa2e3d4c web01 2026-03-03 12:30  →  1f2e3d4c web01 2026-03-04 12:30

DISK    CHANGED  RANGES
disk0  3.00 MiB       1

disk0: offset+length in bytes
  0+3145728

changed  web01.vmx
`,
  );
  assert.equal(
    await shown('restore latest --to /out'),
    `DISK       SIZE  FILE
disk0  8.00 GiB  /out/web01-disk0.raw
Restored web01 from point 1f2e3d4c: read 1.95 GiB, wrote 1.76 GiB, in 10 s (200 MiB/s)
`,
  );
  assert.match(await shown('restore latest --to-host lab'), /\nMachine lab\/web01 is running\n$/);
  assert.equal(
    await shown('forget --keep-last 1 --dry-run'),
    `FATE    POINT     MACHINE  TIME              WHY     TAGS
forget  aa2e3d4c  web01    2026-03-03 12:30
keep    1f2e3d4c  web01    2026-03-04 12:30  last 1  nightly
Would forget 1 point, kept 1
`,
  );
  assert.equal(
    await shown('collect'),
    `! gave up on session 5e55: silent for an hour
Freed 90.0 MiB: of 7 packs, 2 deleted, 1 rewritten; 310 MiB in use; 1 old session removed
3 packs more with 36.0 MiB to free are left for another time: --max-rewrite allows no more
`,
  );
  assert.match(await shown('status'), /^Stored {6}400 MiB in 7 packs, 950 blobs$/m);
  assert.match(await shown('init'), /^Repository {2}e0f1\n.*\n.*\nWithout its passphrase/);
});

test('check shows the faults and ends with 24', async () => {
  const affected = [{ point: point.id, machine: 'web01', disk: 'disk0', offset: 4096, length: 1024 }];
  const check = () => ({
    ok: false,
    points: 2,
    packs: 7,
    blobs: 90,
    bytesRead: 0,
    faults: [{ kind: 'missing-pack', object: 'packs/0a', message: 'not there', affected }],
    leftovers: ['x'],
    notes: ['the damage is recorded'],
    verification: { never: 1, oldest: '2026-01-01T00:00:00.000Z', within: [{ days: 7, packs: 5 }] },
    elapsedMs: 2000,
  });
  const { status, stdout, stderr } = await runFake(['check'], { answers: { check } });
  assert.equal(status, 24);
  assert.equal(stderr, 'prima: the check found 1 fault\n');
  assert.equal(
    stdout,
    `FAULT         OBJECT    AFFECTED        WHAT
missing-pack  packs/0a  1f2e3d4c disk0  not there

Cannot be restored (offset+length in bytes):
  1f2e3d4c web01 disk0 4096+1024

- the damage is recorded
Verified: 71 % in 7 days; the oldest 2026-01-01T00:00:00.000Z, 1 pack never
1 harmless leftover; prima collect removes them
1 fault: 2 points, 7 packs, 90 blobs, 0 B read in 2.0 s
`,
  );
  const json = await runFake(['check', '--json'], { answers: { check } });
  assert.equal(json.status, 24);
  assert.equal(JSON.parse(json.stdout).result.ok, false);
});

test('repair shows what it would do, and what it did', async () => {
  const plan = await shown('repair');
  assert.equal(
    plan,
    `REMEDY   POINT     MACHINE  TIME              OBJECT                                             FOUND
let go                                        log/0000000002                                     it is missing
restore  1f2e3d4c  web01    2026-03-04 12:30  sessions/1f2e3d4c5b6a79880011223344556677/outcome  its tag does not match
GIVE UP  aa2e3d4c           2026-03-03 12:30  sessions/aa2e3d4c5b6a79880011223344556677/outcome  it is missing
The log counts 1 point more, of which nothing is left that names them.
1 point cannot be listed or restored then; their data is kept until 2026-03-18T15:30:00.000Z.
Nothing was done. Look for copies of these objects first; then: prima repair --yes
`,
  );
  assert.match(await shown('repair --yes'), /\nRepaired 3 objects; prima check says what is left\n$/);
  const repair = () => ({ applied: false, steps: [], unknownPoints: 0 });
  assert.equal(await shown('repair', { with: { repair } }), 'Nothing to repair\n');
});

test('a restore that had to write zeros lists them and ends with 12', async () => {
  const restoreToFolder = () => ({
    point,
    files: [{ disk: 'disk0', path: '/out/disk0.raw', size: 8192 }],
    bytesRead: 4096,
    bytesWritten: 4096,
    damaged: [{ disk: 'disk0', offset: 4096, length: 512 }],
    elapsedMs: 1000,
  });
  const args = ['restore', '1f2e', '--to', '/out', '--allow-damaged'];
  const { status, stdout, stderr } = await runFake(args, { answers: { restoreToFolder } });
  assert.equal(status, 12);
  assert.match(stdout, /Zeros, because it cannot be read:\nDISK {3}OFFSET {2}LENGTH\ndisk0 {4}4096 {5}512/);
  assert.match(stderr, /1 range could not be read and hold zeros/);
});

test('locks are shown while they last', async () => {
  assert.equal(
    await shown('lock 1f2e --for 28d'),
    '1f2e3d4c of web01 is locked until 2026-04-01 00:00:00 +00:00\n',
  );
  const ended = { ...troubled, lockedUntil: '2026-03-04T15:29:59Z' };
  const lasting = { ...point, lockedUntil: '2026-03-04T15:31:00Z' };
  const text = await shown('points', { with: { points: () => [ended, lasting] } });
  assert.match(text, /^POINT.* LOCKED UNTIL /);
  assert.equal(text.match(/15:\d\d/g)?.join(), '15:31');
  assert.match(
    await shown('show 1f2e', { with: { show: () => ended } }),
    /^Locked until +2026-03-04 15:29:59/m,
  );
});

test('copy lists what became of each point, and fails with the first that failed', async () => {
  const line = 'copy --all --to /mnt/copy';
  assert.equal(
    await shown(line),
    `RESULT        POINT     COPY      MACHINE  TIME                  READ    STORED
there, same   aa2e3d4c  aa2e3d4c  web01    2026-03-03 12:30
copied, same  1f2e3d4c  77aa      web01    2026-03-04 12:30  3.00 MiB  1.00 MiB
Copied 1 point to /mnt/copy, read 3.00 MiB; 1 there already
`,
  );
  const error = { code: 'integrity', message: 'disk0 is damaged at 0+4096', exitStatus: 12 };
  const failed = { point, state: 'failed', bytes: 0, verified: false, error, elapsedMs: 5 };
  const copy = () => ({ dryRun: false, to: { id: 'c0de', url: '/mnt/copy' }, results: [failed] });
  const { status, stderr } = await runFake(line.split(' '), { answers: { copy } });
  assert.equal(status, 12);
  assert.equal(stderr, 'prima: 1f2e3d4c of web01: disk0 is damaged at 0+4096\n');
});

test('copy --create makes the repository first and shows its recovery key before it copies', async () => {
  const line = 'copy --all --to /mnt/copy --create --recovery';
  const to = { url: '/mnt/copy', secret: { kind: 'passphrase', text: 'other' } };
  const { status, stdout, calls } = await runFake(line.split(' '), { answers });
  assert.equal(status, 0);
  assert.deepEqual(calls, [
    { method: 'copyCreate', request: { to, recovery: true } },
    { method: 'copy', request: { all: true, to } },
  ]);
  assert.match(stdout, /^Made the repository e0f1 at .*\n\nRecovery key\.[^]*1\. abandon[^]*\n\nRESULT /);
  const json = await runFake([...line.split(' '), '--json', '--quiet'], { answers });
  const [first, last, ...others] = json.stdout
    .trim()
    .split('\n')
    .map((text) => JSON.parse(text));
  assert.deepEqual(first, { type: 'recovery', repository: 'e0f1', words: ['abandon', 'ability'] });
  assert.deepEqual([last.type, others], ['result', []]);
});

test('copy --create makes nothing when it is not told well', async () => {
  for (const [more, message] of [
    ['--recovery', /--recovery is for a repository that --create makes/],
    ['--create --dry-run', /--dry-run makes no repository/],
    ['--create --to-recovery-file paper', /a new repository gets a passphrase or a key file/],
    ['--to-key-file k --to-recovery-file paper', /only one of --to-passphrase-file, --to-key-file and/],
  ] as const) {
    const line = `copy --all --to /mnt/copy ${more}`;
    const { status, stderr, calls } = await runFake(line.split(' '), { answers });
    assert.deepEqual([status, calls], [2, []], line);
    assert.match(stderr, message);
  }
});

test('copy never takes the passphrase of the one repository for the other', async () => {
  const env = { PRIMA_REPO: '/repo', PRIMA_PASSPHRASE: 'secret', HOME: '/home/ada' };
  const { status, stderr, calls } = await runFake(['copy', '--all', '--to', '/mnt/copy'], { env, answers });
  assert.equal(status, 2);
  assert.match(stderr, /no passphrase of the repository to copy to: give --to-passphrase-file FILE/);
  assert.deepEqual(calls, []);
});

test('hosts and keys are listed; a host that is not in order ends with 24', async () => {
  assert.equal(await shown('host list'), 'HOST  PLATFORM  LOCATION\nlab   qemu      /machines\n');
  assert.equal(
    await shown('key list'),
    'SLOT  KIND        ACCESS  CREATED           LABEL\nk1    passphrase  full    2026-03-01 08:00  first\n',
  );
  const { status, stdout } = await runFake(['host', 'test', 'lab'], { answers });
  assert.equal(status, 24);
  assert.equal(
    stdout,
    `RESULT  CHECK   DETAIL
ok      folder  /machines can be read
fault   qemu    qemu-system-x86_64 is not installed
Host lab is not in order
`,
  );
});

test('what a package lacks is said, and wrong ways to ask for one are refused', async () => {
  const restoreToPackage = () => ({
    point,
    files: [],
    bytesRead: 1,
    bytesWritten: 1,
    damaged: [],
    notCarried: [{ when: 'writing', where: 'kernel', what: '/k', why: 'no place' }],
    elapsedMs: 1,
  });
  const said = await runFake(['restore', 'latest', '--to', 'x.ova', '--repo', '/r'], {
    answers: { restoreToPackage },
  });
  assert.match(said.stderr, /not in the package: kernel: \/k \(no place\)/);
  for (const line of ['--to out --format ova', '--to x.ovf --format ova', '--to x.ova --disk 0']) {
    const { status } = await runFake(['restore', 'latest', '--repo', '/r', ...line.split(' ')], { answers });
    assert.equal(status, 2, line);
  }
});

test('a datastore shows what is used, missing, unreadable and perhaps an orphan', async () => {
  const { stdout } = await runFake(['datastore', 'show', 'fast'], { answers });
  assert.match(stdout, /\/ds: 40\.0 GiB free of 100 GiB/);
  assert.match(stdout, /gone\.vmdk, needed by web01/);
  assert.match(stdout, /redo log +20\.0 MiB/);
  assert.match(
    stdout,
    /old\.vmdk\.REDO: no machine refers to it\. But \/ds\/old\/old\.vmx could not be read/,
  );
  assert.match(stdout, /1 file may be orphans; Prima deletes none/);
});

test('a configuration alone is on standard output; what it lacks is said beside it', async () => {
  const notCarried = [
    { when: 'reading', where: 'floppy0.present', what: 'TRUE', why: 'a description has no place for it' },
    { when: 'writing', where: 'annotation', what: 'the web server', why: 'QEMU has no place for it' },
  ];
  const machineConfiguration = () => ({
    from: 'lab/web01',
    dialect: 'vmx',
    as: 'qemu',
    text: 'qemu-system-x86_64 -m 256M\n',
    description: {},
    notCarried,
  });
  const answers = { machineConfiguration };
  const { stdout, stderr } = await runFake(['machine', 'config', 'show', 'lab/web01', '--as', 'qemu'], {
    answers,
  });
  assert.equal(stdout, 'qemu-system-x86_64 -m 256M\n');
  assert.match(stderr, /from vmx to qemu:\n {2}floppy0\.present: TRUE .*\n {2}annotation: the web server/);
  const json = await runFake(['machine', 'config', 'show', 'x', '--json'], { answers });
  assert.equal(json.stderr, '');
  assert.match(json.stdout, /"notCarried":\[\{"when":"reading"/);
});

test('machines are listed and shown', async () => {
  assert.equal(
    await shown('machine list'),
    `MACHINE    STATE    CPUS   MEMORY     DISKS  AGENT    LAST POINT  ACCELERATOR
lab/web01  running     2  256 MiB  8.00 GiB  answers  2 h ago     tcg
`,
  );
  const text = await shown('machine show lab/web01');
  assert.match(text, /^Guest agent {2}answers$/m);
  assert.match(
    text,
    /^ {2}disk0 {2}scsi0:0 {2}qcow2 {3}8\.00 GiB {2}undoable {10}1 {2}\/machines\/web01\/web01\.qcow2$/m,
  );
  assert.equal(await shown('machine start lab/web01'), 'lab/web01 is running (tcg)\n');
});

test('what a guest printed cannot steer the terminal, and reaches a pipe unchanged', async () => {
  assert.equal(await shown('machine console lab/web01'), 'login: \u001b[31mred\u001b[0m\r\nok\n');
  assert.equal(await shown('machine console lab/web01', { columns: 80 }), 'login: red\nok\n');
  const evil = { ...machine, name: 'a\u001b]0;x\u0007b' };
  assert.doesNotMatch(await shown('machine list', { with: { machineList: () => [evil] } }), /\p{Cc}(?<!\n)/u);
});

test('machine screenshot writes the file, and not over another', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'prima-cli-'));
  try {
    const file = join(folder, 'a.png');
    const take = (...more: string[]) =>
      runFake(['machine', 'screenshot', 'lab/web01', file, ...more], { answers });
    assert.equal((await take()).status, 0);
    assert.deepEqual([...(await readFile(file))], [0x89, 0x50, 0x4e, 0x47]);
    const second = await take('--json');
    assert.equal(second.status, 4);
    assert.equal(JSON.parse(second.stdout).error.code, 'exists');
    assert.equal((await take('--force')).status, 0);
    const json = await take('--force', '--json');
    assert.deepEqual(JSON.parse(json.stdout).result, { file, bytes: 4 });
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('demo tells its story on standard output and ends with 1 when something was lost', async () => {
  const demo: Answers['demo'] = (_, { onEvent }) => {
    onEvent?.({ type: 'log', level: 'info', message: 'starting the machine' });
    onEvent?.({ type: 'log', level: 'warn', message: 'slow' });
    const step = { step: 'verify', ok: false, elapsedMs: 50, detail: '3 records missing' };
    return { ok: false, steps: [step] };
  };
  const { status, stdout, stderr } = await runFake(['demo'], { answers: { demo } });
  assert.equal(status, 1);
  assert.equal(stderr, 'prima: warning: slow\n');
  assert.equal(
    stdout,
    `   0 ms  starting the machine

RESULT  STEP     TIME  DETAIL
FAILED  verify  50 ms  3 records missing
FAILED verify: 3 records missing
Something was lost.
`,
  );
});
