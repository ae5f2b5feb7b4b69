/** Failures as RFC 9457 has them. */
import { errorCodes, type Logger, type PrimaError, toPrimaError } from '@prima/base';

const retryAfterSeconds = 60;

export function problemAnswer(raised: unknown, doing: string, logger: Logger): Response {
  const error: PrimaError = toPrimaError(raised, doing);
  const { http: status, summary: title } = errorCodes[error.code];
  if (error.code === 'internal') logger.error(`${doing}: ${error.stack ?? error.message}`);
  const { code, message: detail, exitStatus, details, retryable } = error;
  const isOurs = code === 'internal';
  const body = {
    type: `urn:prima:error:${code}`,
    title,
    status,
    detail: isOurs ? 'a mistake of the server; its log says more' : detail,
    code,
    exitStatus,
    details: isOurs ? {} : details,
    retryable,
  };
  return new Response(JSON.stringify(body), {
    status,
    headers: {
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      ...(status === 429 ? { 'retry-after': String(retryAfterSeconds) } : {}),
      ...(status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
    },
  });
}
