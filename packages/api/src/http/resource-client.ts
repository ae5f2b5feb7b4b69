/** A typed client of the resources, for browsers and Node alike: paths, questions and answers are those of the table. */
import type { z } from 'zod';
import type { Endpoint } from './endpoint.ts';
import { type EndpointName, endpoints } from './endpoints.ts';
import type { problem } from './common.ts';

type Table = typeof endpoints;
type PathParameters<P extends string> = P extends `${string}{${infer Name}}${infer Rest}`
  ? Name | PathParameters<Rest>
  : never;
type Part<E, Key extends string> = E extends { [K in Key]: infer S extends z.ZodType }
  ? z.input<S>
  : undefined;

export interface CallInput<Name extends EndpointName> {
  path?: Record<PathParameters<Table[Name]['path']>, string>;
  query?: Partial<Part<Table[Name], 'query'>>;
  body?: Part<Table[Name], 'body'>;
  signal?: AbortSignal;
  /** For this request, milliseconds. */
  timeoutMs?: number;
}

export type Answer<Name extends EndpointName> = Table[Name] extends { answer: infer S extends z.ZodType }
  ? z.output<S>
  : undefined;

/** What the server says went wrong. */
export class ApiError extends Error {
  override name = 'ApiError';
  readonly status: number;
  readonly problem: z.infer<typeof problem>;

  constructor(status: number, said: z.infer<typeof problem>) {
    super(said.message);
    this.status = status;
    this.problem = said;
  }
}

export interface ResourceClientOptions {
  /** Before `/api/v1`; empty for the page's own server. */
  origin?: string;
  headers?: () => Record<string, string>;
  fetch?: typeof fetch;
  /** For each request, milliseconds. Default 30 s. */
  timeoutMs?: number;
}

export type ResourceClient = <Name extends EndpointName>(
  name: Name,
  input?: CallInput<Name>,
) => Promise<Answer<Name>>;

/** Raises `ApiError` for what the server refuses, and what `fetch` raises. */
export function resourceClient(options: ResourceClientOptions = {}): ResourceClient {
  const { origin = '', headers, timeoutMs = 30_000 } = options;
  const send = options.fetch ?? fetch;
  return async (name, input = {}) => {
    const { method, path, answer }: Endpoint = endpoints[name];
    const deadline = AbortSignal.timeout(input.timeoutMs ?? timeoutMs);
    const response = await send(`${origin}${urlOf(path, input.path, input.query)}`, {
      method: method.toUpperCase(),
      headers: {
        accept: 'application/json',
        ...(input.body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers?.(),
      },
      ...(input.body === undefined ? {} : { body: JSON.stringify(input.body) }),
      credentials: 'same-origin',
      signal: input.signal ? AbortSignal.any([input.signal, deadline]) : deadline,
    });
    if (!response.ok) throw new ApiError(response.status, await problemOf(response));
    return (answer ? answer.parse(await response.json()) : undefined) as Answer<typeof name>;
  };
}

/** The path and query of an endpoint, below the origin. */
export function urlOf(path: string, parameters: object = {}, query: object = {}): string {
  const values = parameters as Record<string, string>;
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, key: string) => encodeURIComponent(values[key] ?? ''));
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value !== undefined) search.set(key, String(value));
  return `/api/v1${filled}${search.size > 0 ? `?${search.toString()}` : ''}`;
}

/** What an answer that is not `ok` says. */
export async function problemOf(response: Response): Promise<z.infer<typeof problem>> {
  const unknown = {
    code: 'remote',
    message: `the server answered with status ${response.status}`,
    exitStatus: 16,
  };
  try {
    const said = (await response.json()) as { code?: string; detail?: string; exitStatus?: number };
    return {
      ...said,
      code: said.code ?? 'remote',
      message: said.detail ?? unknown.message,
      exitStatus: said.exitStatus ?? 16,
    };
  } catch {
    return unknown; // a proxy's page, or nothing
  }
}
