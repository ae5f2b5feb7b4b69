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

  /** @param byGroups of the identity provider, which may take them, too */
  async addMember(
    account: string,
    organisation: string,
    roles: readonly Role[],
    byGroups = false,
  ): Promise<void> {
    await this.#db
      .insertInto('membership')
      .values({
        account_id: account,
        organisation_id: organisation,
        roles: JSON.stringify(roles),
        disabled: 0,
        by_groups: byGroups ? 1 : 0,
      })
      .execute();
  }

  /** Without a password, in no organisation. Raises `forbidden`, `exists`. */
  async makeAccount({ name, email }: { name: string; email?: string }): Promise<string> {
    if (name === '')
      throw new PrimaError('forbidden', 'the provider says no name for you; ask for an invitation');
    return insertAccount(this.#db, { name, email, password: '', created: this.#now() });
  }

  /** Those that groups of the identity provider gave. */
  async setRoles(member: { account: string; organisation: string; roles: readonly Role[] }): Promise<void> {
    await this.#db
      .updateTable('membership')
      .set({ roles: JSON.stringify(member.roles) })
      .where('organisation_id', '=', member.organisation)
      .where('account_id', '=', member.account)
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

  /**
   * Answers the account, which is new or has a new password.
   * @param chosen without a password: it is signed in to through the identity provider
   * Raises `not-found`, `exists`, `unsupported`.
   */
  async useLink(
    secret: string,
    chosen: { name: string; password?: string; email?: string | undefined },
  ): Promise<string> {
    const link = await this.link(secret);
    if (chosen.password === undefined && link.purpose !== 'invitation')
      throw new PrimaError('unsupported', 'this link is for choosing a password');
    const password = chosen.password === undefined ? '' : await hashPassword(chosen.password);
    return this.#db.transaction().execute(async (db) => {
      const { numDeletedRows } = await db.deleteFrom('link').where('hash', '=', link.hash).executeTakeFirst();
      if (numDeletedRows === 0n) throw new PrimaError('not-found', 'this link was used just now');
      if (link.account_id !== null) {
        const reset = { password, totp: null, totp_pending: null };
        await db.updateTable('account').set(reset).where('id', '=', link.account_id).execute();
        for (const table of ['session', 'identity'] as const)
          await db.deleteFrom(table).where('account_id', '=', link.account_id).execute();
        return link.account_id;
      }
      const { name, email } = chosen;
      const id = await insertAccount(db, { name, email, password, created: this.#now() });
      const { roles, organisation_id } = link;
      await db
        .insertInto('membership')
        .values({ account_id: id, organisation_id, roles, disabled: 0, by_groups: 0 })
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
        ...(roles ? { roles: JSON.stringify(roles), by_groups: 0 } : {}),
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
    await this.leave(organisation, id);
    const left = await this.#db
      .selectFrom('membership')
      .select('organisation_id')
      .where('account_id', '=', id)
      .executeTakeFirst();
    if (!left) await this.#db.deleteFrom('account').where('id', '=', id).execute();
    return user;
  }

  /** With sessions and tokens there. */
  async leave(organisation: string, id: string): Promise<void> {
    const mine = (table: 'membership' | 'token' | 'session') =>
      this.#db
        .deleteFrom(table)
        .where('organisation_id', '=', organisation)
        .where('account_id', '=', id)
        .execute();
    for (const table of ['session', 'token', 'membership'] as const) await mine(table);
  }

  /** Whoever has no password, or the role from groups alone, may be locked out with the identity provider: they do not count. */
  async #checkOthers(organisation: string, id: string): Promise<void> {
    const others = await this.#db
      .selectFrom('membership')
      .innerJoin('account', 'account.id', 'membership.account_id')
      .select('membership.roles')
      .where('organisation_id', '=', organisation)
      .where('account_id', '!=', id)
      .where('disabled', '=', 0)
      .where('by_groups', '=', 0)
      .where('password', '!=', '')
      .execute();
    if (!others.some(({ roles }) => rolesOf(roles).includes('administrator')))
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

/** Answers its id. Raises `exists`. */
async function insertAccount(
  db: Kysely<Tables>,
  account: { name: string; email: string | undefined; password: string; created: string },
): Promise<string> {
  const { name, email = null, password, created } = account;
  const taken = await db.selectFrom('account').select('id').where('name', '=', name).executeTakeFirst();
  if (taken) throw new PrimaError('exists', `the name ${name} is taken; choose another`);
  const id = randomUUID();
  await db
    .insertInto('account')
    .values({
      id,
      name,
      email,
      password,
      totp: null,
      totp_pending: null,
      totp_step: 0,
      created,
      last_seen: null,
    })
    .execute();
  return id;
}
