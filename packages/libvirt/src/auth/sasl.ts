/** SASL (RFC 4422) as libvirt's daemons ask for it: which mechanism, and the conversation. */
import { PrimaError, ProtocolError } from '@prima/base';
import { authCalls } from '../calls/auth.ts';
import type { CallOptions, RpcConnection } from '../rpc.ts';
import { LibvirtError } from '../errors.ts';
import { prepared, Scram } from './scram.ts';

export interface Credentials {
  username: string;
  /** Never logged, never in a message. */
  password: string;
}

/** Asked once, when the daemon wants a name and a password. */
export type CredentialsSource = (asked: {
  /** The address, without parameters. */
  uri: string;
  /** `SCRAM-SHA-256`, `PLAIN` … */
  mechanism: string;
}) => Credentials | Promise<Credentials>;

/** The client's side of one mechanism. */
export interface SaslExchange {
  /** The server has proved what it had to; nothing more may come. */
  readonly isDone: boolean;
  start(): Uint8Array;
  /** Raises `refused` or `permission` for an answer that does not convince. */
  step(received: Uint8Array): Promise<Uint8Array | undefined>;
}

/** RFC 4616: the password itself, which is why it goes over channels only that nobody can listen to. */
class Plain implements SaslExchange {
  readonly isDone = true;
  readonly #credentials: Credentials;

  constructor(credentials: Credentials) {
    this.#credentials = credentials;
  }

  start(): Uint8Array {
    const { username, password } = this.#credentials;
    return Buffer.from(`\0${prepared(username)}\0${prepared(password)}`);
  }

  async step(): Promise<undefined> {
    throw new ProtocolError('SASL PLAIN: the server asks for more, and there is no more');
  }
}

/** In the order in which they are preferred. */
const mechanisms: Readonly<Record<string, (credentials: Credentials) => SaslExchange>> = {
  'SCRAM-SHA-512': (credentials) => new Scram('sha512', credentials),
  'SCRAM-SHA-256': (credentials) => new Scram('sha256', credentials),
  'SCRAM-SHA-1': (credentials) => new Scram('sha1', credentials),
  PLAIN: (credentials) => new Plain(credentials),
};

const stepLimit = 10;

export interface SaslOptions extends CallOptions {
  uri: string;
  /** Nobody can listen to the channel: a unix socket, TLS, SSH. */
  isPrivate: boolean;
  credentials: CredentialsSource | undefined;
}

/** Raises `permission` when the daemon does not let us in, `unsupported` when there is no mechanism that both have. */
export async function authenticateBySasl(rpc: RpcConnection, options: SaslOptions): Promise<void> {
  const { uri } = options;
  const mechanism = chooseMechanism(await offeredMechanisms(rpc, options), options);
  if (!options.credentials) {
    throw new PrimaError(
      'permission',
      `connecting to ${uri}: the daemon wants a name and a password (${mechanism})`,
    );
  }
  const make = mechanisms[mechanism];
  const exchange = make?.(await options.credentials({ uri, mechanism }));
  if (!exchange) return;
  try {
    await converse(rpc, { mechanism, exchange }, options);
  } catch (error) {
    if (error instanceof LibvirtError && error.libvirtCode === 'VIR_ERR_AUTH_FAILED') {
      const text = `connecting to ${uri}: the daemon does not accept the name and password (${mechanism})`;
      throw new PrimaError('permission', text, { cause: error, details: error.details });
    }
    throw error;
  }
}

/** A daemon that has none for this kind of connection says that authentication has failed, before it began. */
async function offeredMechanisms(rpc: RpcConnection, options: SaslOptions): Promise<string> {
  const call = { name: 'authSaslInit', procedure: authCalls.authSaslInit, args: {} };
  try {
    return (await rpc.call(call, options)).mechanisms;
  } catch (error) {
    if (!(error instanceof LibvirtError)) throw error;
    const why = options.isPrivate
      ? 'its log says why (/etc/sasl2/libvirt.conf names them)'
      : 'without TLS it takes only those that encrypt, which Prima has not: take TLS or SSH';
    throw new PrimaError(
      'permission',
      `connecting to ${options.uri}: the daemon offers no SASL mechanism; ${why}`,
      { cause: error, details: error.details },
    );
  }
}

export function chooseMechanism(
  offered: string,
  { uri, isPrivate }: Pick<SaslOptions, 'uri' | 'isPrivate'>,
): string {
  const names = offered.split(/[ ,]+/).filter((name) => name !== '');
  const usable = Object.keys(mechanisms).filter((name) => isPrivate || name !== 'PLAIN');
  const found = usable.find((name) => names.includes(name));
  if (found !== undefined) return found;
  const plain = names.includes('PLAIN')
    ? '; PLAIN is not used where others could listen: take TLS or SSH'
    : '';
  throw new PrimaError(
    'unsupported',
    `connecting to ${uri}: the daemon offers the SASL mechanisms ${names.join(', ') || '(none)'}, Prima has ${usable.join(', ')}${plain}`,
  );
}

async function converse(
  rpc: RpcConnection,
  { mechanism, exchange }: { mechanism: string; exchange: SaslExchange },
  options: CallOptions,
): Promise<void> {
  const { authSaslStart: start, authSaslStep: step } = authCalls;
  let args = toSend(exchange.start());
  let reply = await rpc.call(
    { name: 'authSaslStart', procedure: start, args: { mechanism, ...args } },
    options,
  );
  for (let steps = 0; !(reply.complete && exchange.isDone); steps += 1) {
    if (steps >= stepLimit) throw new ProtocolError(`SASL ${mechanism}: the server comes to no end`);
    args = toSend(exchange.isDone ? undefined : await exchange.step(reply.data));
    if (reply.complete && exchange.isDone) return;
    if (reply.complete) throw new ProtocolError(`SASL ${mechanism}: the server ends without its proof`);
    reply = await rpc.call({ name: 'authSaslStep', procedure: step, args }, options);
  }
}

function toSend(data: Uint8Array | undefined): { isNull: boolean; data: Uint8Array } {
  return { isNull: data === undefined, data: data ?? new Uint8Array() };
}
