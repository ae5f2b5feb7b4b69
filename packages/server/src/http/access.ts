/** Who may what: held against the roles of the caller. */
import { type Audience, hasRole } from '@prima/api/http';
import { PrimaError } from '@prima/base';
import { type Caller, providerId } from '../accounts/sessions.ts';

/** Raises `unauthorized` for nobody, `forbidden` for whoever lacks what is needed. */
export function checkAudience(caller: Caller | undefined, audience: Audience): void {
  if (audience === 'anyone') return;
  if (!caller) throw new PrimaError('unauthorized', 'sign in first, or send a token that is valid');
  if (audience === 'member') {
    if (!isMereWorker(caller)) return;
    throw new PrimaError('forbidden', 'a token of a worker is for the endpoints of workers alone');
  }
  if (audience === 'provider' ? caller.isProvider : hasRole(caller.roles, audience)) return;
  const needed =
    audience === 'provider' ? 'an administrator of the first organisation' : `the role ${audience}`;
  throw new PrimaError('forbidden', `this needs ${needed}; ask an administrator of your organisation`);
}

const isMereWorker = ({ kind, roles }: Caller): boolean =>
  kind === 'token' && roles.length > 0 && roles.every((role) => role === 'worker');

/** Paths of the server's own file system are the provider's: organisations could read each other's through them. */
export function checkMayNamePaths({ organisation, isProvider }: Caller): void {
  if (organisation === providerId || isProvider) return;
  throw new PrimaError(
    'forbidden',
    'a path on the server can be named only by an administrator of the first organisation; name a host or a store by its URL',
  );
}
