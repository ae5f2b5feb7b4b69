/** What Prima looks after: hosts, machines, repositories, points; and how all of it stands. */
import { z } from 'zod';
import { bytes, count, id, name, pageOf, pageQuery, problem, text, time } from './common.ts';
import { rateLimits } from '../values.ts';
import { endpoint } from './endpoint.ts';
import { job } from './jobs.ts';
import { PointDto } from '../points.ts';

export const host = z.object({
  name,
  platform: z.enum(['qemu', 'libvirt']),
  location: text(1000),
  machines: count,
  worker: name.optional().meta({ description: 'that it is at; absent: the server reaches it itself' }),
  seen: time.optional().meta({ description: 'when its inventory was last read' }),
  error: problem.optional().meta({ description: 'why it could not be read since' }),
});

export const protection = z.enum(['protected', 'late', 'failed', 'unprotected']).meta({
  description:
    'protected: the last good point is younger than promised; late: it is older; failed: its last backup failed; unprotected: no policy takes it and there is no point',
});

const machineTag = z
  .string()
  .regex(/^[\p{L}\p{N}][\p{L}\p{N}._-]{0,63}$/u)
  .meta({ description: 'Letters, digits, ".", "_", "-"; at most 64' });

export const machine = z.object({
  id: id.meta({ description: 'HOST/MACHINE' }),
  name: text(200),
  host: name,
  machineId: text(200),
  state: text(50),
  memoryBytes: bytes,
  cpus: count,
  diskBytes: bytes,
  disks: count,
  agent: text(50),
  seen: time,
  isGone: z.boolean().meta({ description: 'no longer on its host' }),
  protection,
  policies: z.array(name),
  tags: z.array(machineTag),
  promiseHours: z.number().optional(),
  lastPoint: time.optional(),
  points: count,
  lastError: problem.optional(),
});

export const repository = z.object({
  id,
  name,
  url: text(2000).meta({ description: 'without secrets' }),
  created: time,
  points: count,
  machines: count,
  newest: time.optional(),
  stored: bytes.optional(),
  data: bytes
    .optional()
    .meta({ description: 'what the points would take without deduplication and compression' }),
  looked: time.optional(),
  checked: time.optional().meta({ description: 'when a check last found it whole' }),
  error: problem.optional(),
  growth: z
    .array(z.object({ time, stored: bytes }))
    .meta({ description: 'stored bytes over time, oldest first, at most 400' }),
  limits: rateLimits.meta({
    description: 'of all that the server reads of it and stores in it; absent: no limit',
  }),
  freeBytes: bytes.optional(),
  daysLeft: z.number().nonnegative().optional().meta({ description: 'at the growth of the last 30 days' }),
});

export const point = z.object({
  id,
  repository: name,
  machine: text(200),
  machineId: text(200),
  host: text(200).optional(),
  time,
  mode: z.enum(['hot', 'warm', 'cold']),
  quiesced: z.boolean(),
  name: text(200).optional(),
  tags: z.array(text(200)),
  size: bytes,
  read: bytes,
  added: bytes,
  stored: bytes,
  disks: count,
  warnings: count,
  lockedUntil: time.optional(),
  parent: id.optional(),
  origin: id.optional().meta({ description: 'of a copy: the point that it was first copied from' }),
});

export const overview = z.object({
  machines: z.object({ total: count, protected: count, late: count, failed: count, unprotected: count }),
  attention: z
    .array(
      z.object({
        kind: z.enum(['machine', 'host', 'repository', 'policy', 'approval']),
        subject: text(200),
        level: z.enum(['warning', 'error']),
        message: text(2000),
        next: text(500).meta({ description: 'what to do' }),
        since: time.optional(),
      }),
    )
    .meta({ description: 'what needs a person, worst first, at most 100' }),
  jobs: z.object({ running: count, queued: count, failedToday: count, succeededToday: count }),
  running: z.array(job),
  oldest: z
    .array(z.object({ host: name, machine: text(200), lastPoint: time, promiseHours: z.number(), due: time }))
    .meta({
      description:
        'machines whose last good point is the next to be, or the longest, older than promised; at most 8',
    }),
  storage: z.object({ stored: bytes, data: bytes, growth: z.array(z.object({ time, stored: bytes })) }),
  days: z
    .array(z.object({ day: z.iso.date(), succeeded: count, failed: count }))
    .meta({ description: 'backups of the last 30 days' }),
});

export const settings = z.strictObject({
  organisationName: text(100).min(1),
  inventoryMinutes: z.number().int().min(1).max(1440),
  secondApproval: z.boolean().meta({ description: 'forgetting points needs a second person' }),
});

export const thingEndpoints = {
  getOverview: endpoint({
    method: 'get',
    path: '/overview',
    audience: 'viewer',
    summary: 'How things stand',
    answer: overview,
  }),
  listHosts: endpoint({
    method: 'get',
    path: '/hosts',
    audience: 'viewer',
    summary: 'The hosts that machines are on',
    answer: z.object({ items: z.array(host) }),
  }),
  addHost: endpoint({
    method: 'post',
    path: '/hosts',
    audience: 'implementer',
    summary: 'Add a host, after trying it',
    body: z.strictObject({ name, platform: z.enum(['qemu', 'libvirt']), location: text(1000).min(1) }),
    answer: host,
  }),
  testHost: endpoint({
    method: 'post',
    path: '/hosts/{id}/test',
    audience: 'implementer',
    summary: 'Try whether all works that backups of its machines need',
    answer: z.object({
      ok: z.boolean(),
      checks: z.array(z.object({ name: text(200), ok: z.boolean(), detail: text(5000) })),
    }),
  }),
  removeHost: endpoint({
    method: 'delete',
    path: '/hosts/{id}',
    audience: 'implementer',
    summary: 'Forget a host; its machines and their points stay',
  }),
  listMachines: endpoint({
    method: 'get',
    path: '/machines',
    audience: 'viewer',
    summary: 'Machines by name',
    query: z.object({
      ...pageQuery,
      q: text(200).optional(),
      host: name.optional(),
      protection: protection.optional(),
      tag: machineTag.optional(),
    }),
    answer: pageOf(machine),
  }),
  getMachine: endpoint({
    method: 'get',
    path: '/hosts/{host}/machines/{id}',
    audience: 'viewer',
    summary: 'One machine, with its disks',
    answer: machine.extend({
      diskList: z.array(
        z.object({
          name: text(200),
          path: text(4096),
          format: text(50),
          size: bytes,
          excluded: text().optional(),
        }),
      ),
      notes: z.array(text()),
    }),
  }),
  tagMachine: endpoint({
    method: 'put',
    path: '/hosts/{host}/machines/{id}/tags',
    audience: 'operator',
    summary: 'The tags of a machine, which policies may choose by: these and no others',
    body: z.strictObject({ tags: z.array(machineTag).max(50) }),
    answer: machine,
  }),
  refreshInventory: endpoint({
    method: 'post',
    path: '/hosts/{id}/refresh',
    audience: 'viewer',
    summary: 'Read its machines now',
    answer: host,
  }),
  listRepositories: endpoint({
    method: 'get',
    path: '/repositories',
    audience: 'viewer',
    summary: 'The repositories that points are in',
    answer: z.object({ items: z.array(repository) }),
  }),
  addRepository: endpoint({
    method: 'post',
    path: '/repositories',
    audience: 'administrator',
    summary: 'Make a repository, or take one that is there; its passphrase is kept encrypted',
    body: z.strictObject({
      name,
      url: text(2000).min(1),
      passphrase: z.string().min(1).max(1024).meta({ secret: true }),
      create: z.boolean().default(false),
    }),
    answer: repository.extend({
      recovery: text().optional().meta({ description: 'words that open a new repository; shown this once' }),
    }),
  }),
  limitRepository: endpoint({
    method: 'put',
    path: '/repositories/{id}/limits',
    audience: 'administrator',
    summary: 'How much is read of it and stored in it a second, by all jobs together; while none runs in it',
    body: rateLimits,
    answer: repository,
  }),
  removeRepository: endpoint({
    method: 'delete',
    path: '/repositories/{id}',
    audience: 'administrator',
    summary: 'Forget where it is; what it holds stays',
  }),
  refreshRepository: endpoint({
    method: 'post',
    path: '/repositories/{id}/refresh',
    audience: 'viewer',
    summary: 'Read its points into the catalogue now',
    answer: repository,
  }),
  listPoints: endpoint({
    method: 'get',
    path: '/points',
    audience: 'viewer',
    summary: 'Restore points, newest first',
    query: z.object({
      ...pageQuery,
      repository: name.optional(),
      host: name.optional(),
      machine: text(200).optional(),
      q: text(200).optional(),
    }),
    answer: pageOf(point),
  }),
  getPoint: endpoint({
    method: 'get',
    path: '/repositories/{repository}/points/{id}',
    audience: 'viewer',
    summary: 'One point as its repository has it',
    query: z.object({
      detail: z.enum(['point', 'disks', 'verification']).default('point').meta({
        description:
          'disks: with the partition tables of its disks and where their data lies; verification: with when checks last read what it needs',
      }),
    }),
    answer: PointDto,
  }),
  getSettings: endpoint({
    method: 'get',
    path: '/settings',
    audience: 'viewer',
    summary: 'The organisation’s settings',
    answer: settings,
  }),
  changeSettings: endpoint({
    method: 'put',
    path: '/settings',
    audience: 'administrator',
    summary: 'Change the organisation’s settings',
    body: settings,
    answer: settings,
  }),
};
