/** One resource of the HTTP API: where it is, who may, what goes in and out. Routes, the OpenAPI document and clients come from it. */
import type { z } from 'zod';

/** What a member of an organisation may. `viewer` is in each of the others but `worker`; `administrator` is all of them. */
export const roles = [
  'viewer',
  'operator',
  'restorer',
  'tester',
  'implementer',
  'worker',
  'administrator',
] as const;

export type Role = (typeof roles)[number];

/**
 * Who may call: `anyone` without signing in, `member` whoever is signed in, a role, or `provider`: an administrator of the first
 * organisation, who keeps the others.
 */
export type Audience = 'anyone' | 'member' | 'provider' | Role;

export interface Endpoint {
  method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  /** Below `/api/v1`, with parameters as `{id}`. */
  path: `/${string}`;
  summary: string;
  audience: Audience;
  /** Of a `post`: it changes nothing, and is no matter of the audit log. */
  reads?: boolean;
  query?: z.ZodObject;
  body?: z.ZodType;
  /** Of the answer 200; without one it is 204. */
  answer?: z.ZodType;
  /** Instead: the answer 200 is JSON lines, streamed; of each. */
  lines?: z.ZodType;
}

export function endpoint<const E extends Endpoint>(described: E): E {
  return described;
}

/** Whether somebody with these roles may do what needs `needed`. */
export function hasRole(held: readonly Role[], needed: Role): boolean {
  return (
    held.includes('administrator') ||
    held.includes(needed) ||
    (needed === 'viewer' && held.some((role) => role !== 'worker'))
  );
}
