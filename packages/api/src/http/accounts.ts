/** Signing in, users, tokens, organisations, the audit log, approvals. */
import { z } from 'zod';
import { count, id, name, pageOf, pageQuery, role, text, time } from './common.ts';
import { endpoint } from './endpoint.ts';

const password = z.string().min(12).max(1024).meta({ description: 'at least 12 characters', secret: true });
const code = z
  .string()
  .regex(/^\d{6}$/)
  .meta({ description: 'the six digits of the authenticator', secret: true });

export const organisation = z.object({ id, name: text(100), created: time });
const membership = z.object({ id, name: text(100), roles: z.array(role) });

export const session = z.object({
  user: z.object({ id, name, email: text(320).optional(), hasTotp: z.boolean() }),
  organisation: membership,
  organisations: z.array(membership),
  isProvider: z.boolean().meta({ description: 'may keep organisations' }),
  csrf: z
    .string()
    .meta({ description: 'goes back in X-Prima-Csrf with every request that changes something' }),
  expires: time,
});

export const user = z.object({
  id,
  name,
  email: text(320).optional(),
  roles: z.array(role),
  disabled: z.boolean(),
  hasTotp: z.boolean(),
  created: time,
  lastSeen: time.optional(),
  lockedUntil: time.optional().meta({
    description: 'after too many wrong passwords; as this process of the server has counted',
  }),
});

export const ownSession = z.object({
  id,
  created: time,
  seen: time,
  expires: time,
  address: text(100).meta({ description: 'where it was begun; behind a proxy the proxy’s' }),
  agent: text(300).meta({ description: 'what the browser called itself' }),
  isThis: z.boolean(),
});

const link = z.object({
  path: text().meta({ description: 'for the browser, once; the secret is in it' }),
  expires: time,
});

export const token = z.object({
  id,
  name: text(100),
  roles: z.array(role),
  created: time,
  expires: time,
  lastUsed: time.optional(),
  owner: name,
});

export const auditEntry = z.object({
  sequence: count,
  time,
  actor: text().meta({ description: 'who: a user, a token, a policy, Prima itself' }),
  action: text(),
  target: text().optional(),
  outcome: z.enum(['done', 'refused', 'failed']),
  details: z.record(z.string(), z.unknown()),
  hash: text().meta({ description: 'SHA-256 over this entry and the hash before; hex' }),
});

export const auditLine = z.object({
  organisation: id,
  sequence: count,
  time,
  actor: text(),
  action: text(),
  target: text().nullable(),
  outcome: z.enum(['done', 'refused', 'failed']),
  details: z.string().meta({ description: 'the JSON text as it was hashed' }),
  before: text().meta({ description: 'hash of the entry before; empty for the first' }),
  hash: text().meta({
    description:
      'SHA-256, hex, of the JSON array [before,organisation,sequence,time,actor,action,target,outcome,details] without white space',
  }),
});

export const approval = z.object({
  id,
  operation: text(),
  summary: text(),
  requestedBy: name,
  requested: time,
  expires: time,
  state: z.enum(['waiting', 'approved', 'refused', 'expired']),
  decidedBy: name.optional(),
  job: id.optional(),
});

export const accountEndpoints = {
  getSession: endpoint({
    method: 'get',
    path: '/session',
    audience: 'member',
    summary: 'Who is signed in, and where',
    answer: session,
  }),
  signIn: endpoint({
    method: 'post',
    path: '/session',
    audience: 'anyone',
    summary: 'Sign in; the answer sets a cookie',
    body: z.strictObject({
      name: text(320),
      password: z.string().max(1024).meta({ secret: true }),
      code: code.optional(),
    }),
    answer: z.union([session, z.object({ needsCode: z.literal(true) })]),
  }),
  signOut: endpoint({ method: 'delete', path: '/session', audience: 'member', summary: 'Sign out' }),
  chooseOrganisation: endpoint({
    method: 'put',
    path: '/session/organisation',
    audience: 'member',
    summary: 'Go to another of one’s organisations',
    body: z.strictObject({ id }),
    answer: session,
  }),
  openLink: endpoint({
    method: 'get',
    path: '/links/{secret}',
    audience: 'anyone',
    summary: 'What a one-time link is for',
    answer: z.object({
      purpose: z.enum(['first-start', 'invitation', 'reset']),
      name: name.optional(),
      organisation: text(100),
      expires: time,
    }),
  }),
  useLink: endpoint({
    method: 'post',
    path: '/links/{secret}',
    audience: 'anyone',
    summary: 'Choose a name and a password with a one-time link; signs in',
    body: z.strictObject({ name, password, email: z.email().max(320).optional() }),
    answer: session,
  }),
  listSessions: endpoint({
    method: 'get',
    path: '/me/sessions',
    audience: 'member',
    summary: 'Where one is signed in',
    answer: z.object({ items: z.array(ownSession) }),
  }),
  endSession: endpoint({
    method: 'delete',
    path: '/me/sessions/{id}',
    audience: 'member',
    summary: 'End one of one’s sessions',
  }),
  endOtherSessions: endpoint({
    method: 'delete',
    path: '/me/sessions',
    audience: 'member',
    summary: 'End all of one’s sessions but this one',
  }),
  changePassword: endpoint({
    method: 'put',
    path: '/me/password',
    audience: 'member',
    summary: 'Change one’s password; every other session ends',
    body: z.strictObject({ old: z.string().max(1024).meta({ secret: true }), password }),
  }),
  beginTotp: endpoint({
    method: 'post',
    path: '/me/totp',
    audience: 'member',
    summary: 'A new secret for an authenticator; it counts once a code of it was given',
    answer: z.object({ url: text(), secret: text() }),
  }),
  confirmTotp: endpoint({
    method: 'put',
    path: '/me/totp',
    audience: 'member',
    summary: 'Turn the second factor on',
    body: z.strictObject({ code }),
  }),
  removeTotp: endpoint({
    method: 'delete',
    path: '/me/totp',
    audience: 'member',
    summary: 'Turn the second factor off',
    query: z.object({ code }),
  }),
  listUsers: endpoint({
    method: 'get',
    path: '/users',
    audience: 'administrator',
    summary: 'The members of the organisation',
    answer: z.object({ items: z.array(user) }),
  }),
  inviteUser: endpoint({
    method: 'post',
    path: '/users',
    audience: 'administrator',
    summary: 'Make a one-time link for somebody new',
    body: z.strictObject({ roles: z.array(role).min(1), name: name.optional() }),
    answer: link,
  }),
  changeUser: endpoint({
    method: 'patch',
    path: '/users/{id}',
    audience: 'administrator',
    summary: 'Change roles, or keep somebody out',
    body: z.strictObject({ roles: z.array(role).min(1).optional(), disabled: z.boolean().optional() }),
    answer: user,
  }),
  resetUser: endpoint({
    method: 'post',
    path: '/users/{id}/reset',
    audience: 'administrator',
    summary: 'Make a one-time link to choose a new password; the second factor and all sessions end',
    answer: link,
  }),
  removeUser: endpoint({
    method: 'delete',
    path: '/users/{id}',
    audience: 'administrator',
    summary: 'Remove somebody from the organisation',
  }),
  listTokens: endpoint({
    method: 'get',
    path: '/tokens',
    audience: 'member',
    summary: 'One’s API tokens; an administrator sees all',
    answer: z.object({ items: z.array(token) }),
  }),
  createToken: endpoint({
    method: 'post',
    path: '/tokens',
    audience: 'member',
    summary: 'A new API token, shown this once',
    body: z.strictObject({
      name: text(100).min(1),
      roles: z.array(role).min(1),
      days: z.number().int().min(1).max(3650),
    }),
    answer: token.extend({ secret: text() }),
  }),
  removeToken: endpoint({
    method: 'delete',
    path: '/tokens/{id}',
    audience: 'member',
    summary: 'Revoke an API token',
  }),
  listOrganisations: endpoint({
    method: 'get',
    path: '/organisations',
    audience: 'provider',
    summary: 'Organisations: each with hosts, repositories, users of its own',
    answer: z.object({ items: z.array(organisation) }),
  }),
  createOrganisation: endpoint({
    method: 'post',
    path: '/organisations',
    audience: 'provider',
    summary: 'A new organisation, whose administrator its maker is',
    body: z.strictObject({ name: text(100).min(1) }),
    answer: organisation,
  }),
  listAudit: endpoint({
    method: 'get',
    path: '/audit',
    audience: 'administrator',
    summary: 'Who did what, newest first',
    query: z.object({ ...pageQuery, actor: text(200).optional(), action: text(200).optional() }),
    answer: pageOf(auditEntry),
  }),
  exportAudit: endpoint({
    method: 'get',
    path: '/audit/export',
    audience: 'administrator',
    summary: 'The audit log or a span of it, oldest first, such that others can verify its chain',
    query: z.object({
      from: time.optional().meta({ description: 'the first time that is in it' }),
      to: time.optional().meta({ description: 'the first time that is not' }),
    }),
    lines: auditLine,
  }),
  verifyAudit: endpoint({
    method: 'get',
    path: '/audit/verification',
    audience: 'administrator',
    summary: 'Whether the chain of the audit log is whole',
    answer: z.object({ entries: count, isWhole: z.boolean(), brokenAt: count.optional(), head: text() }),
  }),
  listApprovals: endpoint({
    method: 'get',
    path: '/approvals',
    audience: 'viewer',
    summary: 'Deletions that wait for a second person',
    answer: z.object({ items: z.array(approval) }),
  }),
  decideApproval: endpoint({
    method: 'put',
    path: '/approvals/{id}',
    audience: 'administrator',
    summary: 'Approve or refuse what somebody else asked for',
    body: z.strictObject({ approve: z.boolean() }),
    answer: approval,
  }),
};
