/** What is known of each operation besides its code: what it takes and answers, who may call it, how it goes over HTTP. */
import type { z } from 'zod';
import type { CallOptions } from './call.ts';
import type { PrimaApi } from './contract.ts';
import type { Role } from './http/endpoint.ts';

export type OperationName = Exclude<keyof PrimaApi, 'close'>;

/** `job`: it can take longer than a few seconds, so it is followed instead of waited for. */
export type OperationKind = 'quick' | 'job';

export interface Operation<Request = unknown, Result = unknown> {
  /** A sentence without its end: "Lists restore points". */
  summary: string;
  request: z.ZodType<Request>;
  /** Of operations that answer nothing: `null`. */
  result: z.ZodType<Result>;
  kind: OperationKind;
  /** Who may call it; with some requests only an administrator, see `roleOf`. */
  role: Role;
  /** Cannot work without a repository. The others use one where it is named. */
  needsRepository: boolean;
  /** Changes nothing, neither here nor on a host: may be sent again when its answer got lost. */
  reads: boolean;
  /** The answer is no JSON but a body of this media type. */
  media?: string;
  /** It works until it is cancelled; what the caller waits for is in the `fields` of an event of type `log`. */
  stays?: boolean;
  /** Not over HTTP, and why: a sentence for people. */
  local?: string;
}

type RequestOf<Name extends OperationName> =
  Parameters<PrimaApi[Name]> extends [options?: CallOptions]
    ? Record<string, never>
    : Parameters<PrimaApi[Name]>[0];

type AnswerOf<Name extends OperationName> = Awaited<ReturnType<PrimaApi[Name]>>;

/** An answer as it is sent: an export's handle is the caller's own. */
type ResultOf<Name extends OperationName> = Name extends 'export'
  ? Omit<AnswerOf<'export'>, 'stop'>
  : AnswerOf<Name> extends void
    ? null
    : AnswerOf<Name>;

export type OperationTable = {
  readonly [Name in OperationName]: Operation<RequestOf<Name>, ResultOf<Name>>;
};

type Traits = readonly [OperationKind, Role, ...('repository' | 'reads')[]];

/** A row of the table. */
export function operation<Request, Result>(
  summary: string,
  request: z.ZodType<Request>,
  result: z.ZodType<Result>,
  [kind, role, ...traits]: Traits,
): Operation<Request, Result> {
  const needsRepository = traits.includes('repository');
  return { summary, request, result, kind, role, needsRepository, reads: traits.includes('reads') };
}
