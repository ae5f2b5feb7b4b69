/** Hands one message to a channel's other end, within a deadline. */
import type { NotificationTarget } from '@prima/api/http';
import { PrimaError } from '@prima/base';
import type { Message } from './message.ts';
import { sendHttp } from './send-http.ts';
import { sendMail } from './send-mail.ts';

export interface Sending {
  /** Of the first organisation: also what is private. */
  reachesAll: boolean;
  signal: AbortSignal;
  /** Milliseconds since 1970. */
  now: number;
}

export const deadlineMs = 20_000;
const reasonAtMost = 500;

/** Raises `remote`, `timeout`, `forbidden`: never with a secret of the channel in it. */
export async function send(
  target: NotificationTarget,
  message: Message,
  { signal, ...sending }: Sending,
): Promise<void> {
  const deadline = AbortSignal.timeout(deadlineMs);
  const all = { ...sending, signal: AbortSignal.any([signal, deadline]) };
  try {
    await (target.kind === 'email' ? sendMail(target, message, all) : sendHttp(target, message, all));
  } catch (error) {
    if (error instanceof PrimaError) throw error;
    const place = placeOf(target);
    if (deadline.aborted)
      throw new PrimaError('timeout', `${place} took no message within ${deadlineMs / 1000} s`, {
        retryable: true,
      });
    const reason = error instanceof Error ? withoutSecrets(error.message, target) : 'it failed';
    throw new PrimaError('remote', `sending to ${place}: ${reason}; look at its settings`, {
      retryable: true,
    });
  }
}

/** For people, without what is secret: the path of a webhook is a secret, too. */
export function placeOf(target: NotificationTarget): string {
  if (target.kind === 'email') return `${target.host}:${target.port} for ${target.to.join(', ')}`;
  const { origin } = new URL(target.url);
  return target.kind === 'matrix' ? `${origin} ${target.room}` : origin;
}

/** What an SMTP server repeats of what it was sent. */
function withoutSecrets(text: string, target: NotificationTarget): string {
  const secrets = Object.entries(target).flatMap(([key, value]) =>
    ['url', 'secret', 'token', 'password'].includes(key) && typeof value === 'string'
      ? [value, Buffer.from(value).toString('base64')]
      : [],
  );
  return secrets.reduce((left, secret) => left.replaceAll(secret, '…'), text).slice(0, reasonAtMost);
}
