/** The operations of the command line, and the events of jobs. docs/protocol/http.md has the wire form. */
import type { HostAddRequest, HostDto } from '@prima/api';
import {
  invoke,
  isOperationName,
  type OperationName,
  operations,
  parseRequest,
  withoutSecrets,
} from '@prima/api/schemas';
import { errorCodes, PrimaError, toPrimaError, UserError } from '@prima/base';
import type { Context, Hono } from 'hono';
import { streamSSE } from 'hono/streaming';
import type { Caller } from '../accounts/sessions.ts';
import { askApproval } from '../service/approvals.ts';
import type { Service } from '../service/service.ts';
import { readSettings } from '../service/settings.ts';
import { applicationFor } from '../service/work.ts';
import { callAtWorker } from '../service/worker-calls.ts';
import { checkAudience } from './access.ts';
import { JobFollower } from './job-follower.ts';
import { type Bindings, bodyOf, type Requests } from './request.ts';
import { checkMayOperate } from './operation-access.ts';
import { hostOfRequest, machinesOf, summaryOf } from './operation-traits.ts';

/** Beside each other on one host. */
const operationsOnHost = 4;
const keyPattern = /^[\x21-\x7e]{1,128}$/;

export function addOperations(app: Hono<Bindings>, service: Service, requests: Requests): void {
  app.post('/api/v1/operations/:name', async (context) => {
    const caller = await requests.callerOf(context);
    const name = context.req.param('name');
    checkAudience(caller, 'member');
    if (!caller || !isOperationName(name))
      throw new PrimaError('not-found', `there is no operation "${name}"`);
    const { local } = operations[name];
    if (local !== undefined) throw new PrimaError('unsupported', local);
    const asked = {
      context,
      service,
      caller,
      name,
      request: parseRequest(name, (await bodyOf(context)) ?? {}),
    };
    return audited(asked, () => answer(asked));
  });
  app.get('/api/v1/jobs/:id/events', async (context) => {
    const caller = await requests.callerOf(context);
    checkAudience(caller, 'viewer');
    const job = await service.jobs.get(caller?.organisation ?? '', context.req.param('id'));
    const after = Number(context.req.header('last-event-id') ?? context.req.query('after') ?? 0);
    if (!Number.isSafeInteger(after) || after < 0) throw new UserError('usage', 'Last-Event-ID is a number');
    return streamSSE(context, (stream) => new JobFollower(service, job).follow(stream, after));
  });
}

interface AskedOperation {
  context: Context<Bindings>;
  service: Service;
  caller: Caller;
  name: OperationName;
  request: ReturnType<typeof parseRequest>;
}

async function answer(asked: AskedOperation): Promise<Response> {
  const { context, service, caller, name, request } = asked;
  const { organisation } = caller;
  await checkMayOperate(service, caller, name, request);
  const repository = context.req.query('repository');
  if (operations[name].kind === 'job') return begin(asked, repository);
  const host = hostOfRequest(request);
  if (host !== undefined && (await service.workers.hostAt(organisation, host))) {
    const summary = summaryOf(name, request);
    const { signal } = context.req.raw;
    const call = { organisation, host, name, request, summary, requestedBy: caller.name, repository, signal };
    return context.json({ result: await callAtWorker(service, call) });
  }
  if (name === 'hostAdd') await service.workers.checkFree(organisation, (request as HostAddRequest).name);
  const row = { organisation_id: organisation, repository: repository ?? null };
  const application = await applicationFor(service.tenants, row, name);
  const result = await invoke(application, name, request, { signal: context.req.raw.signal });
  if (name === 'hostList')
    return context.json({
      result: [...(result as HostDto[]), ...(await service.workers.hosts(organisation))],
    });
  const { media } = operations[name];
  if (media !== undefined)
    return context.body(result as Uint8Array<ArrayBuffer>, 200, { 'content-type': media });
  return context.json({ result });
}

async function begin(
  { context, service, caller, name, request }: AskedOperation,
  repository: string | undefined,
): Promise<Response> {
  const idempotency = context.req.header('idempotency-key');
  if (idempotency !== undefined && !keyPattern.test(idempotency))
    throw new UserError('usage', 'an Idempotency-Key has 1 to 128 printable characters');
  const { organisation } = caller;
  const { needsRepository, request: schema } = operations[name];
  const named =
    needsRepository || repository !== undefined
      ? (await service.tenants.repository(organisation, repository)).name
      : undefined;
  const summary = summaryOf(name, request);
  const isDryRun = (request as { dryRun?: boolean }).dryRun === true;
  const { secondApproval } = await readSettings(service.state.db, organisation);
  if (name === 'forget' && secondApproval && !isDryRun && named !== undefined) {
    const approval = await askApproval(service, caller, {
      operation: name,
      summary,
      request,
      repository: named,
    });
    throw new PrimaError(
      'forbidden',
      `another administrator has to approve this (${approval.id}); it waits under Approvals until ${approval.expires}`,
      { details: { approval: approval.id } },
    );
  }
  const host = hostOfRequest(request);
  const job = await service.jobs.create({
    organisation,
    operation: name,
    summary,
    request,
    shown: withoutSecrets(schema, request),
    repository: named,
    machines: machinesOf(name, request),
    ...(host === undefined ? {} : { host: { name: host, atOnce: operationsOnHost } }),
    requestedBy: caller.name,
    idempotency,
  });
  service.runner.wake();
  return context.json({ job: { id: job.id } }, 202, { location: `/api/v1/jobs/${job.id}` });
}

async function audited(asked: AskedOperation, task: () => Promise<Response>): Promise<Response> {
  const { service, caller, name, request } = asked;
  if (operations[name].reads) return task();
  const entry = {
    organisation: caller.organisation,
    actor: caller.name,
    action: name,
    target: summaryOf(name, request),
    details: { request: withoutSecrets(operations[name].request, request) },
  };
  try {
    const response = await task();
    await service.audit.append({ ...entry, outcome: 'done' });
    return response;
  } catch (error) {
    const { code, message } = toPrimaError(error, name);
    const outcome = errorCodes[code].http === 403 ? 'refused' : 'failed';
    await service.audit.append({ ...entry, outcome, details: { ...entry.details, error: message } });
    throw error;
  }
}
