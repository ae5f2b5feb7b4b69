/**
 * Who is whom at the identity provider, and what the groups there give here. An account is linked by whoever is signed in to it, or by an
 * invitation; never because an address or a name is the same.
 */
import { randomUUID } from 'node:crypto';
import type { Identity, IdentityProviderSettings, Role } from '@prima/api/http';
import { type Clock, PrimaError } from '@prima/base';
import type { Kysely } from 'kysely';
import type { Tables } from '../state/tables.ts';
import type { AuditLog } from './audit.ts';
import type { Claimed } from './identity-provider.ts';
import type { Members } from './members.ts';
import { rolesOf } from './sessions.ts';

export interface IdentitiesParts {
  db: Kysely<Tables>;
  clock: Clock;
  audit: AuditLog;
  members: Members;
}

export class Identities {
  readonly #parts: IdentitiesParts;

  constructor(parts: IdentitiesParts) {
    this.#parts = parts;
  }

  async list(account: string): Promise<Identity[]> {
    return this.#parts.db
      .selectFrom('identity')
      .select(['id', 'issuer', 'subject', 'created'])
      .where('account_id', '=', account)
      .orderBy('created')
      .execute();
  }

  /** Raises `exists` where somebody else is linked to it. */
  async link(account: string, { issuer, subject }: Claimed): Promise<void> {
    const { db, clock } = this.#parts;
    const known = await this.accountOf({ issuer, subject });
    if (known === account) return;
    if (known !== undefined)
      throw new PrimaError('exists', 'another account is linked to this identity; unlink it there first');
    const created = new Date(clock.now()).toISOString();
    await db
      .insertInto('identity')
      .values({ id: randomUUID(), account_id: account, issuer, subject, created })
      .execute();
  }

  /** Raises `not-found`; `refused` where no way in would be left. */
  async unlink(account: string, id: string): Promise<void> {
    const { db } = this.#parts;
    const { password } = await db
      .selectFrom('account')
      .select('password')
      .where('id', '=', account)
      .executeTakeFirstOrThrow();
    if (password === '')
      throw new PrimaError(
        'refused',
        'this account has no password, so that no way in would be left; an administrator can make a link to choose one',
      );
    const { numDeletedRows } = await db
      .deleteFrom('identity')
      .where('account_id', '=', account)
      .where('id', '=', id)
      .executeTakeFirst();
    if (numDeletedRows === 0n) throw new PrimaError('not-found', 'your account is not linked to it');
  }

  async accountOf({ issuer, subject }: Pick<Claimed, 'issuer' | 'subject'>): Promise<string | undefined> {
    const found = await this.#parts.db
      .selectFrom('identity')
      .select('account_id')
      .where('issuer', '=', issuer)
      .where('subject', '=', subject)
      .executeTakeFirst();
    return found?.account_id;
  }

  /** The account of whoever the provider vouches for; made where unknown people are admitted. Raises `forbidden`, `exists`. */
  async signedIn(claimed: Claimed, settings: IdentityProviderSettings): Promise<string> {
    const given = rolesByGroups(claimed.groups, settings);
    let account = await this.accountOf(claimed);
    if (account === undefined) {
      if (!settings.admitsUnknown || given.size === 0)
        throw new PrimaError(
          'forbidden',
          'nobody here is linked to you; sign in with a password and link your account under Settings, or ask for an invitation',
        );
      account = await this.#parts.members.makeAccount(claimed);
      await this.link(account, claimed);
    }
    await this.#applyGroups(account, given);
    return account;
  }

  /** What groups gave before, they change and take; what an administrator gave by hand stays. */
  async #applyGroups(account: string, given: ReadonlyMap<string, readonly Role[]>): Promise<void> {
    const { db, members } = this.#parts;
    const held = await db
      .selectFrom('membership')
      .select(['organisation_id', 'roles', 'by_groups'])
      .where('account_id', '=', account)
      .execute();
    for (const { organisation_id: organisation, roles, by_groups } of held) {
      if (by_groups === 0) continue;
      const now = given.get(organisation) ?? [];
      if (JSON.stringify(now) === roles) continue;
      if (now.length === 0) await members.leave(organisation, account);
      else await members.setRoles({ account, organisation, roles: now });
      await this.#note({ account, organisation, before: rolesOf(roles), now });
    }
    const organisations = new Set((await members.organisations()).map(({ id }) => id));
    for (const [organisation, now] of given) {
      if (!organisations.has(organisation)) continue; // was removed since the rule was written
      if (held.some(({ organisation_id }) => organisation_id === organisation)) continue;
      await members.addMember(account, organisation, now, true);
      await this.#note({ account, organisation, before: [], now });
    }
  }

  async #note(change: {
    account: string;
    organisation: string;
    before: readonly Role[];
    now: readonly Role[];
  }): Promise<void> {
    const { account, organisation, before, now } = change;
    const { name } = await this.#parts.db
      .selectFrom('account')
      .select('name')
      .where('id', '=', account)
      .executeTakeFirstOrThrow();
    await this.#parts.audit.append({
      organisation,
      actor: 'identity provider',
      action: 'changeUser',
      target: name,
      outcome: 'done',
      details: { before, now },
    });
  }
}

/** By organisation: the roles of all groups together. */
function rolesByGroups(
  groups: readonly string[],
  { groups: rules }: IdentityProviderSettings,
): Map<string, Role[]> {
  const given = new Map<string, Role[]>();
  for (const { group, organisation, roles } of rules) {
    if (!groups.includes(group)) continue;
    given.set(organisation, [...new Set([...(given.get(organisation) ?? []), ...roles])].sort());
  }
  return given;
}
