/** Where the panel goes: the links of its side, and the keys that lead there after `g`. */
import type { Role } from '@prima/api/http';

export const places = [
  { to: '/', name: 'Overview', key: 'o' },
  { to: '/machines', name: 'Machines', key: 'm' },
  { to: '/restore', name: 'Restore', key: 'r', role: 'restorer' },
  { to: '/points', name: 'Points', key: 'p' },
  { to: '/policies', name: 'Policies', key: 'l' },
  { to: '/jobs', name: 'Jobs', key: 'j' },
  { to: '/repositories', name: 'Repositories', key: 's' },
  { to: '/hosts', name: 'Hosts', key: 'h' },
  { to: '/approvals', name: 'Approvals', key: 'v', isSecond: true },
  { to: '/users', name: 'Users', key: 'u', role: 'administrator', isSecond: true },
  { to: '/tokens', name: 'Tokens', key: 't', isSecond: true },
  { to: '/audit', name: 'Audit', key: 'a', role: 'administrator', isSecond: true },
  { to: '/organisations', name: 'Organisations', key: 'n', role: 'provider', isSecond: true },
  { to: '/settings', name: 'Settings', key: 'e', isSecond: true },
] as const satisfies readonly {
  to: string;
  name: string;
  key: string;
  role?: Role | 'provider';
  isSecond?: boolean;
}[];

/** A path of this page's own: what others wrote into an address leads nowhere else. */
export const ownPath = (from: string | undefined): string =>
  from !== undefined && /^\/(?![/\\])/.test(from) ? from : '/';
