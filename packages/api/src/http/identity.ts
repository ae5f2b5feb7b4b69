/** Signing in through an OpenID Connect provider: which one, who is whom there, and what its groups may here. */
import { z } from 'zod';
import { session } from './accounts.ts';
import { id, role, text, time } from './common.ts';
import { endpoint } from './endpoint.ts';

const groupRule = z.strictObject({ group: text(200).min(1), organisation: id, roles: z.array(role).min(1) });

const settings = z.strictObject({
  name: text(60).min(1).meta({ description: 'on the button of the sign-in page' }),
  issuer: z.url().max(1000).meta({ description: 'as the provider writes it, to the last "/"' }),
  clientId: text(200).min(1),
  scopes: text(500).min(1).default('openid profile email'),
  nameClaim: text(100).min(1).default('preferred_username').meta({ description: 'names new accounts' }),
  groupsClaim: text(100).min(1).default('groups'),
  groups: z
    .array(groupRule)
    .max(200)
    .default([])
    .meta({ description: 'what members of a group may, looked at each time they sign in' }),
  admitsUnknown: z
    .boolean()
    .default(false)
    .meta({ description: 'whoever is in a group of the list gets an account' }),
  ca: text(100_000).min(1).optional().meta({ description: 'PEM: an authority of its certificate' }),
});

export const identityProvider = settings.extend({
  hasSecret: z.boolean(),
});

export const identity = z.object({ id, issuer: text(1000), subject: text(500), created: time });

const begun = z.object({ url: text(8000).meta({ description: 'where the browser goes on' }) });

export const identityEndpoints = {
  getSignInWays: endpoint({
    method: 'get',
    path: '/session/ways',
    audience: 'anyone',
    summary: 'How one can sign in, besides with a password',
    answer: z.object({ provider: text(60).optional() }),
  }),
  beginProviderSignIn: endpoint({
    method: 'post',
    path: '/session/provider',
    audience: 'anyone',
    reads: true,
    summary: 'Begin to sign in through the provider, or to use a one-time invitation through it',
    body: z.strictObject({ link: z.string().max(200).optional().meta({ secret: true }) }),
    answer: begun,
  }),
  finishProviderSignIn: endpoint({
    method: 'put',
    path: '/session/provider',
    audience: 'anyone',
    summary: 'What the provider sent the browser back with; signs in',
    body: z.strictObject({
      query: z.string().max(8000).meta({ description: 'of the address that it went to', secret: true }),
    }),
    answer: session,
  }),
  listIdentities: endpoint({
    method: 'get',
    path: '/me/identities',
    audience: 'member',
    summary: 'Who one is at the provider',
    answer: z.object({ items: z.array(identity) }),
  }),
  linkIdentity: endpoint({
    method: 'post',
    path: '/me/identities',
    audience: 'member',
    summary: 'Begin to link one’s account to who one is at the provider',
    answer: begun,
  }),
  unlinkIdentity: endpoint({
    method: 'delete',
    path: '/me/identities/{id}',
    audience: 'member',
    summary: 'Sign in through the provider no more',
  }),
  getIdentityProvider: endpoint({
    method: 'get',
    path: '/identity-provider',
    audience: 'provider',
    summary: 'The OpenID Connect provider that people sign in through',
    answer: z.object({
      provider: identityProvider.optional(),
      redirectUri: text(2000).optional().meta({
        description: 'for the provider’s list; absent: the server was not told its address (--public-url)',
      }),
    }),
  }),
  changeIdentityProvider: endpoint({
    method: 'put',
    path: '/identity-provider',
    audience: 'provider',
    summary: 'Keep a provider, after asking it who it is',
    body: settings.extend({
      clientSecret: z.string().min(1).max(1000).optional().meta({
        description: 'kept encrypted; absent: the one that is kept, or none',
        secret: true,
      }),
    }),
    answer: identityProvider,
  }),
  removeIdentityProvider: endpoint({
    method: 'delete',
    path: '/identity-provider',
    audience: 'provider',
    summary: 'Passwords alone from now on',
  }),
};
