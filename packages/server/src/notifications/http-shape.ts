/** A message as each kind of webhook wants it. docs/operating/server.md has the signed one. */
import { createHmac } from 'node:crypto';
import type { NotificationTarget } from '@prima/api/http';
import { type Message, textOf } from './message.ts';

export type HttpTarget = Exclude<NotificationTarget, { kind: 'email' }>;

export interface HttpShape {
  method: 'POST' | 'PUT';
  url: string;
  headers: Record<string, string>;
  body: string;
}

/** @param now milliseconds since 1970: when it is sent */
export function shapeOf(target: HttpTarget, message: Message, now: number): HttpShape {
  const post = (body: object, more: Partial<HttpShape> = {}): HttpShape => ({
    method: 'POST',
    url: target.url,
    headers: {},
    body: JSON.stringify(body),
    ...more,
  });
  switch (target.kind) {
    case 'webhook': {
      const shape = post(message);
      const timestamp = String(Math.floor(now / 1000));
      const signature = createHmac('sha256', target.secret)
        .update(`${timestamp}.${shape.body}`)
        .digest('hex');
      const headers = { 'x-prima-timestamp': timestamp, 'x-prima-signature': `sha256=${signature}` };
      return { ...shape, headers };
    }
    case 'slack':
      return post({ text: escapeSlack(`*${message.title}*\n${message.lines.join('\n')}`) });
    case 'teams':
      return post(cardOf(message));
    case 'matrix': {
      const path = `_matrix/client/v3/rooms/${encodeURIComponent(target.room)}/send/m.room.message/${message.id}`;
      const headers = bearer(target.token);
      const url = `${target.url.replace(/\/$/, '')}/${path}`;
      return post({ msgtype: 'm.text', body: textOf(message) }, { method: 'PUT', url, headers });
    }
    case 'ntfy': {
      const url = new URL(target.url);
      const [, before = '/', topic = ''] = /^(.*\/)([^/]*)\/?$/.exec(url.pathname) ?? [];
      url.pathname = before;
      const body = {
        topic: decodeURIComponent(topic),
        title: message.title,
        message: message.lines.join('\n'),
      };
      return post(body, { url: url.href, headers: target.token === undefined ? {} : bearer(target.token) });
    }
  }
}

const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` });

const escapeSlack = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** An adaptive card, as the workflows of Teams take it. */
function cardOf({ title, lines }: Message): object {
  const block = (text: string, more: object = {}) => ({ type: 'TextBlock', wrap: true, text, ...more });
  const content = {
    $schema: 'http://adaptivecards.io/schemas/adaptive-card.json',
    type: 'AdaptiveCard',
    version: '1.4',
    body: [block(title, { weight: 'bolder' }), ...lines.map((line) => block(line))],
  };
  return {
    type: 'message',
    attachments: [{ contentType: 'application/vnd.microsoft.card.adaptive', content }],
  };
}
