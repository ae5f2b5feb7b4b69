/** The client's side of the fixed newstyle handshake, from the server's greeting to transmission. */
import { isIP, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { type ErrorCode, PrimaError, ProtocolError, RemoteError } from '@prima/base';
import type { ByteReader } from './byte-reader.ts';
import * as options from './options.ts';
import * as nbd from './protocol.ts';
import type { Wire } from './wire.ts';

/** How the connection is encrypted. Certificates and keys are PEM text. */
export interface NbdTls {
  /** Who may have signed the server's certificate; default: the system's authorities. */
  ca?: string | Buffer;
  /** The client's own certificate and key, where the server wants them. */
  cert?: string | Buffer;
  key?: string | Buffer;
  /** The name that the server's certificate must carry; default: the host that was connected to. */
  serverName?: string;
}

export interface HandshakeOptions {
  exportName: string;
  contexts: readonly string[];
  tls?: NbdTls | undefined;
  /** The host's name for TLS. */
  host?: string | undefined;
}

/** What was agreed on. */
export interface Negotiated {
  info: options.ExportInfo;
  structured: boolean;
  /** Ids of the contexts that the server granted, by name. */
  contexts: ReadonlyMap<string, number>;
}

export interface NbdExport {
  name: string;
  description: string;
}

interface Reply {
  type: number;
  data: Buffer;
}

/** One client's handshake over one connection. */
export class Handshake {
  readonly #wire: Wire;
  readonly #reader: ByteReader;
  #fixed = false;
  #noZeroes = false;

  constructor(wire: Wire, reader: ByteReader) {
    this.#wire = wire;
    this.#reader = reader;
  }

  /** Reads the greeting, answers it, and starts TLS where it is asked for. */
  async begin(tls: NbdTls | undefined, host: string | undefined): Promise<void> {
    const greeting = await this.#reader.read(16);
    const magic = greeting.readBigUInt64BE(0);
    if (magic !== nbd.NBDMAGIC) {
      throw new ProtocolError(
        `${this.#wire.peer}: greeted with 0x${magic.toString(16)}, not with NBDMAGIC; is this an NBD server?`,
      );
    }
    const style = greeting.readBigUInt64BE(8);
    if (style === nbd.NBD_CLISERV_MAGIC) {
      throw new PrimaError(
        'unsupported',
        `${this.#wire.peer}: speaks the oldstyle handshake of before 2011, which Prima does not`,
      );
    }
    nbd.expectMagic('greeting', style, nbd.IHAVEOPT);
    const flags = (await this.#reader.read(2)).readUInt16BE(0);
    this.#fixed = (flags & nbd.NBD_FLAG_FIXED_NEWSTYLE) !== 0;
    this.#noZeroes = (flags & nbd.NBD_FLAG_NO_ZEROES) !== 0;
    const answer = Buffer.alloc(4);
    answer.writeUInt32BE(
      (this.#fixed ? nbd.NBD_FLAG_FIXED_NEWSTYLE : 0) | (this.#noZeroes ? nbd.NBD_FLAG_NO_ZEROES : 0),
    );
    this.#wire.write([answer]);
    if (tls) await this.#startTls(tls, host);
  }

  async #startTls(tls: NbdTls, host: string | undefined): Promise<void> {
    const reply = this.#fixed ? await this.#ask(nbd.NBD_OPT_STARTTLS) : undefined;
    if (reply?.type !== nbd.NBD_REP_ACK) {
      throw new PrimaError('unsupported', `${this.#wire.peer}: offers no TLS${reply ? said(reply) : ''}`);
    }
    if (this.#reader.heldBytes > 0) {
      throw new ProtocolError(`${this.#wire.peer}: bytes came unencrypted after TLS was agreed on`);
    }
    const name = tls.serverName ?? host ?? 'localhost';
    const settings: ConnectionOptions = {
      host: name,
      minVersion: 'TLSv1.2',
      ...(isIP(name) === 0 ? { servername: name } : {}),
      ...(tls.ca === undefined ? {} : { ca: tls.ca }),
      ...(tls.cert === undefined ? {} : { cert: tls.cert }),
      ...(tls.key === undefined ? {} : { key: tls.key }),
    };
    await this.#wire.secure((plain) => secureSocket(plain, settings));
  }

  /** Negotiates what can be negotiated and opens the export: the connection is in transmission then. */
  async go(wanted: HandshakeOptions): Promise<Negotiated> {
    const { exportName } = wanted;
    if (!this.#fixed) return await this.#exportName(exportName);
    const structured = (await this.#ask(nbd.NBD_OPT_STRUCTURED_REPLY)).type === nbd.NBD_REP_ACK;
    const contexts =
      structured && wanted.contexts.length > 0
        ? await this.#setContexts(exportName, wanted.contexts)
        : new Map<string, number>();
    const data = options.writeInfoRequest(exportName, [nbd.NBD_INFO_BLOCK_SIZE]);
    const info: Partial<options.ExportInfo> = {};
    const last = await this.#ask(nbd.NBD_OPT_GO, data, (reply) => {
      if (reply.type === nbd.NBD_REP_INFO) options.parseInfo(reply.data, info);
    });
    if (last.type === nbd.NBD_REP_ERR_UNSUP) {
      return { ...(await this.#exportName(exportName)), structured, contexts };
    }
    if (last.type !== nbd.NBD_REP_ACK) throw this.#refused(`opening the export "${exportName}"`, last);
    const { size, flags } = info;
    if (size === undefined || flags === undefined) {
      throw new ProtocolError(`${this.#wire.peer}: NBD_OPT_GO was granted without NBD_INFO_EXPORT`);
    }
    return { info: { ...info, size, flags }, structured, contexts };
  }

  /** The exports that the server is willing to name. */
  async list(): Promise<NbdExport[]> {
    if (!this.#fixed) {
      throw new PrimaError('unsupported', `${this.#wire.peer}: cannot list its exports (not fixed newstyle)`);
    }
    const exports: NbdExport[] = [];
    const last = await this.#ask(nbd.NBD_OPT_LIST, undefined, (reply) => {
      if (reply.type === nbd.NBD_REP_SERVER) exports.push(options.parseServer(reply.data));
    });
    if (last.type !== nbd.NBD_REP_ACK) throw this.#refused('listing the exports', last);
    this.#wire.write([options.writeOption(nbd.NBD_OPT_ABORT)]);
    return exports;
  }

  async #setContexts(exportName: string, wanted: readonly string[]): Promise<Map<string, number>> {
    const granted = new Map<string, number>();
    const data = options.writeContextRequest(exportName, wanted);
    const last = await this.#ask(nbd.NBD_OPT_SET_META_CONTEXT, data, (reply) => {
      if (reply.type !== nbd.NBD_REP_META_CONTEXT) return;
      const { id, name } = options.parseContext(reply.data);
      granted.set(name, id);
    });
    return last.type === nbd.NBD_REP_ACK ? granted : new Map();
  }

  /** The only way in before NBD_OPT_GO: the server closes the connection when it does not like the name. */
  async #exportName(name: string): Promise<Negotiated> {
    this.#wire.write([options.writeOption(nbd.NBD_OPT_EXPORT_NAME, Buffer.from(name, 'utf8'))]);
    let answer: Buffer;
    try {
      answer = await this.#reader.read(this.#noZeroes ? 10 : 134);
    } catch (error) {
      if (error instanceof RemoteError && error.code === 'remote') {
        throw new PrimaError('not-found', `${this.#wire.peer}: refused the export "${name}"`, {
          cause: error,
        });
      }
      throw error;
    }
    const size = nbd.safeNumber('export size', answer.readBigUInt64BE(0));
    return { info: { size, flags: answer.readUInt16BE(8) }, structured: false, contexts: new Map() };
  }

  /** Sends an option; gives every reply to `each` and returns the last one: an ACK or an error. */
  async #ask(
    option: number,
    data?: Uint8Array,
    each: (reply: Reply) => void = () => undefined,
  ): Promise<Reply> {
    this.#wire.write([options.writeOption(option, data)]);
    for (let count = 0; count < nbd.limits.optionReplies; count += 1) {
      const header = options.parseOptionReplyHeader(await this.#reader.read(options.optionReplyHeaderBytes));
      if (header.option !== option) {
        throw new ProtocolError(`${this.#wire.peer}: answered option ${header.option}, asked was ${option}`);
      }
      const reply = { type: header.type, data: await this.#reader.read(header.length) };
      if (reply.type === nbd.NBD_REP_ACK || reply.type >= nbd.NBD_REP_FLAG_ERROR) return reply;
      each(reply);
    }
    throw new ProtocolError(
      `${this.#wire.peer}: more than ${nbd.limits.optionReplies} replies to option ${option}`,
    );
  }

  #refused(doing: string, reply: Reply): PrimaError {
    const codes: Partial<Record<number, ErrorCode>> = {
      [nbd.NBD_REP_ERR_UNKNOWN]: 'not-found',
      [nbd.NBD_REP_ERR_POLICY]: 'permission',
      [nbd.NBD_REP_ERR_TLS_REQD]: 'permission',
      [nbd.NBD_REP_ERR_UNSUP]: 'unsupported',
    };
    const advice = reply.type === nbd.NBD_REP_ERR_TLS_REQD ? '; it wants TLS' : '';
    const message = `${this.#wire.peer}: refused ${doing}${said(reply)}${advice}`;
    return new PrimaError(codes[reply.type] ?? 'remote', message);
  }
}

/** Resolves when the server's certificate has been checked. */
async function secureSocket(plain: Socket, settings: ConnectionOptions): Promise<TLSSocket> {
  const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>();
  const socket = connectTls({ ...settings, socket: plain });
  socket.once('secureConnect', () => resolve(socket));
  socket.once('error', (error) => {
    reject(
      new PrimaError('permission', `TLS with the NBD server failed: ${error.message}`, { cause: error }),
    );
  });
  return await promise;
}

function said(reply: Reply): string {
  const number = `error ${reply.type - nbd.NBD_REP_FLAG_ERROR}`;
  const text = reply.data.toString('utf8', 0, Math.min(reply.data.length, nbd.limits.stringBytes));
  return text === '' ? ` (${number})` : ` (${number}: "${text}")`;
}
