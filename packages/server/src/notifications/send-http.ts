/** One request to a webhook: no redirect is followed, and the answer's body is not read. */
import { request as requestPlain } from 'node:http';
import { request as requestTls, type RequestOptions } from 'node:https';
import { PrimaError } from '@prima/base';
import { checkLiteral, openLookup } from './addresses.ts';
import { type HttpTarget, shapeOf } from './http-shape.ts';
import type { Message } from './message.ts';
import type { Sending } from './send.ts';

/** Raises `remote`, `forbidden`, and what the socket raises. */
export async function sendHttp(target: HttpTarget, message: Message, sending: Sending): Promise<void> {
  const { reachesAll, signal, now } = sending;
  const { method, url, headers, body } = shapeOf(target, message, now);
  const { protocol, hostname, origin } = new URL(url);
  if (!reachesAll) checkLiteral(hostname);
  const options: RequestOptions = {
    method,
    signal,
    agent: false,
    headers: {
      ...headers,
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      'user-agent': 'prima',
    },
    ...(reachesAll ? {} : { lookup: openLookup }),
    ...(target.ca === undefined ? {} : { ca: target.ca }),
  };
  const status = await new Promise<number>((resolve, reject) => {
    const request = protocol === 'https:' ? requestTls : requestPlain;
    const sent = request(url, options, (answer) => {
      resolve(answer.statusCode ?? 0);
      answer.destroy();
    });
    sent.on('error', reject); // one that comes after the answer changes nothing
    sent.end(body);
  });
  if (status < 200 || status > 299)
    throw new PrimaError('remote', `${origin} answered with status ${status}`, { retryable: true });
}
