/** Errors as servers tell them: RFC 9457 problems, and those of jobs. */
import { type ErrorCode, errorCodes, PrimaError } from '@prima/base';
import { z } from 'zod';

const shared = {
  code: z.string(),
  details: z.record(z.string(), z.unknown()).nullish(),
  retryable: z.boolean().nullish(),
};

const Problem = z.object({ ...shared, detail: z.string() });

/** Of a job. */
export const JobError = z.object({ ...shared, message: z.string() });

/** The error that a problem's body tells, or undefined where it tells none. */
export function problemOf(body: unknown): PrimaError | undefined {
  const { data } = Problem.safeParse(body);
  return data && errorOf({ ...data, message: data.detail });
}

/** The same error as on the server; a code that this version does not know is `remote`. */
export function errorOf({ code, message, details, retryable }: z.infer<typeof JobError>): PrimaError {
  if (!Object.hasOwn(errorCodes, code)) {
    return new PrimaError('remote', `${message} (${code}, which this version of Prima does not know)`, {
      details: { ...details, code },
    });
  }
  return new PrimaError(code as ErrorCode, message, {
    details: details ?? {},
    retryable: retryable ?? false,
  });
}
