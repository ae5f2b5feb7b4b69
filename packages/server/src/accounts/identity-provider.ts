/**
 * The OpenID Connect provider that people sign in through: authorization code with PKCE (RFC 7636), state and nonce. What is under way is
 * kept sealed in a cookie of the browser that began it: nothing fills up here, and another browser cannot end it.
 */
import { trustingFetch } from '@prima/api/client';
import type { IdentityProviderSettings } from '@prima/api/http';
import { type Clock, PrimaError, UserError } from '@prima/base';
import type { Kysely } from 'kysely';
import * as client from 'openid-client';
import type { Tables } from '../state/tables.ts';
import { providerFailure } from './provider-failure.ts';
import type { Sealer } from './sealing.ts';

/** What a sign-in is for, besides signing in. */
export interface Purpose {
  /** An invitation's secret. */
  link?: string;
  /** The session that links its account to an identity. */
  session?: string;
}

/** Who somebody is, in the provider's words. */
export interface Claimed {
  issuer: string;
  subject: string;
  /** Made to fit what names are here; empty where the provider says none. */
  name: string;
  email?: string;
  groups: string[];
}

interface Pending extends Purpose {
  issuer: string;
  state: string;
  nonce: string;
  verifier: string;
  expires: number;
}

export interface IdentityProviderParts {
  db: Kysely<Tables>;
  clock: Clock;
  sealer: Sealer;
  /** The server's own address, as browsers have it. */
  publicUrl?: string | undefined;
}

type Kept = { settings: IdentityProviderSettings; secret: string | undefined };

const requestSeconds = 10;
const clockToleranceSeconds = 30;
const pendingMs = 10 * 60_000;
const discoveryKeptMs = 10 * 60_000;
const sealedAs = 'sign-in through the provider';
const secretOfProvider = 'identity-provider main';
const groupsAtMost = 1000;

export class IdentityProvider {
  readonly #parts: IdentityProviderParts;
  #discovered: { of: string; until: number; configuration: client.Configuration } | undefined;

  constructor(parts: IdentityProviderParts) {
    this.#parts = parts;
  }

  /** Where the provider sends browsers back to; never what a request says about itself. */
  get redirectUri(): string | undefined {
    const { publicUrl } = this.#parts;
    return publicUrl === undefined ? undefined : new URL('/sign-in/provider', publicUrl).href;
  }

  async read(): Promise<IdentityProviderSettings | undefined> {
    return (await this.#kept())?.settings;
  }

  /** Asks the provider before anything is kept. Raises `usage`, `state`, `remote`, `timeout`, `protocol`. */
  async keep(
    settings: Omit<IdentityProviderSettings, 'hasSecret'>,
    clientSecret: string | undefined,
  ): Promise<IdentityProviderSettings> {
    this.#ownAddress();
    const before = await this.#kept();
    // a secret is never sent to another issuer than the one that it was given for
    const kept = before?.settings.issuer === settings.issuer ? before.secret : undefined;
    const secret = clientSecret ?? kept;
    const whole = { ...settings, hasSecret: secret !== undefined };
    await this.#discover({ settings: whole, secret });
    const row = {
      settings: JSON.stringify(whole),
      secret: secret === undefined ? null : this.#parts.sealer.seal(secret, secretOfProvider),
    };
    await this.#parts.db
      .insertInto('identity_provider')
      .values({ id: 'main', ...row })
      .onConflict((on) => on.column('id').doUpdateSet(row))
      .execute();
    return whole;
  }

  async remove(): Promise<void> {
    await this.#parts.db.deleteFrom('identity_provider').execute();
  }

  /** Where the browser goes, and what it keeps meanwhile. Raises `not-found`, `state`, `remote`, `timeout`, `protocol`. */
  async begin(purpose: Purpose): Promise<{ url: string; pending: string }> {
    const redirectUri = this.#ownAddress();
    const { kept, configuration } = await this.#ready();
    const { issuer, scopes } = kept.settings;
    const pending: Pending = {
      ...purpose,
      issuer,
      state: client.randomState(),
      nonce: client.randomNonce(),
      verifier: client.randomPKCECodeVerifier(),
      expires: this.#parts.clock.now() + pendingMs,
    };
    const url = client.buildAuthorizationUrl(configuration, {
      redirect_uri: redirectUri,
      scope: scopes,
      state: pending.state,
      nonce: pending.nonce,
      code_challenge: await client.calculatePKCECodeChallenge(pending.verifier),
      code_challenge_method: 'S256',
    });
    return { url: url.href, pending: this.#parts.sealer.seal(JSON.stringify(pending), sealedAs) };
  }

  /**
   * Who the provider says it is, after all was checked.
   * @param sealed what `begin` gave the browser
   * @param query what the provider sent the browser back with
   * Raises `unauthorized`, `not-found`, `state`, `remote`, `timeout`, `protocol`.
   */
  async finish(sealed: string | undefined, query: string): Promise<{ claimed: Claimed; purpose: Purpose }> {
    const redirectUri = this.#ownAddress();
    const pending = this.#opened(sealed);
    const { kept, configuration } = await this.#ready();
    if (pending.issuer !== kept.settings.issuer)
      throw new PrimaError('unauthorized', 'the provider was changed meanwhile; begin again');
    const returned = new URL(redirectUri);
    returned.search = query;
    try {
      const tokens = await client.authorizationCodeGrant(configuration, returned, {
        pkceCodeVerifier: pending.verifier,
        expectedState: pending.state,
        expectedNonce: pending.nonce,
        idTokenExpected: true,
      });
      const claims = await claimsOf(configuration, kept.settings, tokens);
      const { link, session } = pending;
      return {
        claimed: claimedOf(kept.settings, claims),
        purpose: { ...(link === undefined ? {} : { link }), ...(session === undefined ? {} : { session }) },
      };
    } catch (error) {
      throw providerFailure(error, kept.settings.issuer);
    }
  }

  #opened(sealed: string | undefined): Pending {
    const { sealer, clock } = this.#parts;
    const again = 'this sign-in was not begun in this browser within the last ten minutes; begin again';
    if (sealed === undefined) throw new PrimaError('unauthorized', again);
    let pending: Pending;
    try {
      pending = JSON.parse(sealer.open(sealed, sealedAs)) as Pending;
    } catch (error) {
      throw new PrimaError('unauthorized', again, { cause: error });
    }
    if (pending.expires < clock.now()) throw new PrimaError('unauthorized', again);
    return pending;
  }

  #ownAddress(): string {
    if (this.redirectUri !== undefined) return this.redirectUri;
    throw new PrimaError(
      'state',
      'the server does not know its own address, which the provider sends people back to; start it with --public-url',
    );
  }

  async #kept(): Promise<Kept | undefined> {
    const { db, sealer } = this.#parts;
    const row = await db.selectFrom('identity_provider').selectAll().executeTakeFirst();
    if (!row) return undefined;
    const settings = JSON.parse(row.settings) as IdentityProviderSettings;
    return { settings, secret: row.secret === null ? undefined : sealer.open(row.secret, secretOfProvider) };
  }

  async #ready(): Promise<{ kept: Kept; configuration: client.Configuration }> {
    const kept = await this.#kept();
    if (!kept)
      throw new PrimaError('not-found', 'no provider is kept here; sign in with a name and a password');
    return { kept, configuration: await this.#discover(kept) };
  }

  /** Asked seldom: anyone may begin to sign in. */
  async #discover(kept: Kept): Promise<client.Configuration> {
    const of = JSON.stringify(kept);
    const now = this.#parts.clock.monotonic();
    const found = this.#discovered;
    if (found && found.of === of && found.until > now) return found.configuration;
    const { settings, secret } = kept;
    const issuer = issuerOf(settings.issuer);
    const fetchOf = settings.ca === undefined ? undefined : fetchTrusting(settings.ca);
    try {
      const configuration = await client.discovery(
        issuer,
        settings.clientId,
        { [client.clockTolerance]: clockToleranceSeconds },
        secret === undefined ? client.None() : client.ClientSecretBasic(secret),
        {
          timeout: requestSeconds,
          ...(fetchOf ? { [client.customFetch]: fetchOf } : {}),
          // deprecated, as a warning: plain HTTP is for loopback alone, which `issuerOf` has seen to
          execute: issuer.protocol === 'http:' ? [client.allowInsecureRequests] : [],
        },
      );
      this.#discovered = { of, until: now + discoveryKeptMs, configuration };
      return configuration;
    } catch (error) {
      throw providerFailure(error, settings.issuer);
    }
  }
}

function issuerOf(text: string): URL {
  const url = new URL(text);
  if (url.protocol === 'https:') return url;
  if (url.protocol === 'http:' && ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname)) return url;
  throw new UserError('usage', `the issuer ${text} is asked over https alone`);
}

function fetchTrusting(ca: string): client.CustomFetch {
  const send = trustingFetch({ ca });
  return (url, { method, headers, body, signal }) =>
    send(url, {
      method,
      headers,
      ...(body === null || body === undefined ? {} : { body: textOf(body) }),
      signal: signal ?? AbortSignal.timeout(requestSeconds * 1000),
      redirect: 'error',
    });
}

function textOf(body: NonNullable<client.FetchBody>): string {
  if (typeof body === 'string' || body instanceof URLSearchParams) return String(body);
  throw new PrimaError('internal', 'a request to the provider is a form');
}

type Tokens = Awaited<ReturnType<typeof client.authorizationCodeGrant>>;
type Claims = Record<string, unknown> & { iss: string; sub: string };

/** Those of the token, and where a wanted one is not in it, those that the provider tells when asked. */
async function claimsOf(
  configuration: client.Configuration,
  { nameClaim, groupsClaim }: IdentityProviderSettings,
  tokens: Tokens,
): Promise<Claims> {
  const claims = tokens.claims();
  if (!claims) throw new PrimaError('protocol', 'the provider gave no ID token');
  const isWhole = nameClaim in claims && groupsClaim in claims;
  if (isWhole || configuration.serverMetadata().userinfo_endpoint === undefined) return claims;
  const more = await client.fetchUserInfo(configuration, tokens.access_token, claims.sub);
  return { ...more, ...claims };
}

function claimedOf({ nameClaim, groupsClaim }: IdentityProviderSettings, claims: Claims): Claimed {
  const { iss: issuer, sub: subject, email } = claims;
  const said = claims[nameClaim];
  const groups = claims[groupsClaim];
  const list = Array.isArray(groups) ? groups : typeof groups === 'string' ? [groups] : [];
  return {
    issuer,
    subject,
    name: typeof said === 'string' ? nameOf(said) : '',
    ...(typeof email === 'string' ? { email } : {}),
    groups: list.filter((group): group is string => typeof group === 'string').slice(0, groupsAtMost),
  };
}

const nameLength = 64;

const nameOf = (text: string): string =>
  text
    .replaceAll(/[^A-Za-z0-9._-]/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, nameLength);
