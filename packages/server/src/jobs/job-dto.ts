import type { Job, Problem } from '@prima/api/http';
import type { JobRow } from './job-store.ts';

/** As the API tells it. */
export function jobDto(row: JobRow): Job {
  return {
    id: row.id,
    operation: row.operation,
    state: row.state,
    summary: row.summary,
    ...(row.repository === null ? {} : { repository: row.repository }),
    machines: JSON.parse(row.machines) as string[],
    requestedBy: row.requested_by,
    ...(row.policy_id === null ? {} : { policy: row.policy_id }),
    attempt: row.attempt,
    attempts: row.attempts,
    created: row.created,
    ...(row.not_before === null ? {} : { notBefore: row.not_before }),
    ...(row.started === null ? {} : { started: row.started }),
    ...(row.ended === null ? {} : { ended: row.ended }),
    cancelling: row.cancelling === 1,
    ...(row.progress === null ? {} : { progress: JSON.parse(row.progress) as NonNullable<Job['progress']> }),
    ...(row.error === null ? {} : { error: JSON.parse(row.error) as Problem }),
  };
}
