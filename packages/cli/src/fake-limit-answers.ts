/** For tests: what a small, plausible Prima would answer to calls about resources and rollback points. */
import type { RollbackPointDto } from '@prima/api';
import type { Answers } from './fake-environment.ts';

const MiB = 1024 * 1024;

const rollback: RollbackPointDto = {
  id: '1a2b3c4d',
  machine: 'lab/web01',
  made: '2026-03-04T12:30:05.000Z',
  phase: 'open',
  quiesced: true,
  disks: [{ disk: 'vda', base: '/m/web01.qcow2', overlay: '/m/prima-rollback-1a2b3c4d-vda.qcow2' }],
  notes: ['memory is not kept: undo starts the machine anew'],
};

export const limitAnswers: Answers = {
  machineResources: ({ machine: name }) => ({
    machine: name,
    live: { machine: { memory: 256 * MiB, 'cpu-shares': 2048 }, disks: [] },
    config: {
      machine: { memory: 512 * MiB, 'cpu-quota': -1 },
      disks: [{ disk: 'vda', limits: { 'read-bytes': 50 * MiB, 'total-iops': 500 } }],
    },
    notes: ['blkio-weight as they are now: cgroups are not mounted'],
  }),
  machineResourcesSet: ({ machine: name }) => ({
    machine: name,
    done: [
      { settings: ['memory'], config: true, live: true },
      { settings: ['cpu-shares'], config: true, live: false, why: 'it holds from the next start on' },
    ],
  }),
  rollbackBegin: () => rollback,
  rollbackList: () => [rollback, { ...rollback, phase: 'keeping', quiesced: false }],
  rollbackKeep: ({ machine }) => ({
    machine,
    done: ['what was written to vda since is in the disks'],
    elapsedMs: 900,
  }),
  rollbackUndo: ({ machine }) => ({ machine, done: ['vda are as they were'], elapsedMs: 900 }),
};
