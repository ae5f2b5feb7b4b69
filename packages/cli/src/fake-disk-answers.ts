/** For tests: what a small, plausible Prima would answer to calls about disk files. */
import type { DiskCheckResult, DiskMadeResult, VmdkDto, RdmDto } from '@prima/api';
import type { Answers } from './fake-environment.ts';

const MiB = 1024 * 1024;

const vmdk: VmdkDto = {
  path: '/machines/web01/web01.vmdk',
  createType: 'twoGbMaxExtentFlat',
  cid: '1a2b3c4d',
  size: 8192 * MiB,
  extents: [
    {
      access: 'RW',
      type: 'FLAT',
      size: 4096 * MiB,
      name: 'a.vmdk',
      path: '/m/a.vmdk',
      offset: 512,
      fileSize: 1,
    },
    { access: 'RW', type: 'ZERO', size: 4096 * MiB, offset: 0 },
  ],
  adapterType: 'lsilogic',
  geometry: { cylinders: 1044, heads: 255, sectors: 63 },
  ddb: { uuid: '60 00 C2 9a', 'geometry.heads': '255' },
  parents: [
    { path: '/machines/base.vmdk', createType: 'vmfs', cid: '0badcafe', size: 8192 * MiB, extents: [] },
    { path: '/machines/old.dsk', generation: 3, size: 8192 * MiB, extents: [] },
  ],
  notes: ['it was not closed by who wrote it last'],
};

const made: DiskMadeResult = {
  path: '/machines/new.qcow2',
  format: 'qcow2',
  files: ['/machines/new.qcow2'],
  size: 900 * MiB,
  elapsedMs: 12_000,
};

const checked: DiskCheckResult = {
  path: '/machines/web01/web01.vmdk',
  format: 'vmdk',
  sound: false,
  findings: [
    { severity: 'warning', path: 'web01.vmdk', offset: 72, message: 'it was not closed', repairable: true },
    { severity: 'error', path: 'web01.vmdk', message: 'a grain is used twice', repairable: false },
    { severity: 'info', path: 'web01.vmdk', message: 'its end is not used', repairable: true },
  ],
  repairs: [],
};

const mapped: RdmDto = {
  path: '/m/lun.vmdk',
  mode: 'virtual',
  size: 16 * 1024 * 1024,
  device: '/dev/sdb',
  identities: ['naa.6001405', 'serial.LAB1'],
  found: '/dev/sdc',
  notes: ['the device that was /dev/sdb is /dev/sdc now'],
};

export const diskAnswers: Answers = {
  rdmCreate: () => mapped,
  rdmQuery: () => mapped,
  rdmRemap: () => mapped,
  diskInfo: ({ path }) => ({
    path,
    format: 'vmdk',
    reason: 'its name and its first bytes say vmdk',
    basedOn: [{ path: '/machines/base.vmdk', format: 'vmdk' }],
    vmdk,
    size: 8192 * MiB,
    data: 3000 * MiB,
    fileSize: 900 * MiB,
    allocated: 800 * MiB,
    partitionTable: { kind: 'none', sectorSize: 512, partitions: [], notes: [] },
  }),
  diskMap: () => ({
    size: 8 * MiB,
    extents: [
      { offset: 0, length: MiB, kind: 'data' },
      { offset: MiB, length: 7 * MiB, kind: 'hole' },
    ],
    bytes: { data: MiB, zero: 0, hole: 7 * MiB },
    complete: true,
  }),
  diskCompare: () => ({
    sizes: { a: 8 * MiB, b: 8 * MiB },
    differences: [{ offset: 512, length: 1024 }],
    complete: true,
  }),
  diskCreate: ({ target }) => ({ ...made, path: target, files: [target] }),
  diskConvert: ({ target }) => ({ ...made, path: target, bytesRead: 3000 * MiB, bytesWritten: 900 * MiB }),
  diskClone: ({ target }) => ({
    ...made,
    path: target,
    kind: 'twoGbMaxExtentFlat',
    files: [target, 'web01-f001.vmdk'],
    bytesRead: 3000 * MiB,
    bytesWritten: 900 * MiB,
  }),
  diskCheck: () => checked,
  diskRepair: ({ apply }) => ({
    ...checked,
    ...(apply === true && { findings: [], sound: true, repairs: ['mended it'] }),
  }),
  diskExtend: ({ path, size }) => ({ path, before: 8192 * MiB, size, added: ['web01-s002.vmdk'] }),
  diskInflate: ({ path }) => ({ path, before: 10 * MiB, after: 8192 * MiB }),
  diskPunch: ({ path }) => ({ path, before: 8192 * MiB, after: 10 * MiB }),
  diskRename: ({ path, target }) => ({
    path: target,
    files: [{ from: path, to: target }],
    children: ['c.vmdk'],
  }),
  diskDelete: ({ path, apply }) => ({
    path,
    files: [{ path, size: 10 * MiB }, { path: 'gone-flat.vmdk' }],
    deleted: apply === true,
  }),
};
