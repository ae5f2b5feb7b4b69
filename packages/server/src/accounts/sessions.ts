/** Who asks: people by the cookie of a session, programs by a token. */
import { randomBytes } from 'node:crypto';
import { hasRole, type OwnSession, type Role, type Session } from '@prima/api/http';
import { type Clock, PrimaError } from '@prima/base';
import type { Kysely } from 'kysely';
import type { Tables } from '../state/tables.ts';
import { KnownCallers } from './known-callers.ts';
import { hashOf, newSecret } from './sealing.ts';

/** Whose request it is, in which organisation, and what that person may there. */
export interface Caller {
  kind: 'session' | 'token';
  account: string;
  name: string;
  organisation: string;
  roles: readonly Role[];
  isProvider: boolean;
  /** Of a session: its key in the table. */
  session?: string;
  /** Of a session: what changing requests must carry. */
  csrf?: string;
}

/** The first organisation: its administrators keep the others. */
export const providerId = 'main';

const minute = 60_000;
const idleMs = 12 * 60 * minute;
const wholeMs = 7 * 24 * 60 * minute;
/** Seen is written so seldom. */
const seenEveryMs = minute;
const agentCharacters = 300;
/** Of a session's key, enough to name it by; the key itself is not told. */
const idCharacters = 24;

export class Sessions {
  readonly #db: Kysely<Tables>;
  readonly #clock: Clock;
  readonly #known: KnownCallers;

  constructor(db: Kysely<Tables>, clock: Clock) {
    this.#db = db;
    this.#clock = clock;
    this.#known = new KnownCallers(clock);
  }

  /**
   * Answers the cookie's content. Raises `forbidden` for somebody who is in no organisation.
   * @param from where it comes from, and what the browser calls itself
   */
  async begin(account: string, from: { address: string; agent: string }): Promise<string> {
    const memberships = await this.memberships(account);
    const first = memberships.find(({ id }) => id === providerId) ?? memberships[0];
    if (!first)
      throw new PrimaError('forbidden', 'this account is in no organisation any more; ask its administrator');
    const { secret, hash } = newSecret();
    const now = this.#now();
    await this.#db
      .insertInto('session')
      .values({
        hash,
        account_id: account,
        organisation_id: first.id,
        csrf: randomBytes(24).toString('base64url'),
        created: now,
        seen: now,
        expires: this.#now(wholeMs),
        address: from.address,
        agent: from.agent.slice(0, agentCharacters),
      })
      .execute();
    await this.#db.deleteFrom('session').where('expires', '<', now).execute();
    await this.#db.updateTable('account').set({ last_seen: now }).where('id', '=', account).execute();
    return secret;
  }

  /** Undefined for a session that is none, or no longer. */
  async bySession(secret: string): Promise<Caller | undefined> {
    const hash = hashOf(secret);
    return this.#known.get(hash, () => this.#bySession(hash));
  }

  async #bySession(hash: string): Promise<Caller | undefined> {
    const found = await this.#callers().where('session.hash', '=', hash).executeTakeFirst();
    const now = this.#now();
    if (!found || found.expires < now || found.seen < this.#now(-idleMs)) return undefined;
    if (found.seen < this.#now(-seenEveryMs))
      await this.#db.updateTable('session').set({ seen: now }).where('hash', '=', hash).execute();
    const { account, name, organisation, roles, csrf } = found;
    const held = await this.#held(account, organisation, roles);
    return { kind: 'session', account, name, organisation, ...held, session: hash, csrf };
  }

  /** Of a session by its key in the table; undefined where it has ended. */
  async accountOf(session: string): Promise<string | undefined> {
    const found = await this.#callers().where('session.hash', '=', session).executeTakeFirst();
    if (!found || found.expires < this.#now() || found.seen < this.#now(-idleMs)) return undefined;
    return found.account;
  }

  /** Undefined for a token that is none, or no longer. It may what both its owner and itself may. */
  async byToken(secret: string): Promise<Caller | undefined> {
    const hash = hashOf(secret);
    return this.#known.get(hash, () => this.#byToken(hash));
  }

  /** After a change of accounts, roles, sessions or tokens: nobody is let in on what was known before. */
  changed(): void {
    this.#known.forget();
  }

  async #byToken(hash: string): Promise<Caller | undefined> {
    const found = await this.#db
      .selectFrom('token')
      .innerJoin('account', 'account.id', 'token.account_id')
      .innerJoin('membership', (on) =>
        on
          .onRef('membership.account_id', '=', 'token.account_id')
          .onRef('membership.organisation_id', '=', 'token.organisation_id'),
      )
      .where('token.hash', '=', hash)
      .where('membership.disabled', '=', 0)
      .select(['token.id as token', 'token.name as tokenName', 'token.expires', 'token.last_used as used'])
      .select(['token.roles as tokenRoles', 'membership.roles', 'account.id as account', 'account.name'])
      .select('token.organisation_id as organisation')
      .executeTakeFirst();
    if (!found || found.expires < this.#now()) return undefined;
    if ((found.used ?? '') < this.#now(-seenEveryMs))
      await this.#db
        .updateTable('token')
        .set({ last_used: this.#now() })
        .where('id', '=', found.token)
        .execute();
    const { account, organisation, name, tokenName } = found;
    const own = rolesOf(found.roles);
    const roles = rolesOf(found.tokenRoles).filter((role) => hasRole(own, role));
    return {
      kind: 'token',
      account,
      name: `${name} (token ${tokenName})`,
      organisation,
      roles,
      isProvider: organisation === providerId && roles.includes('administrator'),
    };
  }

  #callers() {
    return this.#db
      .selectFrom('session')
      .innerJoin('account', 'account.id', 'session.account_id')
      .innerJoin('membership', (on) =>
        on
          .onRef('membership.account_id', '=', 'session.account_id')
          .onRef('membership.organisation_id', '=', 'session.organisation_id'),
      )
      .where('membership.disabled', '=', 0)
      .select(['account.id as account', 'account.name', 'session.organisation_id as organisation'])
      .select(['membership.roles', 'session.csrf', 'session.seen', 'session.expires']);
  }

  async #held(
    account: string,
    organisation: string,
    text: string,
  ): Promise<{ roles: readonly Role[]; isProvider: boolean }> {
    const roles = rolesOf(text);
    if (organisation === providerId) return { roles, isProvider: roles.includes('administrator') };
    const provider = (await this.memberships(account)).find(({ id }) => id === providerId);
    return { roles, isProvider: provider?.roles.includes('administrator') ?? false };
  }

  /** The organisations that somebody is in and not kept out of. */
  async memberships(account: string): Promise<{ id: string; name: string; roles: Role[] }[]> {
    const rows = await this.#db
      .selectFrom('membership')
      .innerJoin('organisation', 'organisation.id', 'membership.organisation_id')
      .where('membership.account_id', '=', account)
      .where('membership.disabled', '=', 0)
      .select(['organisation.id', 'organisation.name', 'membership.roles'])
      .orderBy('organisation.name')
      .execute();
    return rows.map(({ id, name, roles }) => ({ id, name, roles: rolesOf(roles) }));
  }

  /** Raises `not-found` for an organisation that is not one's. */
  async choose(caller: Caller, organisation: string): Promise<void> {
    const mine = (await this.memberships(caller.account)).some(({ id }) => id === organisation);
    if (!mine || !caller.session) throw new PrimaError('not-found', 'you are in no organisation of this id');
    await this.#db
      .updateTable('session')
      .set({ organisation_id: organisation })
      .where('hash', '=', caller.session)
      .execute();
  }

  /** As the panel needs it. Raises `unsupported` for a token. */
  async describe(caller: Caller): Promise<Session> {
    if (!caller.session || !caller.csrf) throw new PrimaError('unsupported', 'a token has no session');
    const { email, totp, expires } = await this.#db
      .selectFrom('session')
      .innerJoin('account', 'account.id', 'session.account_id')
      .where('session.hash', '=', caller.session)
      .select(['account.email', 'account.totp', 'session.expires'])
      .executeTakeFirstOrThrow();
    const organisations = await this.memberships(caller.account);
    const organisation = organisations.find(({ id }) => id === caller.organisation);
    if (!organisation)
      throw new PrimaError('unauthorized', 'you are no longer in this organisation; sign in again');
    return {
      user: {
        id: caller.account,
        name: caller.name,
        ...(email === null ? {} : { email }),
        hasTotp: totp !== null,
      },
      organisation,
      organisations,
      isProvider: caller.isProvider,
      csrf: caller.csrf,
      expires,
    };
  }

  async end(caller: Pick<Caller, 'session'>): Promise<void> {
    await this.#db
      .deleteFrom('session')
      .where('hash', '=', caller.session ?? '')
      .execute();
  }

  /** One's own, those that were used last first. */
  async list({ account, session }: Caller): Promise<OwnSession[]> {
    const rows = await this.#db
      .selectFrom('session')
      .selectAll()
      .where('account_id', '=', account)
      .where('expires', '>', this.#now())
      .where('seen', '>', this.#now(-idleMs))
      .orderBy('seen', 'desc')
      .execute();
    return rows.map(({ hash, created, seen, expires, address, agent }) => ({
      id: hash.slice(0, idCharacters),
      created,
      seen,
      expires,
      address,
      agent,
      isThis: hash === session,
    }));
  }

  /** One of one's own, by what `list` calls it. Raises `not-found`. */
  async endOne({ account }: Caller, id: string): Promise<void> {
    const { numDeletedRows } = await this.#db
      .deleteFrom('session')
      .where('account_id', '=', account)
      .where((is) => is(is.fn('substr', ['hash', is.val(1), is.val(idCharacters)]), '=', id))
      .executeTakeFirst();
    if (numDeletedRows === 0n) throw new PrimaError('not-found', 'you have no such session any more');
  }

  /** All sessions of somebody, but for one. */
  async endAll(account: string, except = ''): Promise<void> {
    await this.#db
      .deleteFrom('session')
      .where('account_id', '=', account)
      .where('hash', '!=', except)
      .execute();
  }

  #now(later = 0): string {
    return new Date(this.#clock.now() + later).toISOString();
  }
}

export const rolesOf = (text: string): Role[] => JSON.parse(text) as Role[];
