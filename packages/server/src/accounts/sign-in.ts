/** Signing in with a password and, where it is on, a code of an authenticator (TOTP, RFC 6238). */
import { type Clock, PrimaError } from '@prima/base';
import type { Kysely } from 'kysely';
import { Secret, TOTP } from 'otpauth';
import type { Tables } from '../state/tables.ts';
import { isPassword } from './passwords.ts';
import type { Sealer } from './sealing.ts';

const periodSeconds = 30;
const codeDigits = 6;
/** A clock may be this many periods off. */
const window = 1;
const issuer = 'Prima';

/** So many wrong ones of a name, or from an address, in a while, then none is looked at. Behind a proxy all have one address. */
const wrongAtMost = { name: 8, address: 80 };
const forgottenMs = 5 * 60_000;
const remembered = 10_000;

/** Wrong passwords lately, by name and by address. */
export class Attempts {
  readonly #clock: Clock;
  readonly #wrong = new Map<string, { count: number; until: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Raises `too-many`. */
  check(keys: readonly string[]): void {
    const now = this.#clock.monotonic();
    for (const key of keys) {
      const found = this.#wrong.get(key);
      if (found && found.until <= now) this.#wrong.delete(key);
      else if (found && found.count >= (key.startsWith('name ') ? wrongAtMost.name : wrongAtMost.address))
        throw new PrimaError('too-many', 'too many wrong passwords; wait five minutes, then try again', {
          retryable: true,
        });
    }
  }

  /** For how long nothing of this name is looked at, milliseconds; undefined: it is. */
  lockedFor(name: string): number | undefined {
    const found = this.#wrong.get(`name ${name.toLowerCase()}`);
    const left = (found?.until ?? 0) - this.#clock.monotonic();
    return found && left > 0 && found.count >= wrongAtMost.name ? left : undefined;
  }

  /** Somebody vouches for whoever has this name. */
  forget(name: string): void {
    this.#wrong.delete(`name ${name.toLowerCase()}`);
  }

  wrong(keys: readonly string[]): void {
    for (const key of keys) {
      const count = (this.#wrong.get(key)?.count ?? 0) + 1;
      this.#wrong.delete(key);
      this.#wrong.set(key, { count, until: this.#clock.monotonic() + forgottenMs });
      const [oldest] = this.#wrong.keys();
      if (this.#wrong.size > remembered && oldest !== undefined) this.#wrong.delete(oldest);
    }
  }
}

export interface SignInRequest {
  /** Of the account, or its email address. */
  name: string;
  password: string;
  code?: string | undefined;
  /** Where it comes from. */
  address: string;
}

export interface SignInParts {
  db: Kysely<Tables>;
  clock: Clock;
  sealer: Sealer;
  attempts: Attempts;
}

/** The account's id; `needs-code` where the password is right and a code is missing. Raises `unauthorized`, `too-many`. */
export async function signIn(
  parts: SignInParts,
  request: SignInRequest,
): Promise<{ id: string } | 'needs-code'> {
  const { db, attempts } = parts;
  const { name, password, code, address } = request;
  const keys = [`name ${name.toLowerCase()}`, `address ${address}`];
  attempts.check(keys);
  const account = await db
    .selectFrom('account')
    .where((where) => where.or([where('name', '=', name), where('email', '=', name)]))
    .select(['id', 'password', 'totp', 'totp_step'])
    .executeTakeFirst();
  if (!(await isPassword(password, account?.password)) || !account) {
    attempts.wrong(keys);
    throw new PrimaError('unauthorized', 'the name or the password is wrong');
  }
  if (account.totp === null) return { id: account.id };
  if (code === undefined) return 'needs-code';
  if (await useCode(parts, { id: account.id, sealed: account.totp, step: account.totp_step }, code))
    return { id: account.id };
  attempts.wrong(keys);
  throw new PrimaError('unauthorized', 'the code is wrong, or was used before; wait for the next one');
}

/** A new secret, and the address that authenticators read. */
export function newTotp(name: string): { secret: string; url: string } {
  const secret = new Secret({ size: 20 });
  return { secret: secret.base32, url: totpOf(secret.base32, name).toString() };
}

/** Answers whether the code is right and was not used; it is used then. */
export async function useCode(
  { db, clock, sealer }: Pick<SignInParts, 'db' | 'clock' | 'sealer'>,
  account: { id: string; sealed: string; step: number },
  code: string,
): Promise<boolean> {
  const timestamp = clock.now();
  const secret = sealer.open(account.sealed, `totp of ${account.id}`);
  const delta = totpOf(secret, '').validate({ token: code, timestamp, window });
  if (delta === null) return false;
  const step = Math.floor(timestamp / 1000 / periodSeconds) + delta;
  const { numUpdatedRows } = await db
    .updateTable('account')
    .set({ totp_step: step })
    .where('id', '=', account.id)
    .where('totp_step', '<', step)
    .executeTakeFirst();
  return numUpdatedRows > 0n;
}

function totpOf(secret: string, label: string): TOTP {
  return new TOTP({
    issuer,
    label,
    secret: Secret.fromBase32(secret),
    digits: codeDigits,
    period: periodSeconds,
  });
}
