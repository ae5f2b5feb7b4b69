/** How the state came to be as it is, step by step, forward only. A step that was released is never changed. */
import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import { id, indexes, type TableShape, tables } from './first-tables.ts';

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
