/** For tests: what a small, plausible Prima would answer to every call. */
import type { DiskDto, MachineDto, PointDto, RepositoryDto } from '@prima/api';
import type { Answers } from './fake-environment.ts';

const MiB = 1024 * 1024;

const disk: DiskDto = {
  name: 'disk0',
  slot: 'scsi0:0',
  path: '/machines/web01/web01.qcow2',
  format: 'qcow2',
  size: 8192 * MiB,
  read: 120 * MiB,
  data: 100 * MiB,
  added: 30 * MiB,
  stored: 12 * MiB,
  changed: 'tracked',
};

export const point: PointDto = {
  id: '1f2e3d4c5b6a79880011223344556677',
  machine: 'web01',
  machineId: 'b7c1',
  host: 'lab',
  time: '2026-03-04T12:30:05.000Z',
  finished: '2026-03-04T12:30:17.000Z',
  mode: 'hot',
  quiesced: true,
  tags: ['nightly'],
  disks: [disk],
  skipped: [],
  files: [{ name: 'web01.vmx', length: 1229 }],
  notes: [],
  warnings: [],
  size: 8192 * MiB,
  read: 120 * MiB,
  data: 100 * MiB,
  added: 30 * MiB,
  stored: 12 * MiB,
  frozenMs: 14,
};

export const troubled: PointDto = {
  ...point,
  id: 'aa2e3d4c5b6a79880011223344556677',
  time: '2026-03-03T12:30:05.000Z',
  finished: '2026-03-03T12:31:05.000Z',
  mode: 'warm',
  quiesced: false,
  name: 'before the patch',
  tags: [],
  disks: [{ ...disk, changed: 'all', whyFull: 'the machine was restarted' }],
  memory: { ...disk, name: 'memory', size: 256 * MiB },
  skipped: [{ name: 'data1', why: 'a physical raw device mapping' }],
  warnings: ['the guest agent did not answer'],
  notes: ['read in full'],
  parent: '00aa',
  pausedMs: 210,
};

export const machine: MachineDto = {
  id: 'b7c1',
  name: 'web01',
  host: 'lab',
  state: 'running',
  accelerator: 'tcg',
  memoryBytes: 256 * MiB,
  cpus: 2,
  agent: 'answers',
  folder: '/machines/web01',
  disks: [
    {
      name: 'disk0',
      slot: 'scsi0:0',
      path: '/machines/web01/web01.qcow2',
      format: 'qcow2',
      size: 8192 * MiB,
    },
  ],
  notes: [],
  lastPoint: '2026-03-04T12:30:05.000Z',
};

const repository: RepositoryDto = {
  id: 'e0f1',
  url: 'file:///repo',
  chunkSize: MiB,
  points: 2,
  packs: 7,
  storedBytes: 400 * MiB,
  blobs: 950,
};

/** An answer to every call of the contract. */
export const answers: Answers = {
  init: () => repository,
  status: () => repository,
  backup: () => ({ results: [{ source: 'lab/web01', point, elapsedMs: 12_000 }] }),
  points: () => [point, troubled],
  show: () => point,
  lock: () => [{ ...point, lockedUntil: '2026-04-01T00:00:00.000Z' }],
  diff: () => ({
    a: troubled,
    b: point,
    disks: [{ name: 'disk0', changedBytes: 3 * MiB, ranges: [{ offset: 0, length: 3 * MiB }] }],
    files: [{ name: 'web01.vmx', change: 'changed' }],
  }),
  restoreToFolder: () => ({
    point,
    files: [{ disk: 'disk0', path: '/out/web01-disk0.raw', size: 8192 * MiB }],
    bytesRead: 2000 * MiB,
    bytesWritten: 1800 * MiB,
    damaged: [],
    elapsedMs: 10_000,
  }),
  restoreToHost: () => ({
    point,
    files: [],
    machine,
    bytesRead: 0,
    bytesWritten: 0,
    damaged: [],
    elapsedMs: 900,
  }),
  copy: () => ({
    dryRun: false,
    to: { id: 'c0de', url: '/mnt/copy' },
    results: [
      { point: troubled, state: 'present', copy: troubled, bytes: 0, verified: true, elapsedMs: 5 },
      {
        point,
        state: 'copied',
        copy: { ...point, id: '77aa', stored: MiB },
        bytes: 3 * MiB,
        verified: true,
        elapsedMs: 900,
      },
    ],
  }),
  check: () => ({
    ok: true,
    points: 2,
    packs: 7,
    blobs: 1,
    bytesRead: 5 * MiB,
    faults: [],
    leftovers: [],
    notes: [],
    verification: { never: 7, within: [] },
    elapsedMs: 2000,
  }),
  forget: () => ({ dryRun: true, kept: [{ point, reasons: ['last 1'] }], forgotten: [troubled] }),
  collect: () => ({
    dryRun: false,
    packs: 7,
    packsDeleted: 2,
    packsRewritten: 1,
    bytesFreed: 90 * MiB,
    bytesLive: 310 * MiB,
    postponed: { packs: 3, live: 60 * MiB, dead: 36 * MiB },
    sessionsRemoved: 1,
    fenced: [{ session: '5e55', why: 'silent for an hour' }],
    notes: [],
  }),
  keyList: () => [
    { id: 'k1', kind: 'passphrase', access: 'full', label: 'first', created: '2026-03-01T08:00:00Z' },
  ],
  keyRotate: () => ({ keySet: 2, epoch: 2 }),
  keyAdd: () => ({
    id: 'k2',
    kind: 'passphrase',
    access: 'full',
    label: 'vault',
    created: '2026-03-04T15:30:00Z',
  }),
  keyRemove: () => undefined,
  storageTest: ({ url }) => ({
    url,
    ok: false,
    promises: [
      { promise: 'whole objects', verdict: 'kept', detail: 'read back byte for byte' },
      {
        promise: 'create once',
        verdict: 'broken',
        detail: '2 of 8 writers',
        advice: 'keep no repository here',
      },
    ],
    figures: {
      putBytesPerSecond: 50 * MiB,
      getBytesPerSecond: 80 * MiB,
      putMs: 4.2,
      getMs: 1.1,
      smallPutsPerSecond: 210,
    },
    left: [],
    elapsedMs: 9000,
  }),
  storageUndelete: ({ url }) => ({ url, keys: ['p/config'] }),
  hostList: () => [{ name: 'lab', platform: 'qemu', location: '/machines' }],
  hostAdd: (request) => request,
  hostTest: () => ({
    host: { name: 'lab', platform: 'qemu', location: '/machines' },
    ok: false,
    checks: [
      { name: 'folder', ok: true, detail: '/machines can be read' },
      { name: 'qemu', ok: false, detail: 'qemu-system-x86_64 is not installed' },
    ],
  }),
  hostRemove: () => undefined,
  machineList: () => [machine],
  machineShow: () => machine,
  machineCreate: () => ({ ...machine, state: 'off' }),
  machinePower: () => machine,
  machineDelete: () => undefined,
  machineScreenshot: () => new Uint8Array([0x89, 0x50, 0x4e, 0x47]),
  machineConsole: () => 'login: \u001b[31mred\u001b[0m\r\nok\n',
  demo: () => ({
    ok: true,
    steps: [
      { step: 'first backup, hot', ok: true, elapsedMs: 4000, read: 64 * MiB, stored: 20 * MiB, detail: '' },
    ],
  }),
};
