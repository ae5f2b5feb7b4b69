/** Signing in, people, tokens, organisations, the audit log, approvals. */
import { randomUUID } from 'node:crypto';
import type { accountEndpoints, Session, User } from '@prima/api/http';
import { PrimaError } from '@prima/base';
import { hashPassword, isPassword } from '../accounts/passwords.ts';
import type { Caller } from '../accounts/sessions.ts';
import { newTotp, signIn, useCode } from '../accounts/sign-in.ts';
import { decideApproval, listApprovals } from '../service/approvals.ts';
import type { Service } from '../service/service.ts';
import { defaultSettings } from '../service/settings.ts';
import { pageOf, readCursor } from './cursor.ts';
import type { Asked, Handlers } from './handler.ts';

export const accountHandlers: Handlers<keyof typeof accountEndpoints> = {
  getSession: ({ service, caller }) => service.sessions.describe(caller),
  signIn: async (asked) => {
    const { service, body, address, note } = asked;
    const { clock, sealer, attempts } = service;
    note(body.name);
    const signed = await signIn({ db: service.state.db, clock, sealer, attempts }, { ...body, address });
    if (signed === 'needs-code') return { needsCode: true };
    return beginSession(asked, signed.id);
  },
  signOut: async ({ service, caller, setSession }) => {
    await service.sessions.end(caller);
    setSession(undefined);
  },
  chooseOrganisation: async ({ service, caller, body }) => {
    await service.sessions.choose(caller, body.id);
    const roles =
      (await service.sessions.memberships(caller.account)).find(({ id }) => id === body.id)?.roles ?? [];
    return service.sessions.describe({ ...caller, organisation: body.id, roles });
  },
  openLink: async ({ service, path }) => {
    const { purpose, name, organisation, expires, account_id } = await service.members.link(
      path['secret'] ?? '',
    );
    const known = account_id === null ? undefined : await accountOf(service, account_id);
    const shown = known?.name ?? name ?? undefined;
    return { purpose, organisation, expires, ...(shown === undefined ? {} : { name: shown }) };
  },
  useLink: async (asked) => {
    const { service, path, body, note } = asked;
    const account = await service.members.useLink(path['secret'] ?? '', body);
    note(body.name);
    return beginSession(asked, account);
  },
  listSessions: async ({ service, caller }) => ({ items: await service.sessions.list(caller) }),
  endSession: async ({ service, caller, path, note }) => {
    const id = path['id'] ?? '';
    note(caller.name, { session: id });
    await service.sessions.endOne(asPerson(caller), id);
  },
  endOtherSessions: async ({ service, caller, note }) => {
    note(caller.name);
    await service.sessions.endAll(asPerson(caller).account, caller.session);
  },
  changePassword: async ({ service, caller, body }) => {
    const { password } = await accountOf(service, caller.account);
    const keys = [`name ${caller.name.toLowerCase()}`];
    service.attempts.check(keys);
    if (!(await isPassword(body.old, password))) {
      service.attempts.wrong(keys);
      throw new PrimaError('usage', 'the old password is wrong');
    }
    await changeAccount(service, caller, { password: await hashPassword(body.password) });
    await service.sessions.endAll(caller.account, caller.session);
  },
  beginTotp: async ({ service, caller }) => {
    const { secret, url } = newTotp(caller.name);
    await changeAccount(service, caller, {
      totp_pending: service.sealer.seal(secret, `totp of ${caller.account}`),
    });
    return { secret, url };
  },
  confirmTotp: async ({ service, caller, body }) => {
    const { totp_pending: sealed, totp_step: step } = await accountOf(service, caller.account);
    if (sealed === null) throw new PrimaError('state', 'begin with a new secret first');
    const { clock, sealer, state } = service;
    if (!(await useCode({ db: state.db, clock, sealer }, { id: caller.account, sealed, step }, body.code)))
      throw new PrimaError(
        'usage',
        'the code is wrong; look at the clocks of both devices, then give the next one',
      );
    await changeAccount(service, caller, { totp: sealed, totp_pending: null });
  },
  removeTotp: async ({ service, caller, query }) => {
    const { totp: sealed, totp_step: step } = await accountOf(service, caller.account);
    if (sealed === null) return;
    const { clock, sealer, state } = service;
    if (!(await useCode({ db: state.db, clock, sealer }, { id: caller.account, sealed, step }, query.code)))
      throw new PrimaError('usage', 'the code is wrong, or was used before');
    await changeAccount(service, caller, { totp: null });
  },
  listUsers: async ({ service, organisation }) => {
    const users = await service.members.users(organisation);
    return { items: users.map((user) => withLock(service, user)) };
  },
  inviteUser: async ({ service, organisation, body, note }) => {
    note(body.name ?? 'somebody new', { roles: body.roles });
    const { roles, name } = body;
    const link = { purpose: 'invitation' as const, organisation_id: organisation, roles };
    return service.members.makeLink({ ...link, ...(name === undefined ? {} : { name }) });
  },
  changeUser: async ({ service, organisation, path, body, note }) => {
    const user = await service.members.change(organisation, path['id'] ?? '', body);
    note(user.name, body);
    return user;
  },
  resetUser: async ({ service, organisation, path, note }) => {
    const user = await service.members.user(organisation, path['id'] ?? '');
    const only = (await service.sessions.memberships(user.id)).every(({ id }) => id === organisation);
    if (!only)
      throw new PrimaError(
        'refused',
        `${user.name} is in other organisations, too; only somebody there may do this`,
      );
    note(user.name);
    service.attempts.forget(user.name);
    await service.sessions.endAll(user.id);
    return service.members.makeLink({
      purpose: 'reset',
      organisation_id: organisation,
      account: user.id,
      roles: user.roles,
    });
  },
  removeUser: async ({ service, organisation, path, note }) => {
    note((await service.members.remove(organisation, path['id'] ?? '')).name);
  },
  listTokens: async ({ service, caller }) => ({ items: await service.members.tokens(caller) }),
  createToken: async ({ service, caller, body, note }) => {
    note(body.name, { roles: body.roles, days: body.days });
    return service.members.makeToken(caller, body);
  },
  removeToken: async ({ service, caller, path, note }) => {
    note((await service.members.removeToken(caller, path['id'] ?? '')).name);
  },
  listOrganisations: async ({ service }) => ({ items: await service.members.organisations() }),
  createOrganisation: async ({ service, caller, body, note }) => {
    const made = await service.members.makeOrganisation(randomUUID(), body.name, defaultSettings);
    await service.members.addMember(caller.account, made.id, ['administrator']);
    note(made.name);
    return made;
  },
  listAudit: async ({ service, organisation, query }) => {
    const { limit, cursor, actor, action } = query;
    const [before] = readCursor(cursor, 1);
    const found = await service.audit.list(organisation, {
      limit: limit + 1,
      ...(before === undefined ? {} : { before: Number(before) }),
      ...(actor === undefined ? {} : { actor }),
      ...(action === undefined ? {} : { action }),
    });
    const { rows, next } = pageOf(found, limit, (last) => [String(last.sequence)]);
    return { items: [...rows], ...next };
  },
  exportAudit: async ({ service, organisation, query }) => service.audit.export(organisation, query),
  verifyAudit: ({ service, organisation }) => service.audit.verify(organisation),
  listApprovals: async ({ service, organisation }) => ({ items: await listApprovals(service, organisation) }),
  decideApproval: async ({ service, caller, path, body, note }) => {
    const decided = await decideApproval(service, caller, path['id'] ?? '', body.approve);
    note(decided.summary, { approve: body.approve });
    return decided;
  },
};

/** Raises `forbidden` for whoever is in no organisation, or kept out. */
export async function beginSession(
  {
    service,
    setSession,
    address,
    agent,
  }: Pick<Asked<'signIn'>, 'service' | 'setSession' | 'address' | 'agent'>,
  account: string,
): Promise<Session> {
  const secret = await service.sessions.begin(account, { address, agent });
  setSession(secret);
  const caller = await service.sessions.bySession(secret);
  if (!caller) throw new PrimaError('forbidden', 'this account is kept out; ask an administrator');
  return service.sessions.describe(caller);
}

async function accountOf({ state }: Service, id: string) {
  return state.db.selectFrom('account').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
}

async function changeAccount(
  { state }: Service,
  caller: Caller,
  change: { password?: string; totp?: string | null; totp_pending?: string | null },
): Promise<void> {
  await state.db.updateTable('account').set(change).where('id', '=', asPerson(caller).account).execute();
}

/** Raises `forbidden` for a token. */
function asPerson(caller: Caller): Caller {
  if (caller.kind === 'session') return caller;
  throw new PrimaError('forbidden', 'a token does not change its owner’s account; sign in');
}

function withLock({ attempts, clock }: Service, user: User): User {
  const left = Math.max(attempts.lockedFor(user.name) ?? 0, attempts.lockedFor(user.email ?? '') ?? 0);
  return left > 0 ? { ...user, lockedUntil: new Date(clock.now() + left).toISOString() } : user;
}
