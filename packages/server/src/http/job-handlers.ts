/** Jobs and policies. */
import { isDeepStrictEqual } from 'node:util';
import { hasRole, type jobEndpoints, type PolicySettings } from '@prima/api/http';
import { isOperationName, operations, parseRequest } from '@prima/api/schemas';
import { PrimaError, UserError } from '@prima/base';
import type { Caller } from '../accounts/sessions.ts';
import { jobDto } from '../jobs/job-dto.ts';
import { checkAudience } from './access.ts';
import { pageOf, readCursor } from './cursor.ts';
import type { Handlers } from './handler.ts';
import { readSettings } from '../service/settings.ts';
import { checkMayOperate } from './operation-access.ts';

export const jobHandlers: Handlers<keyof typeof jobEndpoints> = {
  listJobs: async ({ service, organisation, query }) => {
    const { limit, cursor, ...where } = query;
    const [created = '', id = ''] = readCursor(cursor, 2);
    const before = cursor === undefined ? undefined : ([created, id] as const);
    const found = await service.jobs.list(organisation, { ...where, limit: limit + 1, before });
    const { rows, next } = pageOf(found, limit, (last) => [last.created, last.id]);
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
  cancelJob: async ({ service, organisation, caller, path, note }) => {
    const found = await service.jobs.get(organisation, path['id'] ?? '');
    const own = isOperationName(found.operation) ? operations[found.operation].role : 'administrator';
    if (!hasRole(caller.roles, 'operator')) checkAudience(caller, own);
    const row = await service.jobs.cancel(organisation, path['id'] ?? '');
    service.runner.cancel(row.id);
    note(row.summary, { job: row.id });
    return jobDto(row);
  },
  retryJob: async ({ service, organisation, path, caller, note }) => {
    const row = await service.jobs.get(organisation, path['id'] ?? '');
    if (row.state === 'queued' || row.state === 'running')
      throw new PrimaError('state', 'this job has not ended; cancel it first');
    if (!isOperationName(row.operation))
      throw new PrimaError('unsupported', 'this server knows no such operation');
    const request = parseRequest(row.operation, service.jobs.requestOf(row));
    await checkMayOperate(service, caller, row.operation, request);
    const { secondApproval } = await readSettings(service.state.db, organisation);
    if (row.operation === 'forget' && secondApproval)
      throw new PrimaError('forbidden', 'this needs a second person: ask for it anew, as for the first time');
    const again = await service.jobs.create({
      organisation,
      operation: row.operation,
      summary: row.summary,
      request,
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
  createPolicy: async ({ service, organisation, caller, body, note }) => {
    note(body.name, body);
    checkMayForget(caller, undefined, body);
    checkMayCommand(caller, undefined, body);
    return service.policies.put(organisation, body);
  },
  previewPolicy: ({ service, organisation, body }) => service.policies.preview(organisation, body),
  changePolicy: async ({ service, organisation, caller, path, body, note }) => {
    note(body.name, body);
    const before = await service.policies.get(organisation, path['id'] ?? '');
    checkMayForget(caller, before, body);
    checkMayCommand(caller, before, body);
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

/** What a policy no longer keeps is deleted: that is an administrator's to say. */
/** Whoever says what runs on the server may all that the server may. */
function checkMayCommand(
  { isProvider }: Caller,
  before: PolicySettings | undefined,
  after: PolicySettings,
): void {
  if (isProvider || isDeepStrictEqual(before?.commands, after.commands)) return;
  throw new PrimaError(
    'forbidden',
    'commands around backups are said by an administrator of the first organisation; leave them as they are, or ask one',
  );
}

function checkMayForget({ roles }: Caller, before: PolicySettings | undefined, after: PolicySettings): void {
  const isSame = isDeepStrictEqual(before?.retention, after.retention);
  if (isSame || after.retention === undefined || hasRole(roles, 'administrator')) return;
  throw new PrimaError(
    'forbidden',
    'what is kept is said by an administrator; leave it as it is, or ask one',
  );
}
