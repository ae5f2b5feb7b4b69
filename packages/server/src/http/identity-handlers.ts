/** Signing in through the identity provider, linking accounts to it, and which one it is. */
import type { identityEndpoints } from '@prima/api/http';
import { PrimaError } from '@prima/base';
import type { Claimed, Purpose } from '../accounts/identity-provider.ts';
import type { Caller } from '../accounts/sessions.ts';
import type { Service } from '../service/service.ts';
import { beginSession } from './account-handlers.ts';
import type { Handlers } from './handler.ts';

export const identityHandlers: Handlers<keyof typeof identityEndpoints> = {
  getSignInWays: async ({ service }) => {
    const settings = await service.identityProvider.read();
    return settings ? { provider: settings.name } : {};
  },
  beginProviderSignIn: async ({ service, body, setPending }) => {
    if (body.link !== undefined) await service.members.link(body.link);
    const { link } = body;
    const { url, pending } = await service.identityProvider.begin(link === undefined ? {} : { link });
    setPending(pending);
    return { url };
  },
  finishProviderSignIn: async (asked) => {
    const { service, body, address, takePending, note } = asked;
    const keys = [`address ${address}`];
    service.attempts.check(keys);
    const pending = takePending();
    try {
      const { claimed, purpose } = await service.identityProvider.finish(pending, body.query);
      note(claimed.name || claimed.subject, { issuer: claimed.issuer, subject: claimed.subject });
      return await beginSession(asked, await accountFor(service, claimed, purpose));
    } catch (error) {
      if (error instanceof PrimaError && error.code === 'unauthorized') service.attempts.wrong(keys);
      throw error;
    }
  },
  listIdentities: async ({ service, caller }) => ({ items: await service.identities.list(caller.account) }),
  linkIdentity: async ({ service, caller, setPending, note }) => {
    const { url, pending } = await service.identityProvider.begin({ session: sessionOf(caller) });
    note(caller.name);
    setPending(pending);
    return { url };
  },
  unlinkIdentity: async ({ service, caller, path, note }) => {
    sessionOf(caller);
    await service.identities.unlink(caller.account, path['id'] ?? '');
    note(caller.name);
  },
  getIdentityProvider: async ({ service }) => {
    const provider = await service.identityProvider.read();
    const { redirectUri } = service.identityProvider;
    return { ...(provider ? { provider } : {}), ...(redirectUri === undefined ? {} : { redirectUri }) };
  },
  changeIdentityProvider: async ({ service, body, note }) => {
    const { clientSecret, ...settings } = body;
    const known = new Set((await service.members.organisations()).map(({ id }) => id));
    const unknown = settings.groups.find(({ organisation }) => !known.has(organisation));
    if (unknown)
      throw new PrimaError(
        'not-found',
        `there is no organisation ${unknown.organisation}, which ${unknown.group} is to be in`,
      );
    const kept = await service.identityProvider.keep(settings, clientSecret);
    note(kept.issuer, { ...kept, isNewSecret: clientSecret !== undefined });
    return kept;
  },
  removeIdentityProvider: async ({ service, note }) => {
    note((await service.identityProvider.read())?.issuer ?? '');
    await service.identityProvider.remove();
  },
};

async function accountFor(service: Service, claimed: Claimed, purpose: Purpose): Promise<string> {
  const { identities, members, sessions } = service;
  const settings = await service.identityProvider.read();
  if (!settings) throw new PrimaError('not-found', 'the provider was removed meanwhile');
  if (purpose.session !== undefined) {
    const account = await sessions.accountOf(purpose.session);
    if (account === undefined)
      throw new PrimaError(
        'unauthorized',
        'the session that began to link ended meanwhile; sign in and begin again',
      );
    await identities.link(account, claimed);
    await sessions.end(purpose); // a new one follows
  } else if (purpose.link !== undefined) {
    if ((await identities.accountOf(claimed)) !== undefined)
      throw new PrimaError('exists', 'you have an account already; ask its administrator for roles there');
    if (claimed.name === '')
      throw new PrimaError('forbidden', 'the provider says no name for you; use the link with a password');
    const { name, email } = claimed;
    await identities.link(await members.useLink(purpose.link, { name, email }), claimed);
  }
  return identities.signedIn(claimed, settings);
}

/** A token does not change its owner's account. */
function sessionOf({ session }: Caller): string {
  if (session !== undefined) return session;
  throw new PrimaError('forbidden', 'a token does not change its owner’s account; sign in');
}
