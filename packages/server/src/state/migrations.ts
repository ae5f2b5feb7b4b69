/** How the state came to be as it is, step by step, forward only. A step that was released is never changed. */
import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';

interface TableShape {
  columns: Record<string, string>;
  key: string;
  more?: readonly string[];
}

/** @param kind PostgreSQL has whole numbers of 32 bits under the name that SQLite has for 64 */
export function migrations(kind: 'sqlite' | 'postgres'): Record<string, Migration> {
  return {
    '0001-first': { up: (db) => first(db as Kysely<unknown>, kind) },
    '0002-origin-of-points': { up: (db) => originOfPoints(db as Kysely<unknown>) },
    '0003-identities': { up: (db) => identities(db as Kysely<unknown>, kind) },
    '0004-machine-tags': { up: (db) => machineTags(db as Kysely<unknown>, kind) },
    '0005-origin-of-sessions': { up: (db) => originOfSessions(db as Kysely<unknown>) },
    '0006-limits-of-repositories': { up: (db) => limitsOfRepositories(db as Kysely<unknown>) },
    '0007-workers': { up: (db) => workers(db as Kysely<unknown>, kind) },
    '0008-notifications': { up: (db) => notifications(db as Kysely<unknown>, kind) },
  };
}

const id = 'text not null';
const tables: Record<string, TableShape> = {
  organisation: { columns: { id, name: 'text not null', created: id, settings: id }, key: 'id' },
  account: {
    columns: {
      id,
      name: 'text not null unique',
      email: 'text',
      password: id,
      totp: 'text',
      totp_pending: 'text',
      totp_step: 'number not null',
      created: id,
      last_seen: 'text',
    },
    key: 'id',
  },
  membership: {
    columns: {
      account_id: 'account',
      organisation_id: 'organisation',
      roles: id,
      disabled: 'number not null',
    },
    key: 'account_id, organisation_id',
  },
  session: {
    columns: {
      hash: id,
      account_id: 'account',
      organisation_id: 'organisation',
      csrf: id,
      created: id,
      seen: id,
      expires: id,
    },
    key: 'hash',
  },
  link: {
    columns: {
      hash: id,
      purpose: id,
      organisation_id: 'organisation',
      account_id: 'text',
      name: 'text',
      roles: id,
      created: id,
      expires: id,
    },
    key: 'hash',
  },
  token: {
    columns: {
      id,
      hash: 'text not null unique',
      account_id: 'account',
      organisation_id: 'organisation',
      name: id,
      roles: id,
      created: id,
      expires: id,
      last_used: 'text',
    },
    key: 'id',
  },
  audit: {
    columns: {
      organisation_id: 'organisation',
      sequence: 'number not null',
      time: id,
      actor: id,
      action: id,
      target: 'text',
      outcome: id,
      details: id,
      hash: id,
    },
    key: 'organisation_id, sequence',
  },
  repository: {
    columns: {
      id,
      organisation_id: 'organisation',
      name: id,
      url: id,
      secret: id,
      created: id,
      looked: 'text',
      checked: 'text',
      stored: 'number',
      free: 'number',
      error: 'text',
    },
    key: 'id',
    more: ['unique (organisation_id, name)'],
  },
  repository_size: {
    columns: { repository_id: 'repository', time: id, stored: 'number not null' },
    key: 'repository_id, time',
  },
  point: {
    columns: {
      repository_id: 'repository',
      id,
      organisation_id: 'organisation',
      host: 'text',
      machine: id,
      machine_id: id,
      time: id,
      mode: id,
      quiesced: 'number not null',
      name: 'text',
      tags: id,
      size: 'number not null',
      read: 'number not null',
      data: 'number not null',
      added: 'number not null',
      stored: 'number not null',
      disks: 'number not null',
      warnings: 'number not null',
      locked_until: 'text',
      parent: 'text',
    },
    key: 'repository_id, id',
  },
  host_state: {
    columns: { organisation_id: 'organisation', name: id, seen: 'text', error: 'text' },
    key: 'organisation_id, name',
  },
  machine: {
    columns: {
      organisation_id: 'organisation',
      host: id,
      name: id,
      machine_id: id,
      state: id,
      memory: 'number not null',
      cpus: 'number not null',
      disk_bytes: 'number not null',
      disks: 'number not null',
      agent: id,
      seen: id,
      gone: 'number not null',
      detail: id,
      policies: id,
      promise_hours: 'number not null',
      points: 'number not null',
      last_point: 'text',
      due: 'text',
      last_error: 'text',
    },
    key: 'organisation_id, host, name',
  },
  policy: {
    columns: {
      id,
      organisation_id: 'organisation',
      name: id,
      settings: id,
      created: id,
      next_run: 'text',
      last_run: 'text',
    },
    key: 'id',
    more: ['unique (organisation_id, name)'],
  },
  job: {
    columns: {
      id,
      organisation_id: 'organisation',
      operation: id,
      summary: id,
      request: id,
      shown: id,
      repository: 'text',
      machines: id,
      host: 'text',
      host_limit: 'number',
      state: id,
      requested_by: id,
      policy_id: 'text',
      attempt: 'number not null',
      attempts: 'number not null',
      created: id,
      not_before: 'text',
      started: 'text',
      ended: 'text',
      cancelling: 'number not null',
      progress: 'text',
      result: 'text',
      error: 'text',
      idempotency: 'text',
      owner: 'text',
      beat: 'text',
    },
    key: 'id',
    more: ['unique (organisation_id, idempotency)'],
  },
  job_machine: {
    columns: { organisation_id: 'organisation', machine: id, job_id: 'job' },
    key: 'organisation_id, machine, job_id',
  },
  job_event: { columns: { job_id: 'job', id: 'number not null', time: id, event: id }, key: 'job_id, id' },
  approval: {
    columns: {
      id,
      organisation_id: 'organisation',
      operation: id,
      summary: id,
      request: id,
      repository: 'text',
      requested_by: id,
      requester_id: id,
      requested: id,
      expires: id,
      state: id,
      decided_by: 'text',
      job_id: 'text',
    },
    key: 'id',
  },
};

const indexes = [
  'point_by_time on point (organisation_id, time desc, id)',
  'point_by_machine on point (organisation_id, machine, time desc, id)',
  'point_by_repository on point (repository_id, time desc)',
  'machine_by_name on machine (organisation_id, name, host)',
  'job_by_creation on job (organisation_id, created desc, id)',
  'job_by_state on job (state, created)',
  'job_of_machine on job_machine (job_id)',
  'policy_by_next on policy (next_run)',
];

/** What a column of another table's id is called there. */
const parents = new Set(['organisation', 'account', 'repository', 'job', 'notification_channel']);

async function make(
  db: Kysely<unknown>,
  kind: 'sqlite' | 'postgres',
  wanted: Record<string, TableShape>,
): Promise<void> {
  for (const [name, { columns, key, more = [] }] of Object.entries(wanted)) {
    const lines = Object.entries(columns).map(([column, type]) => {
      if (parents.has(type)) return `${column} text not null references ${type} (id) on delete cascade`;
      return `${column} ${type.replace('number', numberType(kind))}`;
    });
    await sql
      .raw(`create table ${name} (${[...lines, `primary key (${key})`, ...more].join(', ')})`)
      .execute(db);
  }
}

const numberType = (kind: 'sqlite' | 'postgres'): string => (kind === 'postgres' ? 'bigint' : 'integer');

async function identities(db: Kysely<unknown>, kind: 'sqlite' | 'postgres'): Promise<void> {
  await make(db, kind, {
    identity_provider: { columns: { id, settings: id, secret: 'text' }, key: 'id' },
    identity: {
      columns: { id, account_id: 'account', issuer: id, subject: id, created: id },
      key: 'id',
      more: ['unique (issuer, subject)'],
    },
  });
  await sql
    .raw(`alter table membership add column by_groups ${numberType(kind)} not null default 0`)
    .execute(db);
}

async function machineTags(db: Kysely<unknown>, kind: 'sqlite' | 'postgres'): Promise<void> {
  await make(db, kind, {
    machine_tag: {
      columns: { organisation_id: 'organisation', machine_id: id, tag: id },
      key: 'organisation_id, machine_id, tag',
    },
  });
}

async function originOfSessions(db: Kysely<unknown>): Promise<void> {
  for (const column of ['address', 'agent'])
    await sql.raw(`alter table session add column ${column} text not null default ''`).execute(db);
}

async function limitsOfRepositories(db: Kysely<unknown>): Promise<void> {
  await sql.raw("alter table repository add column limits text not null default '{}'").execute(db);
}

async function workers(db: Kysely<unknown>, kind: 'sqlite' | 'postgres'): Promise<void> {
  await make(db, kind, {
    worker: {
      columns: {
        organisation_id: 'organisation',
        id,
        name: id,
        version: id,
        hostname: id,
        at_once: 'number not null',
        registered: id,
        seen: id,
      },
      key: 'organisation_id, id',
      more: ['unique (organisation_id, name)'],
    },
    worker_host: {
      columns: { organisation_id: 'organisation', name: id, worker_id: id, platform: id, location: id },
      key: 'organisation_id, name',
      more: [
        'foreign key (organisation_id, worker_id) references worker (organisation_id, id) on delete cascade',
      ],
    },
  });
}

async function notifications(db: Kysely<unknown>, kind: 'sqlite' | 'postgres'): Promise<void> {
  await make(db, kind, {
    notification_channel: {
      columns: {
        id,
        organisation_id: 'organisation',
        name: id,
        kind: id,
        place: id,
        settings: id,
        target: id,
        created: id,
        digest_day: 'text',
        last_sent: 'text',
        last_error: 'text',
      },
      key: 'id',
      more: ['unique (organisation_id, name)'],
    },
    notification_event: {
      columns: {
        id,
        organisation_id: 'organisation',
        event: id,
        subject: id,
        reason: id,
        created: id,
        gathered_by: 'text',
      },
      key: 'id',
    },
    notification_message: {
      columns: {
        id,
        channel_id: 'notification_channel',
        content: id,
        created: id,
        due: id,
        attempt: 'number not null',
        claimed_until: 'text',
      },
      key: 'id',
    },
    standing_condition: {
      columns: { organisation_id: 'organisation', event: id, subject: id, since: id },
      key: 'organisation_id, event, subject',
    },
  });
  await sql.raw('create index notification_by_due on notification_message (due)').execute(db);
}

async function first(db: Kysely<unknown>, kind: 'sqlite' | 'postgres'): Promise<void> {
  await make(db, kind, tables);
  for (const index of indexes) await sql.raw(`create index ${index}`).execute(db);
  for (const statement of kind === 'postgres' ? guardPostgres : guardSqlite)
    await sql.raw(statement).execute(db);
}

/** The audit log grows, and that is all that it does. */
const refusal = 'the audit log is append-only';
const guardSqlite = ['update', 'delete'].map(
  (change) =>
    `create trigger audit_${change} before ${change} on audit begin select raise(abort, '${refusal}'); end`,
);
const guardPostgres = [
  `create function audit_refuses() returns trigger as $$ begin raise exception '${refusal}'; end $$ language plpgsql`,
  'create trigger audit_guard before update or delete on audit for each statement execute function audit_refuses()',
];

/** The catalogue is read anew with the next look at the repositories. */
async function originOfPoints(db: Kysely<unknown>): Promise<void> {
  await sql.raw('delete from point').execute(db);
  await sql.raw('alter table point add column origin text').execute(db);
}
