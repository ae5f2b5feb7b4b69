/** One mail over SMTP, never without TLS. The address that was checked is the one that is connected to. */
import { isIP } from 'node:net';
import type { NotificationTarget } from '@prima/api/http';
import { createTransport } from 'nodemailer';
import { addressOf } from './addresses.ts';
import type { Message } from './message.ts';
import type { Sending } from './send.ts';

const stepMs = 10_000;

/** Raises `forbidden`, and what the resolver, the socket and the server's answers raise. */
export async function sendMail(
  target: Extract<NotificationTarget, { kind: 'email' }>,
  { id, title, lines, organisation }: Message,
  { reachesAll, signal }: Sending,
): Promise<void> {
  const { host, port, security, user, password, from, to, ca } = target;
  const transport = createTransport({
    host: await addressOf(host, reachesAll),
    port,
    secure: security === 'tls',
    requireTLS: true,
    tls: {
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ...(ca === undefined ? {} : { ca }),
    },
    ...(user === undefined ? {} : { auth: { user, pass: password ?? '' } }),
    connectionTimeout: stepMs,
    greetingTimeout: stepMs,
    socketTimeout: stepMs,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([
      aborted,
      transport.sendMail({
        from,
        to,
        subject: `Prima ${organisation}: ${title}`,
        text: [title, '', ...lines, ''].join('\n'),
        messageId: `<${id}@prima.invalid>`,
        headers: { 'auto-submitted': 'auto-generated' },
      }),
    ]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    transport.close();
  }
}
