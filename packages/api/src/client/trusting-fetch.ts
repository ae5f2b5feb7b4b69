/**
 * `fetch` for servers whose certificate no authority of this computer vouches for: one of a given authority, or exactly the
 * one with a given fingerprint. There is no way to trust any.
 */
import { X509Certificate } from 'node:crypto';
import { Agent, request } from 'node:https';
import { Readable } from 'node:stream';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { UserError } from '@prima/base';

export type Fetch = (url: string, init: FetchInit) => Promise<Response>;

export interface FetchInit {
  method: string;
  headers: Record<string, string>;
  body?: string;
  signal: AbortSignal;
  redirect: 'error';
}

export interface Trust {
  /** Certificates in PEM. */
  ca?: string;
  /** `sha256:` and 64 hexadecimal digits, with or without colons between them. */
  fingerprint?: string;
}

/** Raises `usage` when what is to be trusted is not readable. */
export function trustingFetch({ ca, fingerprint }: Trust): Fetch {
  if (ca !== undefined && fingerprint !== undefined) {
    throw new UserError('usage', "give the server's authority or its certificate's fingerprint, not both");
  }
  const agent =
    fingerprint === undefined ? new Agent({ ca: certificatesOf(ca ?? '') }) : pinning(fingerprint);
  return (url, { method, headers, body, signal }) =>
    new Promise((resolve, reject) => {
      const sent = request(url, { agent, method, headers, signal }, (message) => {
        const { statusCode: status = 0, headers: lines } = message;
        const texts = Object.entries(lines).flatMap(([name, value]) =>
          value === undefined ? [] : [[name, String(value)] as [string, string]],
        );
        const isEmpty = status === 204 || status === 304;
        const stream = Readable.toWeb(message) as ReadableStream<Uint8Array>;
        resolve(new Response(isEmpty ? null : stream, { status, headers: texts }));
      });
      sent.on('error', reject); // one that comes after the answer is its body's, too
      sent.end(body);
    });
}

function certificatesOf(text: string): string {
  try {
    void new X509Certificate(text);
    return text;
  } catch (error) {
    throw new UserError('usage', "the file with the server's authority holds no certificate in PEM", {
      cause: error,
    });
  }
}

function pinning(text: string): Agent {
  const wanted = digitsOf(text);
  const agent = new Agent();
  agent.createConnection = (options, done) => {
    // Who the server is, is told by its certificate's digest alone, before anything is sent to it.
    const socket = connect({ ...(options as ConnectionOptions), rejectUnauthorized: false });
    socket.on('error', (error) => done?.(error, socket));
    socket.once('secureConnect', () => {
      const found = fingerprintOf(socket);
      if (found === wanted) done?.(null, socket);
      else socket.destroy(new UntrustedError(found));
    });
    return undefined;
  };
  return agent;
}

/** The server has another certificate. */
export class UntrustedError extends Error {
  constructor(found: string) {
    super(`its certificate's fingerprint is sha256:${found}, which is not the one that was given`);
  }
}

function fingerprintOf(socket: TLSSocket): string {
  return (socket.getPeerX509Certificate()?.fingerprint256 ?? '').replaceAll(':', '').toLowerCase();
}

function digitsOf(text: string): string {
  const [, digits = ''] = /^sha256:([0-9a-f:]+)$/i.exec(text.trim()) ?? [];
  const plain = digits.replaceAll(':', '').toLowerCase();
  if (plain.length === 64) return plain;
  throw new UserError('usage', `"${text}" is no fingerprint; write sha256: and its 64 hexadecimal digits`);
}
