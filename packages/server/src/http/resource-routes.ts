/** The resources: each endpoint of the table with what answers it. */
import { type Endpoint, type EndpointName, endpoints } from '@prima/api/http';
import { PrimaError, toPrimaError } from '@prima/base';
import type { Context, Hono } from 'hono';
import type { Caller } from '../accounts/sessions.ts';
import type { Service } from '../service/service.ts';
import { checkAudience } from './access.ts';
import { accountHandlers } from './account-handlers.ts';
import type { Handlers } from './handler.ts';
import { identityHandlers } from './identity-handlers.ts';
import { jobHandlers } from './job-handlers.ts';
import { notificationHandlers } from './notification-handlers.ts';
import { addressOf, type Bindings, bodyOf, fitting, type Requests } from './request.ts';
import { thingHandlers } from './thing-handlers.ts';
import { workerHandlers } from './worker-handlers.ts';

const handlers: Handlers<EndpointName> = {
  ...accountHandlers,
  ...identityHandlers,
  ...thingHandlers,
  ...jobHandlers,
  ...workerHandlers,
  ...notificationHandlers,
};

export function addResources(app: Hono<Bindings>, service: Service, requests: Requests): void {
  for (const name of Object.keys(endpoints) as EndpointName[]) {
    const { method, path }: Endpoint = endpoints[name];
    const route = `/api/v1${path.replaceAll(/\{(\w+)\}/g, ':$1')}`;
    app.on(method.toUpperCase(), route, (context) => answer(name, { context, service, requests }));
  }
}

interface Request {
  context: Context<Bindings>;
  service: Service;
  requests: Requests;
}

async function answer(name: EndpointName, request: Request): Promise<Response> {
  const { context, service, requests } = request;
  const described: Endpoint = endpoints[name];
  const changes = described.method !== 'get' && !described.reads;
  let noted: { target: string; details: Record<string, unknown> } | undefined;
  let caller: Caller | undefined;
  try {
    // whoever signs in may have a session that is of no use any more
    if (described.audience !== 'anyone') caller = await requests.callerOf(context);
    checkAudience(caller, described.audience);
    const asked = {
      service,
      path: context.req.param() as Record<string, string>,
      query: described.query && fitting(described.query, context.req.query(), 'query'),
      body: described.body && fitting(described.body, (await bodyOf(context)) ?? {}, 'request'),
      address: addressOf(context),
      agent: context.req.header('user-agent') ?? '',
      setSession: (secret: string | undefined) => requests.setSession(context, secret),
      setPending: (sealed: string) => requests.setPending(context, sealed),
      takePending: () => requests.takePending(context),
      note: (target: string, details: Record<string, unknown> = {}) => {
        noted = { target, details };
      },
      /** Made when it is asked for: it takes a whole request of the standard's. */
      get signal() {
        return context.req.raw.signal;
      },
      get caller() {
        return existing(caller);
      },
      get organisation() {
        return existing(caller).organisation;
      },
    };
    const handle = handlers[name] as (asked: unknown) => Promise<unknown>;
    const answered = await handle(asked).finally(() => {
      if (changes) service.sessions.changed();
    });
    if (changes) await audit(name, request, { caller, noted, outcome: 'done' });
    context.header('cache-control', 'no-store');
    if (described.lines)
      return context.body(ReadableStream.from(linesOf(answered as AsyncIterable<unknown>)), 200, {
        'content-type': 'application/jsonl',
      });
    return answered === undefined ? context.body(null, 204) : context.json(answered as object);
  } catch (error) {
    if (changes) await auditFailure(name, request, { caller, noted, error });
    throw error;
  }
}

async function* linesOf(values: AsyncIterable<unknown>): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  for await (const value of values) yield encoder.encode(`${JSON.stringify(value)}\n`);
}

function existing(caller: Caller | undefined): Caller {
  if (caller) return caller;
  throw new PrimaError('unauthorized', 'sign in first');
}

interface Outcome {
  caller: Caller | undefined;
  noted: { target: string; details: Record<string, unknown> } | undefined;
  outcome: 'done' | 'refused' | 'failed';
  error?: string;
}

async function auditFailure(
  name: EndpointName,
  request: Request,
  { caller, noted, error }: { caller: Caller | undefined; noted: Outcome['noted']; error: unknown },
): Promise<void> {
  const { code, message } = toPrimaError(error, name);
  const isRefusal = code === 'forbidden' || code === 'unauthorized' || code === 'too-many';
  await audit(name, request, { caller, noted, outcome: isRefusal ? 'refused' : 'failed', error: message });
}

/** Whoever is nobody is written down in the first organisation. */
async function audit(name: EndpointName, { context, service }: Request, outcome: Outcome): Promise<void> {
  const { caller, noted, error } = outcome;
  await service.audit.append({
    organisation: caller?.organisation ?? 'main',
    actor: caller?.name ?? (noted?.target || 'nobody'),
    action: name,
    target: noted?.target,
    outcome: outcome.outcome,
    details: {
      ...noted?.details,
      from: addressOf(context),
      ...(error === undefined ? {} : { error }),
    },
  });
}
