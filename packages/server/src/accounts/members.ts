/** The people of an organisation: invited by a one-time link, given roles, kept out, removed; and their API tokens. */
import { randomUUID } from 'node:crypto';
import { hasRole, type Organisation, type Role, type Token, type User } from '@prima/api/http';
import { type Clock, PrimaError } from '@prima/base';
import type { Kysely, Selectable } from 'kysely';
import type { Tables } from '../state/tables.ts';
import { hashPassword } from './passwords.ts';
import { hashOf, newSecret } from './sealing.ts';
import { type Caller, rolesOf, type Sessions } from './sessions.ts';

const day = 86_400_000;
const linkDays = { 'first-start': 365, invitation: 7, reset: 2 } as const;

type LinkRow = Selectable<Tables['link']>;

export interface MembersParts {
  db: Kysely<Tables>;
  clock: Clock;
  sessions: Sessions;
}

export class Members {
  readonly #parts: MembersParts;

  constructor(parts: MembersParts) {
    this.#parts = parts;
  }

  get #db(): Kysely<Tables> {
    return this.#parts.db;
  }

  #now(later = 0): string {
    return new Date(this.#parts.clock.now() + later).toISOString();
  }

  async makeOrganisation(id: string, name: string, settings: object): Promise<Organisation> {
    const row = { id, name, created: this.#now(), settings: JSON.stringify(settings) };
    await this.#db.insertInto('organisation').values(row).execute();
    return { id, name, created: row.created };
  }

  async organisations(): Promise<Organisation[]> {
    return this.#db.selectFrom('organisation').select(['id', 'name', 'created']).orderBy('name').execute();
  }

  async addMember(account: string, organisation: string, roles: readonly Role[]): Promise<void> {
    await this.#db
      .insertInto('membership')
      .values({
        account_id: account,
        organisation_id: organisation,
        roles: JSON.stringify(roles),
        disabled: 0,
      })
      .execute();
  }

  /** The part of the page's address that holds the secret: shown once, kept as a hash. */
  async makeLink(
    link: Pick<LinkRow, 'purpose' | 'organisation_id'> & {
      account?: string;
      name?: string;
      roles: readonly Role[];
    },
  ): Promise<{ path: string; expires: string }> {
    const { purpose, organisation_id, account = null, name = null, roles } = link;
    const { secret, hash } = newSecret();
    const expires = this.#now(linkDays[purpose] * day);
    if (purpose === 'first-start') await this.#db.deleteFrom('link').where('purpose', '=', purpose).execute();
    await this.#db
      .insertInto('link')
      .values({
        hash,
        purpose,
        organisation_id,
        account_id: account,
        name,
        roles: JSON.stringify(roles),
        created: this.#now(),
        expires,
      })
      .execute();
    return { path: `/link/${secret}`, expires };
  }

  /** Raises `not-found` for a link that was used, has expired or never was. */
  async link(secret: string): Promise<LinkRow & { organisation: string }> {
    const found = await this.#db
      .selectFrom('link')
      .innerJoin('organisation', 'organisation.id', 'link.organisation_id')
      .selectAll('link')
      .select('organisation.name as organisation')
      .where('hash', '=', hashOf(secret))
      .executeTakeFirst();
    if (found && found.expires > this.#now()) return found;
    throw new PrimaError('not-found', 'this link was used before, or has expired; ask for another one');
  }

  /** Answers the account, which is new or has a new password. Raises `not-found`, `exists`. */
  async useLink(
    secret: string,
    chosen: { name: string; password: string; email?: string | undefined },
  ): Promise<string> {
    const link = await this.link(secret);
    const password = await hashPassword(chosen.password);
    return this.#db.transaction().execute(async (db) => {
      const { numDeletedRows } = await db.deleteFrom('link').where('hash', '=', link.hash).executeTakeFirst();
      if (numDeletedRows === 0n) throw new PrimaError('not-found', 'this link was used just now');
      if (link.account_id !== null) {
        const reset = { password, totp: null, totp_pending: null };
        await db.updateTable('account').set(reset).where('id', '=', link.account_id).execute();
        await db.deleteFrom('session').where('account_id', '=', link.account_id).execute();
        return link.account_id;
      }
      const taken = await db
        .selectFrom('account')
        .select('id')
        .where('name', '=', chosen.name)
        .executeTakeFirst();
      if (taken) throw new PrimaError('exists', `the name ${chosen.name} is taken; choose another`);
      const id = randomUUID();
      await db
        .insertInto('account')
        .values({
          id,
          name: chosen.name,
          email: chosen.email ?? null,
          password,
          totp: null,
          totp_pending: null,
          totp_step: 0,
          created: this.#now(),
          last_seen: null,
        })
        .execute();
      const { roles } = link;
      await db
        .insertInto('membership')
        .values({ account_id: id, organisation_id: link.organisation_id, roles, disabled: 0 })
        .execute();
      return id;
    });
  }

  async users(organisation: string): Promise<User[]> {
    const rows = await this.#db
      .selectFrom('membership')
      .innerJoin('account', 'account.id', 'membership.account_id')
      .where('organisation_id', '=', organisation)
      .selectAll()
      .orderBy('account.name')
      .execute();
    return rows.map((row) => ({
      id: row.id,
      name: row.name,
      ...(row.email === null ? {} : { email: row.email }),
      roles: rolesOf(row.roles),
      disabled: row.disabled === 1,
      hasTotp: row.totp !== null,
      created: row.created,
      ...(row.last_seen === null ? {} : { lastSeen: row.last_seen }),
    }));
  }

  async user(organisation: string, id: string): Promise<User> {
    const found = (await this.users(organisation)).find((user) => user.id === id);
    if (found) return found;
    throw new PrimaError('not-found', 'there is no such user in this organisation');
  }

  /** Raises `refused` where nobody would be left who administers. */
  async change(
    organisation: string,
    id: string,
    change: { roles?: readonly Role[] | undefined; disabled?: boolean | undefined },
  ): Promise<User> {
    const { roles, disabled } = change;
    await this.user(organisation, id);
    if (disabled || (roles && !roles.includes('administrator'))) await this.#checkOthers(organisation, id);
    await this.#db
      .updateTable('membership')
      .set({
        ...(roles ? { roles: JSON.stringify(roles) } : {}),
        ...(disabled === undefined ? {} : { disabled: disabled ? 1 : 0 }),
      })
      .where('organisation_id', '=', organisation)
      .where('account_id', '=', id)
      .execute();
    return this.user(organisation, id);
  }

  /** Who is in no other organisation goes altogether. */
  async remove(organisation: string, id: string): Promise<User> {
    const user = await this.user(organisation, id);
    await this.#checkOthers(organisation, id);
    const mine = (table: 'membership' | 'token' | 'session') =>
      this.#db
        .deleteFrom(table)
        .where('organisation_id', '=', organisation)
        .where('account_id', '=', id)
        .execute();
    for (const table of ['session', 'token', 'membership'] as const) await mine(table);
    const left = await this.#db
      .selectFrom('membership')
      .select('organisation_id')
      .where('account_id', '=', id)
      .executeTakeFirst();
    if (!left) await this.#db.deleteFrom('account').where('id', '=', id).execute();
    return user;
  }

  async #checkOthers(organisation: string, id: string): Promise<void> {
    const others = (await this.users(organisation)).filter(
      (user) => user.id !== id && !user.disabled && user.roles.includes('administrator'),
    );
    if (others.length === 0)
      throw new PrimaError('refused', 'this is the last administrator; make somebody else one first');
  }

  async tokens(caller: Caller): Promise<Token[]> {
    let query = this.#db
      .selectFrom('token')
      .innerJoin('account', 'account.id', 'token.account_id')
      .where('organisation_id', '=', caller.organisation)
      .selectAll('token')
      .select('account.name as owner')
      .orderBy('token.created', 'desc');
    if (!hasRole(caller.roles, 'administrator')) query = query.where('account_id', '=', caller.account);
    return (await query.execute()).map(({ id, name, roles, created, expires, last_used, owner }) => ({
      id,
      name,
      roles: rolesOf(roles),
      created,
      expires,
      ...(last_used === null ? {} : { lastUsed: last_used }),
      owner,
    }));
  }

  /** Raises `forbidden` for a role that its maker does not have. */
  async makeToken(
    caller: Caller,
    { name, roles, days }: { name: string; roles: readonly Role[]; days: number },
  ): Promise<Token & { secret: string }> {
    const lacking = roles.filter((role) => !hasRole(caller.roles, role));
    if (lacking.length > 0) throw new PrimaError('forbidden', `you are not ${lacking.join(', ')} yourself`);
    const { secret, hash } = newSecret();
    const row = {
      id: randomUUID(),
      hash,
      account_id: caller.account,
      organisation_id: caller.organisation,
      name,
      roles: JSON.stringify(roles),
      created: this.#now(),
      expires: this.#now(days * day),
      last_used: null,
    };
    await this.#db.insertInto('token').values(row).execute();
    const { id, created, expires } = row;
    return { id, name, roles: [...roles], created, expires, owner: caller.name, secret };
  }

  async removeToken(caller: Caller, id: string): Promise<Token> {
    const found = (await this.tokens(caller)).find((token) => token.id === id);
    if (!found) throw new PrimaError('not-found', 'there is no such token');
    await this.#db.deleteFrom('token').where('id', '=', id).execute();
    return found;
  }
}
