/** Processes beside hosts that the server does not read itself: docs/decisions/0024-workers.md. */
import { z } from 'zod';
import { MachineDto } from '../machines.ts';
import { count, id, name, problem, text, time } from './common.ts';
import { endpoint } from './endpoint.ts';
import { job, jobEvent, jobState } from './jobs.ts';

const workerHost = z.strictObject({
  name,
  platform: z.enum(['qemu', 'libvirt']),
  location: text(1000),
});

export const worker = z.object({
  id,
  name,
  version: text(50),
  hostname: text(255),
  atOnce: count,
  hosts: z.array(name),
  state: z.enum(['here', 'gone']).meta({ description: 'gone: silent for more than 90 seconds' }),
  registered: time,
  seen: time.meta({ description: 'its last sign of life' }),
  running: count.meta({ description: 'jobs' }),
});

/** A process, as its own computer can find it again. */
const owner = z.strictObject({
  host: text(255),
  boot: text(100),
  pid: z.number().int().positive(),
  pidStart: text(100),
});

const claimed = z.object({
  id,
  operation: text(),
  summary: text(),
  attempt: count,
  attempts: count,
  cancelling: z.boolean(),
  owner: text().optional().meta({ description: 'JSON: the process that claimed it' }),
  beat: time.optional(),
  host: name.optional(),
  events: count.meta({ description: 'the number of the last one that is stored' }),
});

const told = {
  attempt: count.meta({ description: 'of the claim: an earlier one has lost the job' }),
  events: z
    .array(z.object({ id: count, event: jobEvent.shape.event }))
    .max(1000)
    .default([]),
  removed: z.array(count).max(1000).default([]).meta({ description: 'events that newer ones replace' }),
};

export const workerEndpoints = {
  listWorkers: endpoint({
    method: 'get',
    path: '/workers',
    audience: 'viewer',
    summary: 'Workers: processes beside hosts that the server does not read itself',
    answer: z.object({ items: z.array(worker) }),
  }),
  registerWorker: endpoint({
    method: 'put',
    path: '/workers/{id}',
    audience: 'worker',
    summary: 'A worker says who it is and which hosts it has; the id is its own choice',
    body: z.strictObject({
      name,
      version: text(50),
      hostname: text(255),
      atOnce: z.number().int().min(1).max(64),
      hosts: z.array(workerHost).max(1000),
    }),
    answer: worker,
  }),
  removeWorker: endpoint({
    method: 'delete',
    path: '/workers/{id}',
    audience: 'implementer',
    summary: 'Forget a worker and its hosts; its jobs are given up. Revoke its token, too, or it comes back',
  }),
  claimJob: endpoint({
    method: 'post',
    path: '/workers/{id}/claim',
    audience: 'worker',
    reads: true,
    summary: 'The next job of the worker’s hosts, with its secrets; waits for one',
    body: z.strictObject({ owner, waitSeconds: z.number().int().min(0).max(25).default(0) }),
    answer: z.object({
      job: claimed
        .extend({
          request: z.unknown(),
          repository: z
            .object({ name, url: text(2000), passphrase: z.string().meta({ secret: true }) })
            .optional(),
        })
        .optional(),
    }),
  }),
  listWorkerJobs: endpoint({
    method: 'get',
    path: '/workers/{id}/jobs',
    audience: 'worker',
    summary: 'What the worker runs, as the server has it',
    answer: z.object({ items: z.array(claimed) }),
  }),
  beatJob: endpoint({
    method: 'post',
    path: '/workers/{worker}/jobs/{id}/beat',
    audience: 'worker',
    reads: true,
    summary: 'A sign of life of a job, with what it told; answers whether it is to end',
    body: z.strictObject({ ...told, progress: job.shape.progress }),
    answer: z.object({ cancelling: z.boolean() }),
  }),
  settleJob: endpoint({
    method: 'post',
    path: '/workers/{worker}/jobs/{id}/settle',
    audience: 'worker',
    reads: true,
    summary: 'How an attempt ended; may be sent again',
    body: z.strictObject({
      ...told,
      state: jobState.exclude(['running']),
      result: z.unknown().optional(),
      error: problem.optional(),
      notBefore: time.optional(),
    }),
  }),
  tellInventory: endpoint({
    method: 'post',
    path: '/workers/{id}/inventory',
    audience: 'worker',
    reads: true,
    summary: 'The machines of one of the worker’s hosts, or why they could not be read',
    body: z.strictObject({
      host: name,
      machines: z.array(MachineDto).max(10_000).optional(),
      error: problem.optional(),
    }),
  }),
};
