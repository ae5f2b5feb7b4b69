/** Operations that are answered at once, on hosts of workers: as jobs that are waited for. */
import type { OperationName } from '@prima/api/schemas';
import { operations, withoutSecrets } from '@prima/api/schemas';
import { type ErrorCode, errorCodes, PrimaError } from '@prima/base';
import type { Service } from './service.ts';

/** Clients wait 30 seconds for an answer. */
const waitMs = 25_000;
const lookMs = 100;

interface WorkerCall {
  organisation: string;
  host: string;
  name: OperationName;
  request: unknown;
  summary: string;
  requestedBy: string;
  repository?: string | undefined;
  signal: AbortSignal;
}

/** Answers the result. Raises what the job does, and `timeout` with the job's id where it lasts. */
export async function callAtWorker({ jobs, clock }: Service, call: WorkerCall): Promise<unknown> {
  const { organisation, host, name, request, summary, requestedBy, repository, signal } = call;
  if (operations[name].media !== undefined)
    throw new PrimaError('unsupported', `${summary}: not for a host of a worker; ask at the worker itself`);
  const { id } = await jobs.create({
    organisation,
    operation: name,
    summary,
    request,
    shown: withoutSecrets(operations[name].request, request),
    repository,
    host: { name: host, atOnce: 16 },
    requestedBy,
  });
  const until = clock.monotonic() + waitMs;
  while (clock.monotonic() < until && !signal.aborted) {
    const row = await jobs.get(organisation, id);
    if (row.error !== null && row.ended !== null) throw failureOf(row.error);
    if (row.state === 'cancelled') throw new PrimaError('cancelled', `${summary}: cancelled by request`);
    if (row.state === 'succeeded') return row.result === null ? undefined : JSON.parse(row.result);
    await clock.sleep(lookMs, signal).catch(() => undefined); // aborted: nobody waits any more
  }
  throw new PrimaError(
    'timeout',
    `${summary}: the worker of ${host} has not answered within ${waitMs / 1000} s; job ${id} goes on, look there`,
    { details: { job: id } },
  );
}

function failureOf(text: string): PrimaError {
  const { code, message } = JSON.parse(text) as { code: string; message: string };
  return new PrimaError(Object.hasOwn(errorCodes, code) ? (code as ErrorCode) : 'internal', message);
}
