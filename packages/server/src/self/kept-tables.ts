/** Which tables a backup of the state holds, parents first, each with its key. */
import type { Tables } from '../state/tables.ts';

/** Sessions end with the server; the catalogue is read anew from the repositories. */
export const leftOut: readonly (keyof Tables)[] = ['session', 'point'];

export const keptTables = {
  organisation: ['id'],
  account: ['id'],
  identity_provider: ['id'],
  identity: ['id'],
  membership: ['account_id', 'organisation_id'],
  link: ['hash'],
  token: ['id'],
  audit: ['organisation_id', 'sequence'],
  repository: ['id'],
  repository_size: ['repository_id', 'time'],
  worker: ['organisation_id', 'id'],
  worker_host: ['organisation_id', 'name'],
  host_state: ['organisation_id', 'name'],
  machine: ['organisation_id', 'host', 'name'],
  machine_tag: ['organisation_id', 'machine_id', 'tag'],
  policy: ['id'],
  job: ['id'],
  job_machine: ['organisation_id', 'machine', 'job_id'],
  job_event: ['job_id', 'id'],
  approval: ['id'],
  notification_channel: ['id'],
  notification_event: ['id'],
  notification_message: ['id'],
  standing_condition: ['organisation_id', 'event', 'subject'],
} as const satisfies Partial<Record<keyof Tables, readonly string[]>>;

export type KeptTable = keyof typeof keptTables;

export const isKept = (name: string): name is KeptTable => Object.hasOwn(keptTables, name);
