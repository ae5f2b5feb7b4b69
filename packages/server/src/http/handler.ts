/** What answers an endpoint: one function each, by the endpoint's name, with what was sent already held to its schemas. */
import type { Answer, EndpointName, endpoints } from '@prima/api/http';
import type { z } from 'zod';
import type { Caller } from '../accounts/sessions.ts';
import type { Service } from '../service/service.ts';

type Table = typeof endpoints;
type Sent<E, Key extends string> = E extends { [K in Key]: infer S extends z.ZodType }
  ? z.output<S>
  : undefined;

/** One request. */
export interface Asked<Name extends EndpointName> {
  service: Service;
  /** Whose it is; of an endpoint for anyone there may be nobody: `caller` raises then. */
  readonly caller: Caller;
  /** Of the caller. */
  readonly organisation: string;
  path: Record<string, string>;
  query: Sent<Table[Name], 'query'>;
  body: Sent<Table[Name], 'body'>;
  /** Where it comes from. */
  address: string;
  /** What the browser or program calls itself. */
  agent: string;
  /** Aborted when nobody waits for the answer any more. */
  signal: AbortSignal;
  /** Sets the session's cookie, or ends it. */
  setSession: (secret: string | undefined) => void;
  /** What a sign-in through the provider leaves in the browser until it is back. */
  setPending: (sealed: string) => void;
  takePending: () => string | undefined;
  /** Goes into the audit log, when all has gone well. */
  note: (target: string, details?: Record<string, unknown>) => void;
}

/** Lines are streamed; whoever raises while they are cuts the answer off. */
type Answered<Name extends EndpointName> = Table[Name] extends { lines: infer S extends z.ZodType }
  ? AsyncIterable<z.output<S>>
  : Answer<Name>;

export type Handlers<Names extends EndpointName> = {
  [Name in Names]: (asked: Asked<Name>) => Promise<Answered<Name>>;
};
