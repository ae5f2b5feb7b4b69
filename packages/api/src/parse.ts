/** Requests and answers from outside, held to the schemas. */
import { ProtocolError, UserError } from '@prima/base';
import type { z } from 'zod';
import type { OperationName, OperationTable } from './operation.ts';
import { operations } from './operation-table.ts';

const issuesAtMost = 8;

/** Raises `usage`, with what is wrong in `details.issues`; never with a value that was sent. */
export function parseRequest<Name extends OperationName>(
  name: Name,
  value: unknown,
): z.infer<OperationTable[Name]['request']> {
  const parsed = operations[name].request.safeParse(value);
  if (parsed.success) return parsed.data as z.infer<OperationTable[Name]['request']>;
  const issues = issuesOf(parsed.error);
  throw new UserError('usage', `the request ${name} is wrong: ${sentenceOf(issues)}`, {
    details: { issues },
  });
}

/** Raises `protocol`. @param what "the answer of https://…" */
export function parseAnswer<Value>(schema: z.ZodType<Value>, value: unknown, what: string): Value {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issues = issuesOf(parsed.error);
  throw new ProtocolError(`${what} is not what was expected: ${sentenceOf(issues)}`, { details: { issues } });
}

interface Issue {
  path: string;
  message: string;
}

function issuesOf({ issues }: z.ZodError): Issue[] {
  return issues.slice(0, issuesAtMost).map(({ path, message }) => ({ path: path.join('.'), message }));
}

function sentenceOf(issues: readonly Issue[]): string {
  return issues.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`)).join('; ');
}
