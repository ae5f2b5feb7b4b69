/** Does what a job says: an operation of its organisation's application. */
import type { BackupRequest, BackupResult, CopyResult, PrimaApi } from '@prima/api';
import { invoke, isOperationName, type OperationName, operations, parseRequest } from '@prima/api/schemas';
import { type ErrorCode, errorCodes, PrimaError } from '@prima/base';
import type { Kysely } from 'kysely';
import type { JobRow, JobStore } from '../jobs/job-store.ts';
import type { JobWork } from '../jobs/job-runner.ts';
import { problemOf } from '../problem.ts';
import type { Tables } from '../state/tables.ts';
import { withPolicyCommands } from './policy-commands.ts';
import type { Tenants } from './tenants.ts';

export interface WorkParts {
  db: Kysely<Tables>;
  store: JobStore;
  tenants: Tenants;
}

/** What comes to the same when it is begun anew: it starts where it was, or from clean ground that its journal has made. */
const againAfterDeath: ReadonlySet<OperationName> = new Set<OperationName>([
  'backup',
  'check',
  'collect',
  'copy',
  'forget',
  'hostBackup',
  'restoreToFolder',
  'restoreToHost',
]);

export const mayBeginAgain = ({ operation }: Pick<JobRow, 'operation'>): boolean =>
  isOperationName(operation) && (againAfterDeath.has(operation) || operations[operation].reads);

export async function work(
  parts: WorkParts,
  row: JobRow,
  options: JobWork,
): Promise<{ result: unknown; failure?: PrimaError }> {
  return withPolicyCommands(parts.db, row, { ...options, work: () => operate(parts, row, options) });
}

async function operate(
  { store, tenants }: WorkParts,
  row: JobRow,
  options: JobWork,
): Promise<{ result: unknown; failure?: PrimaError }> {
  const { operation } = row;
  if (!isOperationName(operation)) throw unknownOperation(operation);
  const application = await applicationFor(tenants, row, operation);
  return runOperation(application, { operation, request: store.requestOf(row) }, options);
}

/** Raises `unsupported` for an operation that this version does not know. */
export async function runOperation(
  application: PrimaApi,
  { operation, request: said }: { operation: string; request: unknown },
  options: JobWork,
): Promise<{ result: unknown; failure?: PrimaError }> {
  if (!isOperationName(operation)) throw unknownOperation(operation);
  const request = parseRequest(operation, said);
  const result = await invoke(application, operation, request, options);
  const failure = failureIn(operation, result);
  return failure ? { result, failure } : { result };
}

const unknownOperation = (name: string): PrimaError =>
  new PrimaError(
    'unsupported',
    `this version of Prima knows no operation ${name}; use the same one at the server and its workers`,
  );

/** With the repository where one is named, or the operation needs one and there is only one. */
export async function applicationFor(
  tenants: Tenants,
  { organisation_id, repository }: Pick<JobRow, 'organisation_id' | 'repository'>,
  operation: OperationName,
): Promise<PrimaApi> {
  if (repository === null && !operations[operation].needsRepository) return tenants.of(organisation_id);
  return tenants.withRepository(await tenants.repository(organisation_id, repository ?? undefined));
}

/** Operations on several things answer for each: a job has failed where one of them has. */
function failureIn(operation: OperationName, result: unknown): PrimaError | undefined {
  if (operation === 'backup') return firstOf((result as BackupResult).results);
  if (operation === 'copy') return firstOf((result as CopyResult).results);
  if (operation !== 'check' || (result as { ok: boolean }).ok) return undefined;
  return new PrimaError(
    'verify-failed',
    'the check found faults; its result lists them, and the points that they affect',
  );
}

function firstOf(
  results: readonly { error?: { code: string; message: string } | undefined }[],
): PrimaError | undefined {
  const failed = results.filter(({ error }) => error);
  const [first] = failed;
  if (!first?.error) return undefined;
  const { code, message } = first.error;
  const known = Object.hasOwn(errorCodes, code) ? (code as ErrorCode) : 'internal';
  const more = failed.length > 1 ? `; and ${failed.length - 1} more, see the result` : '';
  return new PrimaError(known, `${message}${more}`, { retryable: mayPass.has(known) });
}

/** What may be otherwise when it is tried again later, with nothing done by anybody. */
const mayPass: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'busy',
  'remote',
  'timeout',
  'source-changed',
  'io',
  'protocol',
]);

/** Notes how the last backup of each machine went. */
export async function noteOutcome(db: Kysely<Tables>, store: JobStore, row: JobRow): Promise<void> {
  if (row.operation !== 'backup' || row.state === 'cancelled') return;
  const results = row.result === null ? [] : (JSON.parse(row.result) as BackupResult).results;
  const { sources } = store.requestOf(row) as BackupRequest;
  for (const source of sources) {
    const [host = '', name = ''] = source.split('/', 2);
    const found = results.find((one) => one.source === source);
    const failed = found
      ? found.error
      : row.error === null
        ? undefined
        : (JSON.parse(row.error) as { code: string });
    await db
      .updateTable('machine')
      .set({ last_error: failed ? JSON.stringify(asProblem(failed)) : null })
      .where('organisation_id', '=', row.organisation_id)
      .where('host', '=', host)
      .where('name', '=', name)
      .execute();
  }
}

function asProblem(error: { code: string; message?: string }): ReturnType<typeof problemOf> {
  const code = Object.hasOwn(errorCodes, error.code) ? (error.code as ErrorCode) : 'internal';
  return problemOf(new PrimaError(code, error.message ?? code));
}
