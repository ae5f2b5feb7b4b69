/** Jobs and policies. */
import type { jobEndpoints } from '@prima/api/http';
import { PrimaError, UserError } from '@prima/base';
import { jobDto } from '../jobs/job-store.ts';
import { cursorOf, readCursor } from './cursor.ts';
import type { Handlers } from './handler.ts';

export const jobHandlers: Handlers<keyof typeof jobEndpoints> = {
  listJobs: async ({ service, organisation, query }) => {
    const { limit, cursor, ...where } = query;
    const [created = '', id = ''] = readCursor(cursor, 2);
    const before = cursor === undefined ? undefined : ([created, id] as const);
    const rows = await service.jobs.list(organisation, { ...where, limit, before });
    const last = rows.at(-1);
    const next = rows.length === limit && last ? { next: cursorOf(last.created, last.id) } : {};
    return { items: rows.map(jobDto), ...next };
  },
  getJob: async ({ service, organisation, path }) => {
    const row = await service.jobs.get(organisation, path['id'] ?? '');
    const result = row.result === null ? {} : { result: JSON.parse(row.result) as unknown };
    return { ...jobDto(row), request: JSON.parse(row.shown) as unknown, ...result };
  },
  listJobEvents: async ({ service, organisation, path, query }) => {
    const { id } = await service.jobs.get(organisation, path['id'] ?? '');
    return { items: await service.jobs.events(id, query.after, query.limit) };
  },
  cancelJob: async ({ service, organisation, path, note }) => {
    const row = await service.jobs.cancel(organisation, path['id'] ?? '');
    service.runner.cancel(row.id);
    note(row.summary, { job: row.id });
    return jobDto(row);
  },
  retryJob: async ({ service, organisation, path, caller, note }) => {
    const row = await service.jobs.get(organisation, path['id'] ?? '');
    if (row.state === 'queued' || row.state === 'running')
      throw new PrimaError('state', 'this job has not ended; cancel it first');
    const again = await service.jobs.create({
      organisation,
      operation: row.operation,
      summary: row.summary,
      request: service.jobs.requestOf(row),
      shown: JSON.parse(row.shown),
      repository: row.repository ?? undefined,
      machines: JSON.parse(row.machines) as string[],
      ...(row.host === null ? {} : { host: { name: row.host, atOnce: row.host_limit ?? 1 } }),
      requestedBy: caller.name,
      policy: row.policy_id ?? undefined,
    });
    service.runner.wake();
    note(row.summary, { job: again.id });
    return jobDto(again);
  },
  listPolicies: async ({ service, organisation }) => ({ items: await service.policies.list(organisation) }),
  createPolicy: async ({ service, organisation, body, note }) => {
    note(body.name, body);
    return service.policies.put(organisation, body);
  },
  changePolicy: async ({ service, organisation, path, body, note }) => {
    note(body.name, body);
    return service.policies.put(organisation, body, path['id'] ?? '');
  },
  removePolicy: async ({ service, organisation, path, note }) => {
    note((await service.policies.remove(organisation, path['id'] ?? '')).name);
  },
  runPolicy: async ({ service, organisation, path, body, caller, note }) => {
    const row = await service.policies.row(organisation, path['id'] ?? '');
    note(row.name, body);
    const run = new Date(service.clock.now()).toISOString();
    const jobs = await service.policies.run(row, { requestedBy: caller.name, run, only: body.machines });
    if (jobs.length === 0)
      throw new UserError(
        'state',
        'this policy takes no machine now, or all of them are being backed up already',
      );
    return { jobs };
  },
};
