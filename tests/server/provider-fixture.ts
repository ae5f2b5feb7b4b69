/** An OpenID Connect provider on loopback that knows a few people, and a browser that signs in there. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { trustingFetch } from '@prima/api/client';
import { Certificates, type Cleanup, temporaryFolder } from '@prima/testbed';
import { Provider } from 'oidc-provider';

export interface Person {
  name: string;
  groups: string[];
}

export const clientId = 'prima';
export const clientSecret = 'a-secret-of-some-thirty-two-letters';

export interface ProviderWorld {
  issuer: string;
  /** PEM, of the authority that vouches for it. */
  ca: string;
  /** By their subjects; what is changed here counts at the next sign-in. */
  people: Map<string, Person>;
  /** How far its clock is ahead when it signs a token. */
  aheadMs: number;
  /** Signs in as `subject` and answers the query that the browser is sent back with. */
  visit(url: string, subject: string): Promise<string>;
}

/** @param redirectUri of Prima */
export async function providerWorld(test: Cleanup, redirectUri: string): Promise<ProviderWorld> {
  const certificates = new Certificates(await temporaryFolder(test));
  await certificates.makeAuthority('ca');
  await certificates.makeCertificate('provider', 'ca', 'IP:127.0.0.1,DNS:localhost');
  const [ca = '', cert, key] = await Promise.all(
    [certificates.cert('ca'), certificates.cert('provider'), certificates.key('provider')].map((path) =>
      readFile(path, 'utf8'),
    ),
  );
  const server = createServer({ cert, key });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const issuer = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const people = new Map<string, Person>();
  const world: ProviderWorld = { issuer, ca, people, aheadMs: 0, visit: visitor(ca) };
  const answer = providerOf(world, redirectUri).callback();
  server.on('request', (request, response) => void answer(request, response));
  test.after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return world;
}

function providerOf(world: ProviderWorld, redirectUri: string): Provider {
  const provider = new Provider(world.issuer, {
    clients: [{ client_id: clientId, client_secret: clientSecret, redirect_uris: [redirectUri] }],
    claims: { openid: ['sub'], profile: ['preferred_username', 'groups'] },
    cookies: { keys: ['only for tests'] },
    findAccount: (_, accountId) => {
      const person = world.people.get(accountId);
      if (!person) return undefined;
      const { name, groups } = person;
      return { accountId, claims: () => ({ sub: accountId, preferred_username: name, groups }) };
    },
  });
  provider.use(async (context, next) => {
    if (!context.path.endsWith('/token')) return next();
    const { now } = Date;
    Date.now = () => now() + world.aheadMs;
    try {
      return await next();
    } finally {
      Date.now = now;
    }
  });
  return provider;
}

const stepsAtMost = 12;

/** Follows redirects and fills in the provider's own two forms, with its cookies. */
function visitor(ca: string) {
  const send = trustingFetch({ ca });
  return async (start: string, subject: string): Promise<string> => {
    const { origin } = new URL(start);
    const cookies = new Map<string, string>();
    const ask = async (url: string, form?: Record<string, string>) => {
      const response = await send(url, {
        method: form ? 'POST' : 'GET',
        headers: {
          cookie: [...cookies].map((pair) => pair.join('=')).join('; '),
          ...(form ? { 'content-type': 'application/x-www-form-urlencoded' } : {}),
        },
        ...(form ? { body: new URLSearchParams(form).toString() } : {}),
        signal: AbortSignal.timeout(10_000),
        redirect: 'error',
      });
      for (const line of (response.headers.get('set-cookie') ?? '').split(/,(?=[^ ;]+=)/)) {
        const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
        if (value !== '') cookies.set(name, value);
      }
      return response;
    };
    let url = start;
    let response = await ask(url);
    for (let step = 0; step < stepsAtMost; step += 1) {
      const location = response.headers.get('location');
      if (location !== null) {
        await response.body?.cancel();
        const next = new URL(location, url);
        if (next.origin !== origin) return next.search;
        url = next.href;
        response = await ask(url);
        continue;
      }
      const page = await response.text();
      const [, prompt] = /name="prompt" value="(\w+)"/.exec(page) ?? [];
      assert.ok(prompt, page);
      response = await ask(url, { prompt, login: subject, password: 'any' });
    }
    throw new Error('the provider sends the browser round and round');
  };
}
