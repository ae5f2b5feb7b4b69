/**
 * Who did what; docs/operating/audit.md has the form of the chain. Each organisation's entries are a chain: an entry's hash is over itself and the hash before, so that what was changed or
 * left out shows. The newest hash, kept elsewhere, shows what was cut off.
 */
import { createHash } from 'node:crypto';
import type { AuditEntry, AuditLine } from '@prima/api/http';
import { type Clock, PrimaError } from '@prima/base';
import type { Kysely, Selectable } from 'kysely';
import type { Tables } from '../state/tables.ts';

export interface AuditEvent {
  organisation: string;
  actor: string;
  action: string;
  target?: string | undefined;
  outcome: AuditEntry['outcome'];
  /** Never a secret. */
  details?: Record<string, unknown>;
}

const attempts = 20;
const readAtOnce = 1000;

type Row = Selectable<Tables['audit']>;

export class AuditLog {
  readonly #db: Kysely<Tables>;
  readonly #clock: Clock;

  constructor(db: Kysely<Tables>, clock: Clock) {
    this.#db = db;
    this.#clock = clock;
  }

  async append(event: AuditEvent): Promise<void> {
    const { organisation, actor, action, target = null, outcome, details = {} } = event;
    const time = new Date(this.#clock.now()).toISOString();
    let failure: unknown;
    for (let attempt = 0; attempt < attempts; attempt += 1) {
      const last = await this.#last(organisation);
      const sequence = (last?.sequence ?? 0) + 1;
      const text = JSON.stringify(details);
      const entry = {
        organisation_id: organisation,
        sequence,
        time,
        actor,
        action,
        target,
        outcome,
        details: text,
      };
      const hash = chained(last?.hash ?? '', entry);
      try {
        await this.#db
          .insertInto('audit')
          .values({ ...entry, hash })
          .execute();
        return;
      } catch (error) {
        failure = error; // another took the number
        if ((await this.#last(organisation))?.sequence === last?.sequence) throw error;
      }
    }
    throw new PrimaError('busy', 'the audit log is written by too many at once', {
      cause: failure,
      retryable: true,
    });
  }

  async #last(organisation: string): Promise<Row | undefined> {
    return this.#db
      .selectFrom('audit')
      .selectAll()
      .where('organisation_id', '=', organisation)
      .orderBy('sequence', 'desc')
      .limit(1)
      .executeTakeFirst();
  }

  /** Newest first, from below the number `before`. */
  async list(
    organisation: string,
    { before, limit, actor, action }: { before?: number; limit: number; actor?: string; action?: string },
  ): Promise<AuditEntry[]> {
    let query = this.#db
      .selectFrom('audit')
      .selectAll()
      .where('organisation_id', '=', organisation)
      .orderBy('sequence', 'desc')
      .limit(limit);
    if (before !== undefined) query = query.where('sequence', '<', before);
    if (actor !== undefined) query = query.where('actor', '=', actor);
    if (action !== undefined) query = query.where('action', 'like', `${action}%`);
    return (await query.execute()).map(entryOf);
  }

  async verify(
    organisation: string,
  ): Promise<{ entries: number; isWhole: boolean; brokenAt?: number; head: string }> {
    let head = '';
    let entries = 0;
    for await (const { hash, ...entry } of this.#rows(organisation, 1)) {
      if (entry.sequence !== entries + 1 || hash !== chained(head, entry))
        return { entries, isWhole: false, brokenAt: entries + 1, head };
      head = hash;
      entries += 1;
    }
    return { entries, isWhole: true, head };
  }

  /**
   * Oldest first, each with the hash before: from the first entry of `from` or later to the last before `to`, with all that is between,
   * whatever the clock said of it.
   */
  async *export(
    organisation: string,
    { from, to }: { from?: string | undefined; to?: string | undefined },
  ): AsyncGenerator<AuditLine> {
    const first = await this.#edge(organisation, '>=', from);
    const last = await this.#edge(organisation, '<', to);
    if (first === undefined || last === undefined) return;
    let before = '';
    if (first > 1) {
      const rows = this.#rows(organisation, first - 1, first - 1);
      for await (const { hash } of rows) before = hash;
    }
    for await (const { organisation_id, ...entry } of this.#rows(organisation, first, last)) {
      yield { organisation: organisation_id, ...entry, before };
      before = entry.hash;
    }
  }

  /** The first number at or after a time, or the last before one; without a time, of all. */
  async #edge(organisation: string, side: '>=' | '<', time: string | undefined): Promise<number | undefined> {
    let query = this.#db
      .selectFrom('audit')
      .select('sequence')
      .where('organisation_id', '=', organisation)
      .orderBy('sequence', side === '<' ? 'desc' : 'asc')
      .limit(1);
    if (time !== undefined) query = query.where('time', side, new Date(time).toISOString());
    return (await query.executeTakeFirst())?.sequence;
  }

  /** Ascending, with `first` and `last`. */
  async *#rows(organisation: string, first: number, last = Number.MAX_SAFE_INTEGER): AsyncGenerator<Row> {
    let next = first;
    for (;;) {
      const rows = await this.#db
        .selectFrom('audit')
        .selectAll()
        .where('organisation_id', '=', organisation)
        .where('sequence', '>=', next)
        .where('sequence', '<=', last)
        .orderBy('sequence')
        .limit(readAtOnce)
        .execute();
      yield* rows;
      if (rows.length < readAtOnce) return;
      next = (rows.at(-1)?.sequence ?? next) + 1;
    }
  }
}

function chained(before: string, entry: Omit<Row, 'hash'>): string {
  const { organisation_id, sequence, time, actor, action, target, outcome, details } = entry;
  const fields = [before, organisation_id, sequence, time, actor, action, target, outcome, details];
  return createHash('sha256').update(JSON.stringify(fields)).digest('hex');
}

function entryOf({ sequence, time, actor, action, target, outcome, details, hash }: Row): AuditEntry {
  const told = JSON.parse(details) as AuditEntry['details'];
  return {
    sequence,
    time,
    actor,
    action,
    ...(target === null ? {} : { target }),
    outcome,
    details: told,
    hash,
  };
}
