/** Failures as the API tells them. */
import type { Problem } from '@prima/api/http';
import type { PrimaError } from '@prima/base';

export function problemOf({ code, message, exitStatus, retryable, details }: PrimaError): Problem {
  return {
    code,
    message,
    exitStatus,
    ...(retryable ? { retryable } : {}),
    ...(Object.keys(details).length > 0 ? { details } : {}),
  };
}
