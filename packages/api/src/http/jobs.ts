/** Long work: followed, cancelled, tried again; and the policies that begin it. */
import { z } from 'zod';
import { bytes, count, id, name, pageOf, pageQuery, problem, text, time } from './common.ts';
import { rateLimits } from '../values.ts';
import { endpoint } from './endpoint.ts';

export const jobState = z.enum(['queued', 'running', 'succeeded', 'failed', 'cancelled']);

export const job = z.object({
  id,
  operation: text(),
  state: jobState,
  summary: text().meta({ description: 'what it does, for people' }),
  repository: name.optional(),
  machines: z.array(text()),
  requestedBy: text(),
  policy: id.optional(),
  attempt: count.meta({ description: 'counted from 1' }),
  attempts: count.meta({ description: 'at most' }),
  created: time,
  notBefore: time.optional(),
  started: time.optional(),
  ended: time.optional(),
  cancelling: z.boolean(),
  progress: z
    .object({
      subject: text(),
      done: z.number(),
      total: z.number().optional(),
      read: bytes.optional(),
      stored: bytes.optional(),
      bottleneck: z.enum(['source', 'processing', 'store']).optional(),
      at: time,
    })
    .optional(),
  error: problem.optional(),
});

export const jobEvent = z.object({
  id: count,
  time,
  event: z.discriminatedUnion('type', [
    z.object({
      type: z.literal('log'),
      level: z.enum(['debug', 'info', 'warn', 'error']),
      message: z.string(),
      fields: z.record(z.string(), z.unknown()).optional(),
    }),
    z.object({
      type: z.literal('progress'),
      subject: z.string(),
      done: z.number(),
      total: z.number().optional(),
      read: z.number().optional(),
      stored: z.number().optional(),
      bottleneck: z.enum(['source', 'processing', 'store']).optional(),
    }),
    z.object({ type: z.literal('state'), state: jobState, attempt: count }),
  ]),
});

const rules = z.strictObject({
  last: count.optional(),
  hourly: count.optional(),
  daily: count.optional(),
  weekly: count.optional(),
  monthly: count.optional(),
  yearly: count.optional(),
});

const timeOfDay = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'a time of the day, as 22:30');

const ownCommand = z.strictObject({
  command: z
    .array(text(4096))
    .min(1)
    .max(100)
    .refine(([program = '']) => program.startsWith('/'), 'the program is its whole path, from "/"')
    .meta({ description: 'a program of the server and its arguments; no shell reads them' }),
  seconds: z.number().int().min(1).max(86_400).default(600).meta({ description: 'then it is ended' }),
});

export const policySettings = z.strictObject({
  name,
  enabled: z.boolean().default(true),
  machines: z
    .strictObject({
      all: z.boolean().optional(),
      hosts: z.array(name).max(1000).optional(),
      names: z.array(text(200)).max(10_000).optional().meta({
        description: '"HOST/MACHINE"; "*" stands for any characters; "tag:TAG" for the machines that have it',
      }),
      except: z.array(text(200)).max(10_000).optional(),
    })
    .meta({ description: 'which machines: the union of `all`, `hosts` and `names`, without `except`' }),
  repository: name,
  mode: z.enum(['auto', 'hot', 'warm', 'cold']).default('auto'),
  schedule: text(200).meta({ description: 'cron, five fields: minute hour day month weekday' }),
  timeZone: text(100)
    .default('UTC')
    .meta({ description: 'of the schedule and the window, as in the IANA database' }),
  window: z
    .strictObject({ from: timeOfDay, to: timeOfDay })
    .optional()
    .meta({ description: 'runs begin within it only; past midnight where `to` is before `from`' }),
  promiseHours: z
    .number()
    .positive()
    .max(24 * 366)
    .default(26)
    .meta({ description: 'no machine’s last good point is older than this, or it is shown as late' }),
  retention: rules.optional(),
  atOnce: z
    .number()
    .int()
    .min(1)
    .max(64)
    .default(2)
    .meta({ description: 'machines backed up at the same time, on one host' }),
  attempts: z.number().int().min(1).max(10).default(3),
  skipFreeSpace: z.boolean().default(false),
  commands: z
    .strictObject({
      before: ownCommand
        .extend({ goOn: z.boolean().default(false).meta({ description: 'back up although it failed' }) })
        .optional(),
      after: ownCommand.optional().meta({ description: 'whatever became of the backup' }),
    })
    .optional()
    .meta({
      description:
        'run on the server around each backup; an administrator of the first organisation says them',
    }),
  limits: rateLimits.optional().meta({ description: 'of each of its backups' }),
  lockDays: z.number().int().min(1).max(36500).optional(),
  copyTo: name.optional().meta({ description: 'a second repository that new points are copied to' }),
});

export const policy = policySettings.extend({
  id,
  nextRun: time.optional(),
  lastRun: time.optional(),
  lastOutcome: z.enum(['running', 'succeeded', 'failed']).optional(),
  machineCount: count,
});

export const policyPreview = z.object({
  runs: z
    .array(z.object({ time, begins: time.meta({ description: 'in the window' }) }))
    .meta({ description: 'the next five' }),
  machines: z.object({
    total: count,
    items: z.array(z.object({ id, policies: z.array(name) })).meta({ description: 'the first 100' }),
    unused: z
      .array(text(200))
      .meta({ description: 'hosts, names and exceptions that fit no machine there is' }),
  }),
  issues: z
    .array(z.object({ path: text(), message: text() }))
    .meta({ description: 'why there are no runs: what making the policy would be refused for' }),
});

export const jobEndpoints = {
  listJobs: endpoint({
    method: 'get',
    path: '/jobs',
    audience: 'viewer',
    summary: 'Jobs, newest first',
    query: z.object({
      ...pageQuery,
      state: jobState.optional(),
      machine: text(200).optional(),
      policy: id.optional(),
      operation: text(100).optional(),
    }),
    answer: pageOf(job),
  }),
  getJob: endpoint({
    method: 'get',
    path: '/jobs/{id}',
    audience: 'viewer',
    summary: 'One job, with its result when it has ended',
    answer: job.extend({ request: z.unknown(), result: z.unknown().optional() }),
  }),
  listJobEvents: endpoint({
    method: 'get',
    path: '/jobs/{id}/log',
    audience: 'viewer',
    summary: 'What a job has told so far; /jobs/{id}/events follows it as server-sent events',
    query: z.object({
      after: z.coerce.number().int().nonnegative().default(0),
      limit: z.coerce.number().int().min(1).max(5000).default(1000),
    }),
    answer: z.object({ items: z.array(jobEvent) }),
  }),
  cancelJob: endpoint({
    method: 'post',
    path: '/jobs/{id}/cancel',
    audience: 'viewer',
    summary: 'End a job; what it began is taken back. Needs what the job needs, or the operator',
    answer: job,
  }),
  retryJob: endpoint({
    method: 'post',
    path: '/jobs/{id}/retry',
    audience: 'viewer',
    summary: 'The same again, as a new job. Needs what the job needs',
    answer: job,
  }),
  listPolicies: endpoint({
    method: 'get',
    path: '/policies',
    audience: 'viewer',
    summary: 'Policies: which machines are backed up when, where to, and what is kept',
    answer: z.object({ items: z.array(policy) }),
  }),
  createPolicy: endpoint({
    method: 'post',
    path: '/policies',
    audience: 'operator',
    summary: 'A new policy',
    body: policySettings,
    answer: policy,
  }),
  previewPolicy: endpoint({
    method: 'post',
    path: '/policies/preview',
    reads: true,
    audience: 'viewer',
    summary: 'When settings would run, and which machines they take; nothing is kept',
    body: policySettings.pick({ machines: true, schedule: true, timeZone: true, window: true }),
    answer: policyPreview,
  }),
  changePolicy: endpoint({
    method: 'put',
    path: '/policies/{id}',
    audience: 'operator',
    summary: 'Replace a policy’s settings',
    body: policySettings,
    answer: policy,
  }),
  removePolicy: endpoint({
    method: 'delete',
    path: '/policies/{id}',
    audience: 'operator',
    summary: 'Remove a policy; its points stay',
  }),
  runPolicy: endpoint({
    method: 'post',
    path: '/policies/{id}/run',
    audience: 'operator',
    summary: 'Run it now, for all its machines or some',
    body: z.strictObject({ machines: z.array(text(200)).max(10_000).optional() }),
    answer: z.object({ jobs: z.array(id) }),
  }),
};
