/**
 * What a policy runs on the server before each of its backups, and after: after each attempt, whatever became of it. A server that dies in
 * between runs the command after the attempt that follows, or when it gives the job up: at least once.
 */
import type { PolicySettings } from '@prima/api/http';
import { PrimaError, toPrimaError } from '@prima/base';
import type { Kysely } from 'kysely';
import type { JobRow } from '../jobs/job-store.ts';
import type { JobWork } from '../jobs/job-runner.ts';
import { type OwnCommand, runOwnCommand } from '../jobs/own-command.ts';
import type { Tables } from '../state/tables.ts';
import { settingsOf } from './standing.ts';

type Commands = NonNullable<PolicySettings['commands']>;
type Outcome = 'succeeded' | 'failed' | 'cancelled' | 'interrupted';
type Ran = { result: unknown; failure?: PrimaError };
type Tell = JobWork['onEvent'];

/** `work`, with its policy's commands around it. */
export async function withPolicyCommands(
  db: Kysely<Tables>,
  job: JobRow,
  { work, signal, onEvent }: JobWork & { work: () => Promise<Ran> },
): Promise<Ran> {
  const policy = await commandsOf(db, job);
  if (!policy) return work();
  const { commands, name } = policy;
  const env = environmentOf(job, name);
  let outcome: Outcome = 'failed';
  let error: PrimaError | undefined;
  try {
    await runBefore(commands, { env, signal, onEvent });
    const ran = await work();
    error = ran.failure;
    if (!error) outcome = 'succeeded';
    return ran;
  } catch (failure) {
    error = toPrimaError(failure, job.summary);
    const { aborted, reason } = signal;
    if (aborted) outcome = reason instanceof PrimaError && reason.retryable ? 'interrupted' : 'cancelled';
    throw failure;
  } finally {
    await runAfter(commands, { env, onEvent, outcome, error });
  }
}

/** After a job that ends without another attempt, because the server died in the one before. */
export async function afterAbandoned(
  db: Kysely<Tables>,
  job: JobRow,
  { outcome, onEvent }: { outcome: Outcome; onEvent: Tell },
): Promise<void> {
  const policy = await commandsOf(db, job);
  if (policy) await runAfter(policy.commands, { env: environmentOf(job, policy.name), onEvent, outcome });
}

/** They run on the server: a backup by a worker cannot have them. */
export async function hasPolicyCommands(db: Kysely<Tables>, job: JobRow): Promise<boolean> {
  return (await commandsOf(db, job)) !== undefined;
}

async function commandsOf(
  db: Kysely<Tables>,
  { operation, policy_id }: JobRow,
): Promise<{ commands: Commands; name: string } | undefined> {
  if (operation !== 'backup' || policy_id === null) return undefined;
  const row = await db.selectFrom('policy').selectAll().where('id', '=', policy_id).executeTakeFirst();
  if (!row) return undefined; // removed meanwhile
  const { commands, name } = settingsOf(row);
  return commands && { commands, name };
}

function environmentOf(job: JobRow, policy: string): Record<string, string> {
  const [machine = ''] = JSON.parse(job.machines) as string[];
  return {
    PRIMA_MACHINE: machine,
    PRIMA_JOB: job.id,
    PRIMA_POLICY: policy,
    PRIMA_REPOSITORY: job.repository ?? '',
    PRIMA_ATTEMPT: String(job.attempt),
  };
}

async function runBefore(
  { before }: Commands,
  { env, signal, onEvent }: JobWork & { env: Record<string, string> },
): Promise<void> {
  if (!before) return;
  try {
    await runTold(before, { env: { ...env, PRIMA_STEP: 'before' }, signal, onEvent });
  } catch (failure) {
    const { message, code } = toPrimaError(failure, 'running the command before the backup');
    if (signal.aborted) throw failure;
    const said = `the command before the backup: ${message}`;
    if (!before.goOn) throw new PrimaError(code, `${said}; nothing was backed up`, { cause: failure });
    onEvent({ type: 'log', level: 'warn', message: `${said}; the backup goes on, as its policy says` });
  }
}

/** Not cancelled with the job: it puts right what the one before has done. Its failure is said, and changes nothing. */
async function runAfter(
  { after }: Commands,
  about: { env: Record<string, string>; onEvent: Tell; outcome: Outcome; error?: PrimaError | undefined },
): Promise<void> {
  if (!after) return;
  const { env, onEvent, outcome, error } = about;
  const more = { PRIMA_STEP: 'after', PRIMA_OUTCOME: outcome, PRIMA_ERROR: error?.message ?? '' };
  try {
    await runTold(after, { env: { ...env, ...more }, onEvent });
  } catch (failure) {
    const { message } = toPrimaError(failure, 'running the command after the backup');
    onEvent({ type: 'log', level: 'warn', message: `the command after the backup: ${message}` });
  }
}

async function runTold(
  command: OwnCommand,
  { env, signal, onEvent }: { env: Record<string, string>; signal?: AbortSignal; onEvent: Tell },
): Promise<void> {
  const [program = ''] = command.command;
  const tell = (message: string) => onEvent({ type: 'log', level: 'info', message });
  tell(`running ${program}`);
  await runOwnCommand(command, { env, signal, onLine: (line) => tell(`${program}: ${line}`) });
}
