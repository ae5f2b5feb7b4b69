/** What workers ask and tell. Each claim's attempt is its fence: what comes with an earlier one is refused. */
import type { workerEndpoints } from '@prima/api/http';
import { isOperationName, operations } from '@prima/api/schemas';
import { type Clock, PrimaError, toPrimaError } from '@prima/base';
import type { Claim, Outcome, StoredEvent } from '../jobs/job-queue.ts';
import { type JobRow, workerOf, type WorkerKey } from '../jobs/job-store.ts';
import { problemOf } from '../problem.ts';
import { hasPolicyCommands } from '../service/policy-commands.ts';
import type { Service } from '../service/service.ts';
import { reckonStanding } from '../service/standing.ts';
import type { Handlers } from './handler.ts';

const lookMs = 1000;
/** The end of a job is shown after so long, whatever follows from it is at. */
const afterwardsMs = 20_000;

export const workerHandlers: Handlers<keyof typeof workerEndpoints> = {
  listWorkers: async ({ service, organisation }) => ({ items: await service.workers.list(organisation) }),
  registerWorker: async ({ service, organisation, path, body, note }) => {
    note(body.name, { ...body });
    return service.workers.register({ organisation, id: path['id'] ?? '' }, body);
  },
  removeWorker: async ({ service, organisation, path, note }) => {
    note((await service.workers.remove({ organisation, id: path['id'] ?? '' })).name);
    service.runner.wake();
  },
  claimJob: async ({ service, organisation, path, body, signal }) => {
    const worker = { organisation, id: path['id'] ?? '' };
    const { clock } = service;
    await service.workers.touch(worker);
    const until = clock.monotonic() + body.waitSeconds * 1000;
    while (!signal.aborted) {
      const row = await service.jobs.claimFor(worker, body.owner);
      const job = row && (await handOut(service, row));
      if (job) return { job };
      if (clock.monotonic() >= until) break;
      await clock.sleep(lookMs, signal).catch(() => undefined); // aborted: nobody waits any more
    }
    return {};
  },
  listWorkerJobs: async ({ service, organisation, path }) => {
    const id = path['id'] ?? '';
    await service.workers.touch({ organisation, id });
    const rows = (await service.jobs.running()).filter(
      (row) => row.organisation_id === organisation && workerOf(row.owner) === id,
    );
    return { items: await Promise.all(rows.map((row) => claimedOf(service, row))) };
  },
  beatJob: async ({ service, organisation, path, body }) => {
    const { worker, claim } = claimIn(organisation, path, body.attempt);
    await service.workers.touch(worker);
    await service.jobs.ofWorker(worker, claim);
    await keepEvents(service, claim, body);
    return { cancelling: await service.jobs.beat(claim, body.progress) };
  },
  settleJob: async ({ service, organisation, path, body }) => {
    const { worker, claim } = claimIn(organisation, path, body.attempt);
    await service.workers.touch(worker);
    const { state, result, error, notBefore } = body;
    const outcome: Outcome = {
      state,
      ...(result === undefined ? {} : { result }),
      ...(error === undefined ? {} : { error }),
      ...(notBefore === undefined ? {} : { notBefore }),
    };
    const before = await service.jobs.get(organisation, claim.id);
    // told once already: the state says whether it is the same
    if (before.state !== 'running') {
      await service.jobs.settle(claim, outcome);
      return;
    }
    const row = await service.jobs.ofWorker(worker, claim);
    await keepEvents(service, claim, body);
    await settle(service, row, outcome);
  },
  tellInventory: async ({ service, organisation, path, body }) => {
    const worker = { organisation, id: path['id'] ?? '' };
    await service.workers.touch(worker);
    await service.workers.checkHas(worker, body.host);
    await service.inventory.take(organisation, body.host, body);
    await reckonStanding(service.state.db, organisation);
  },
};

function claimIn(
  organisation: string,
  path: Record<string, string>,
  attempt: number,
): { worker: WorkerKey; claim: Claim } {
  return { worker: { organisation, id: path['worker'] ?? '' }, claim: { id: path['id'] ?? '', attempt } };
}

async function claimedOf({ jobs }: Service, row: JobRow) {
  const { worker: _worker, ...owner } = JSON.parse(row.owner ?? '{}') as Record<string, unknown>;
  const { id, operation, summary, attempt, attempts, cancelling } = row;
  return {
    id,
    operation,
    summary,
    attempt,
    attempts,
    cancelling: cancelling === 1,
    owner: JSON.stringify(owner),
    ...(row.beat === null ? {} : { beat: row.beat }),
    ...(row.host === null ? {} : { host: row.host }),
    events: await jobs.lastEvent(row),
  };
}

/** Nothing where the job cannot be done by a worker: it has failed then, and says why. */
async function handOut(service: Service, row: JobRow) {
  const { tenants, jobs, state } = service;
  try {
    if (await hasPolicyCommands(state.db, row))
      throw new PrimaError(
        'unsupported',
        `${row.summary}: its policy runs commands on the server, and this machine is at a worker; give it a policy without commands`,
      );
    const needs = isOperationName(row.operation) && operations[row.operation].needsRepository;
    const named = row.repository !== null || needs;
    const found = named
      ? await tenants.repository(row.organisation_id, row.repository ?? undefined)
      : undefined;
    return {
      ...(await claimedOf(service, row)),
      request: jobs.requestOf(row),
      ...(found && {
        repository: { name: found.name, url: found.url, passphrase: tenants.secretOf(found) },
      }),
    };
  } catch (error) {
    await settle(service, row, {
      state: 'failed',
      error: problemOf(toPrimaError(error, row.summary)),
    });
    return undefined;
  }
}

async function keepEvents(
  { jobs }: Service,
  claim: Claim,
  { events, removed }: { events: readonly { id: number; event: StoredEvent }[]; removed: readonly number[] },
): Promise<void> {
  for (const { id, event } of events) await jobs.append(claim, id, event);
  for (const number of removed) await jobs.removeEvent(claim, number);
}

/** With what follows from it first, so that whoever waits for the end finds all of it. */
async function settle(service: Service, row: JobRow, outcome: Outcome): Promise<void> {
  const { jobs, clock, aftermath } = service;
  if (outcome.state !== 'queued') {
    const { result, error } = outcome;
    const following = aftermath.of({
      ...row,
      state: outcome.state,
      ended: jobs.now(),
      result: result === undefined ? null : JSON.stringify(result),
      error: error === undefined ? null : JSON.stringify(error),
    });
    await atMost(following, clock);
  }
  await jobs.settle(row, outcome);
  const number = (await jobs.lastEvent(row)) + 1;
  await jobs.append(row, number, { type: 'state', state: outcome.state, attempt: row.attempt });
  service.runner.wake();
}

async function atMost(work: Promise<void>, clock: Clock): Promise<void> {
  const pause = new AbortController();
  await Promise.race([work, clock.sleep(afterwardsMs, pause.signal).catch(() => undefined)]);
  pause.abort();
}
