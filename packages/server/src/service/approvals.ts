/** Deletions that wait for a second person. */
import { randomUUID } from 'node:crypto';
import type { Approval } from '@prima/api/http';
import { PrimaError } from '@prima/base';
import type { Selectable } from 'kysely';
import type { Caller } from '../accounts/sessions.ts';
import type { Tables } from '../state/tables.ts';
import type { Service } from './service.ts';

const validMs = 3 * 24 * 3_600_000;
type Row = Selectable<Tables['approval']>;

export async function listApprovals({ state, clock }: Service, organisation: string): Promise<Approval[]> {
  const rows = await state.db
    .selectFrom('approval')
    .selectAll()
    .where('organisation_id', '=', organisation)
    .orderBy('requested', 'desc')
    .limit(200)
    .execute();
  const now = new Date(clock.now()).toISOString();
  return rows.map((row) => dtoOf(row, now));
}

/** @param request as the operation takes it: without secrets */
export async function askApproval(
  { state, clock, notifications }: Service,
  caller: Caller,
  asked: { operation: string; summary: string; request: unknown; repository: string },
): Promise<Approval> {
  const now = clock.now();
  const row: Row = {
    id: randomUUID(),
    organisation_id: caller.organisation,
    operation: asked.operation,
    summary: asked.summary,
    request: JSON.stringify(asked.request),
    repository: asked.repository,
    requested_by: caller.name,
    requester_id: caller.account,
    requested: new Date(now).toISOString(),
    expires: new Date(now + validMs).toISOString(),
    state: 'waiting',
    decided_by: null,
    job_id: null,
  };
  await state.db.insertInto('approval').values(row).execute();
  await notifications.raise({
    organisation: caller.organisation,
    event: 'approval',
    subject: asked.summary,
    reason: `${caller.name} asks for it; another administrator approves or refuses it under Approvals`,
  });
  return dtoOf(row, row.requested);
}

/** Raises `forbidden` for whoever asked for it, `state` for what was decided, or is too old. */
export async function decideApproval(
  service: Service,
  caller: Caller,
  id: string,
  approve: boolean,
): Promise<Approval> {
  const { state, clock, jobs, runner } = service;
  const now = new Date(clock.now()).toISOString();
  const row = await state.db
    .selectFrom('approval')
    .selectAll()
    .where('id', '=', id)
    .where('organisation_id', '=', caller.organisation)
    .executeTakeFirst();
  if (!row) throw new PrimaError('not-found', 'there is no such request');
  if (approve && row.requester_id === caller.account)
    throw new PrimaError('forbidden', 'who asked for it does not approve it: another administrator has to');
  if (row.state !== 'waiting' || row.expires < now)
    throw new PrimaError('state', 'this was decided before, or has waited for too long');
  const { numUpdatedRows } = await state.db
    .updateTable('approval')
    .set({ state: approve ? 'approved' : 'refused', decided_by: caller.name })
    .where('id', '=', id)
    .where('state', '=', 'waiting')
    .executeTakeFirst();
  if (numUpdatedRows === 0n) throw new PrimaError('state', 'this was decided just now');
  if (approve) {
    const job = await jobs.create({
      organisation: row.organisation_id,
      operation: row.operation,
      summary: row.summary,
      request: JSON.parse(row.request),
      repository: row.repository ?? undefined,
      requestedBy: `${row.requested_by}, approved by ${caller.name}`,
      idempotency: `approval ${id}`,
    });
    await state.db.updateTable('approval').set({ job_id: job.id }).where('id', '=', id).execute();
    runner.wake();
  }
  const decided = await state.db
    .selectFrom('approval')
    .selectAll()
    .where('id', '=', id)
    .executeTakeFirstOrThrow();
  return dtoOf(decided, now);
}

function dtoOf(row: Row, now: string): Approval {
  return {
    id: row.id,
    operation: row.operation,
    summary: row.summary,
    requestedBy: row.requested_by,
    requested: row.requested,
    expires: row.expires,
    state: row.state === 'waiting' && row.expires < now ? 'expired' : row.state,
    ...(row.decided_by === null ? {} : { decidedBy: row.decided_by }),
    ...(row.job_id === null ? {} : { job: row.job_id }),
  };
}
