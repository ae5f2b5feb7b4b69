/** For tests: what a small, plausible Prima would answer to calls about datastores. */
import type { Answers } from './fake-environment.ts';

const MiB = 1024 * 1024;

export const datastoreAnswers: Answers = {
  datastoreList: () => [
    {
      name: 'fast',
      folders: ['/ds'],
      room: [{ path: '/ds', totalBytes: 100 * 1024 * MiB, freeBytes: 40 * 1024 * MiB }],
    },
  ],
  datastoreAdd: (request) => request,
  datastoreRemove: () => undefined,
  datastoreShow: () => ({
    folders: [{ path: '/ds', totalBytes: 100 * 1024 * MiB, freeBytes: 40 * 1024 * MiB }],
    files: 4,
    logicalBytes: 9000 * MiB,
    allocatedBytes: 800 * MiB,
    machines: [
      {
        name: 'web01',
        configuration: '/ds/web01/web01.vmx',
        disks: [
          {
            slot: 'scsi0:0',
            path: '/ds/web01/web01.vmdk',
            format: 'vmdk',
            files: [
              {
                path: '/ds/web01/web01.vmdk',
                size: 500,
                allocated: 4096,
                modified: '2026-03-01T08:00:00Z',
                role: 'disk',
              },
            ],
          },
        ],
        logicalBytes: 500,
        allocatedBytes: 4096,
      },
    ],
    orphans: [
      {
        path: '/ds/old/old.vmdk.REDO',
        size: 30 * MiB,
        allocated: 20 * MiB,
        modified: '2026-02-01T08:00:00Z',
        kind: 'redo log',
        why: 'no machine refers to it',
        doubt: '/ds/old/old.vmx could not be read',
      },
    ],
    missing: [{ path: '/ds/web01/gone.vmdk', neededBy: 'web01 (scsi0:1)' }],
    unreadable: [{ path: '/ds/old/old.vmx', why: 'line 3' }],
  }),
};
