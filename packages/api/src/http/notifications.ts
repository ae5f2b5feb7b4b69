/** Whom Prima tells when something needs a person: channels of an organisation. Their secrets go in and never come out. */
import { z } from 'zod';
import { count, id, name, text, time } from './common.ts';
import { endpoint } from './endpoint.ts';

const secret = (most = 1000, least = 1) => z.string().min(least).max(most).meta({ secret: true });
const address = z
  .url({ protocol: /^https?$/ })
  .max(2000)
  .meta({ description: 'kept encrypted, answered as its origin alone', secret: true });
const ca = text(100_000).min(1).optional().meta({ description: 'PEM: an authority of its certificate' });
const mailbox = z.email().max(320);

const target = z
  .discriminatedUnion('kind', [
    z.strictObject({
      kind: z.literal('webhook'),
      url: address,
      secret: secret(1000, 16).meta({ description: 'what requests are signed with', secret: true }),
      ca,
    }),
    z.strictObject({ kind: z.literal('slack'), url: address, ca }),
    z.strictObject({ kind: z.literal('teams'), url: address, ca }),
    z.strictObject({
      kind: z.literal('matrix'),
      url: address.meta({ description: 'of the homeserver' }),
      room: text(255).regex(/^!/).meta({ description: 'its id, which begins with "!"' }),
      token: secret(),
      ca,
    }),
    z.strictObject({
      kind: z.literal('ntfy'),
      url: address.meta({ description: 'ends with the topic' }),
      token: secret().optional(),
      ca,
    }),
    z.strictObject({
      kind: z.literal('email'),
      host: text(253).min(1),
      port: z.number().int().min(1).max(65_535),
      security: z.enum(['starttls', 'tls']).default('starttls'),
      user: text(320).min(1).optional(),
      password: secret().optional(),
      from: mailbox,
      to: z.array(mailbox).min(1).max(20),
      ca,
    }),
  ])
  .meta({ description: 'where it goes, with what opens it' });

const event = z.enum(['job-failed', 'late', 'repository', 'damage', 'approval']);

const zone = text(64).refine((named) => {
  try {
    return Boolean(new Intl.DateTimeFormat('en', { timeZone: named }));
  } catch {
    return false;
  }
}, 'is no time zone that is known here, such as Europe/Berlin');

const settings = z.strictObject({
  name,
  enabled: z.boolean().default(true),
  events: z
    .array(event)
    .max(10)
    .default(['job-failed', 'late', 'repository', 'damage', 'approval'])
    .meta({ description: 'what it is told of' }),
  digest: z
    .strictObject({ hour: z.number().int().min(0).max(23), zone })
    .optional()
    .meta({ description: 'how things stand, once a day; absent: never' }),
});

export const channel = settings.extend({
  id,
  kind: z.enum(['webhook', 'slack', 'teams', 'matrix', 'ntfy', 'email']),
  at: text(10_000).meta({ description: 'where it goes, without what is secret' }),
  created: time,
  waiting: count.meta({ description: 'messages that were not delivered yet' }),
  lastSent: time.optional(),
  lastError: z
    .object({ time, message: text(2000) })
    .optional()
    .meta({ description: 'since the last one that was delivered' }),
});

export const notificationEndpoints = {
  listChannels: endpoint({
    method: 'get',
    path: '/notification-channels',
    audience: 'administrator',
    summary: 'Whom Prima tells when something needs a person',
    answer: z.object({ items: z.array(channel) }),
  }),
  addChannel: endpoint({
    method: 'post',
    path: '/notification-channels',
    audience: 'administrator',
    summary: 'Add a channel; its secrets are kept encrypted and never answered',
    body: settings.extend({ target }),
    answer: channel,
  }),
  changeChannel: endpoint({
    method: 'put',
    path: '/notification-channels/{id}',
    audience: 'administrator',
    summary: 'Change a channel',
    body: settings.extend({
      target: target.optional().meta({ description: 'absent: the one that is kept, with its secrets' }),
    }),
    answer: channel,
  }),
  testChannel: endpoint({
    method: 'post',
    path: '/notification-channels/{id}/test',
    audience: 'administrator',
    summary: 'Send a message now, and answer when it was taken',
  }),
  removeChannel: endpoint({
    method: 'delete',
    path: '/notification-channels/{id}',
    audience: 'administrator',
    summary: 'Remove a channel, with what waits for it',
  }),
};

export type NotificationTarget = z.infer<typeof target>;
export type NotificationEvent = z.infer<typeof event>;
