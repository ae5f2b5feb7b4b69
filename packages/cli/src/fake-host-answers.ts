/** For tests: what a small, plausible Prima would answer to calls about hosts. */
import type { PointDto } from '@prima/api';
import type { Answers } from './fake-environment.ts';

export const hostAnswers = (point: PointDto): Answers => ({
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
  hostBackup: ({ host }) => ({ ...point, machine: `host:${String(host)}`, isHost: true, disks: [] }),
  hostDiff: () => ({
    a: '1f2e3d4c lab 2026-03-04T12:30:05.000Z',
    b: 'lab, now',
    items: [
      { item: 'networks/default', change: 'removed', lines: [] },
      {
        item: 'pools/fast',
        change: 'changed',
        lines: [
          { kind: 'gap', text: '' },
          { kind: 'same', text: '  <target>' },
          { kind: 'removed', text: '    <path>/a</path>' },
          { kind: 'added', text: '    <path>/b</path>' },
        ],
      },
    ],
  }),
  hostRestore: ({ host, dryRun = false }) => ({
    point,
    host,
    dryRun,
    items: [
      { item: 'networks/default', action: 'defined', notes: [] },
      { item: 'pools/fast', action: 'kept', notes: ['it is there and different'] },
    ],
  }),
});
