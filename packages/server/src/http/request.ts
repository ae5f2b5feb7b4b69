/** What is common to requests: whose they are, and that no other page sent them. */
import type { HttpBindings } from '@hono/node-server';
import { PrimaError, UserError } from '@prima/base';
import type { Context } from 'hono';
import { deleteCookie, getCookie, setCookie } from 'hono/cookie';
import type { z } from 'zod';
import type { Caller } from '../accounts/sessions.ts';
import { isSame } from '../accounts/sealing.ts';
import type { Service } from '../service/service.ts';

export interface Bindings {
  Bindings: HttpBindings;
}

/** A name that browsers take over TLS only, for this host and no other. */
const secureCookie = '__Host-prima';
/** On loopback without TLS. */
const plainCookie = 'prima';
/** Of a sign-in through the provider, while it is under way. */
const pendingName = { secure: '__Host-prima-sign-in', plain: 'prima-sign-in' };
const pendingSeconds = 600;
const csrfHeader = 'x-prima-csrf';
const bodyBytesAtMost = 1024 * 1024;
const issuesShown = 8;

export class Requests {
  readonly #service: Service;
  readonly #isSecure: boolean;

  constructor(service: Service, isSecure: boolean) {
    this.#service = service;
    this.#isSecure = isSecure;
  }

  get #cookie(): string {
    return this.#isSecure ? secureCookie : plainCookie;
  }

  /** Undefined for nobody. Raises `unauthorized` for a token that is none, `forbidden` for a change that another page may have sent. */
  async callerOf(context: Context<Bindings>): Promise<Caller | undefined> {
    const [, token] = /^Bearer (\S+)$/.exec(context.req.header('authorization') ?? '') ?? [];
    if (token !== undefined) {
      const caller = await this.#service.sessions.byToken(token);
      if (caller) return caller;
      throw new PrimaError('unauthorized', 'this token is not valid, or no longer; make another one');
    }
    const cookie = getCookie(context, this.#cookie);
    const caller = cookie === undefined ? undefined : await this.#service.sessions.bySession(cookie);
    if (!caller || context.req.method === 'GET' || context.req.method === 'HEAD') return caller;
    if (isSame(context.req.header(csrfHeader) ?? '', caller.csrf ?? '')) return caller;
    throw new PrimaError(
      'forbidden',
      `what is sent needs the session's csrf in ${csrfHeader}; load the page again`,
    );
  }

  get #cookieOptions() {
    return { path: '/', httpOnly: true, secure: this.#isSecure, sameSite: 'Strict' as const };
  }

  get #pendingCookie(): string {
    return this.#isSecure ? pendingName.secure : pendingName.plain;
  }

  setSession(context: Context<Bindings>, secret: string | undefined): void {
    if (secret === undefined) deleteCookie(context, this.#cookie, this.#cookieOptions);
    else setCookie(context, this.#cookie, secret, this.#cookieOptions);
  }

  setPending(context: Context<Bindings>, sealed: string): void {
    setCookie(context, this.#pendingCookie, sealed, { ...this.#cookieOptions, maxAge: pendingSeconds });
  }

  /** It is taken away: an answer of the provider counts once. */
  takePending(context: Context<Bindings>): string | undefined {
    const found = getCookie(context, this.#pendingCookie);
    if (found !== undefined) deleteCookie(context, this.#pendingCookie, this.#cookieOptions);
    return found;
  }
}

export function addressOf(context: Context<Bindings>): string {
  return (context.env as Partial<HttpBindings> | undefined)?.incoming?.socket.remoteAddress ?? '';
}

/** Raises `usage` for what is no JSON or too long. */
export async function bodyOf(context: Context<Bindings>): Promise<unknown> {
  const announced = Number(context.req.header('content-length') ?? 0);
  if (announced > bodyBytesAtMost) throw new UserError('usage', 'a request has 1 MiB at most');
  const type = context.req.header('content-type') ?? '';
  const text = await textOf(context.req.raw);
  if (text === '') return undefined;
  if (!type.startsWith('application/json')) throw new UserError('usage', 'a request is application/json');
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UserError('usage', 'the request is no JSON', { cause: error });
  }
}

async function textOf({ body }: Request): Promise<string> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of (body ?? []) as AsyncIterable<Uint8Array>) {
    length += piece.length;
    if (length > bodyBytesAtMost) throw new UserError('usage', 'a request has 1 MiB at most');
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}

/** Raises `usage`, with what is wrong, never with a value that was sent. */
export function fitting<T extends z.ZodType>(schema: T, value: unknown, what: string): z.output<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues
    .slice(0, issuesShown)
    .map(({ path, message }) => ({ path: path.join('.'), message }));
  const said = issues.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`)).join('; ');
  throw new UserError('usage', `the ${what} is wrong: ${said}`, { details: { issues } });
}
