/** The server's side of the fixed newstyle handshake with one client. */
import type { Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { MiB, PrimaError, ProtocolError } from '@prima/base';
import type { BlockDevice } from '@prima/block';
import type { ByteReader } from './byte-reader.ts';
import * as options from './options.ts';
import * as nbd from './protocol.ts';
import type { Wire } from './wire.ts';

/** A device under a name. */
export interface NbdServerExport {
  /** At most 4096 bytes; the empty name is the default export. */
  name: string;
  device: BlockDevice;
  description?: string;
  /** Default false: clients see a read-only disk whatever the device can. */
  writable?: boolean;
}

/** Certificates and keys are PEM text. */
export interface NbdServerTls {
  cert: string | Buffer;
  key: string | Buffer;
  /** When given, clients must show a certificate signed by it. */
  ca?: string | Buffer;
}

/** What a client and the server agreed on. */
export interface Session {
  export: NbdServerExport;
  structured: boolean;
  /** The client asked for `base:allocation`. */
  allocation: boolean;
}

/** The id of `base:allocation` in our replies. */
export const allocationContext = 1;

/** A server's block sizes: any alignment, payloads up to 32 MiB. */
function blockSizes(device: BlockDevice): options.BlockSizes {
  const preferred = Math.min(Math.max(device.blockSize, 512), 1 * MiB);
  return { minimum: 1, preferred, maximum: nbd.limits.payloadBytes };
}

/** Flags that tell a client what the export can do. */
function transmissionFlags(entry: NbdServerExport): number {
  const always = nbd.NBD_FLAG_HAS_FLAGS | nbd.NBD_FLAG_CAN_MULTI_CONN | nbd.NBD_FLAG_SEND_CACHE;
  if (!entry.writable) return always | nbd.NBD_FLAG_READ_ONLY;
  const writing = nbd.NBD_FLAG_SEND_FUA | nbd.NBD_FLAG_SEND_TRIM | nbd.NBD_FLAG_SEND_WRITE_ZEROES;
  return always | nbd.NBD_FLAG_SEND_FLUSH | writing;
}

/** Most options in one handshake: no client of good will sends as many. */
const optionLimit = 1000;

export class ServerHandshake {
  readonly #wire: Wire;
  readonly #reader: ByteReader;
  readonly #exports: readonly NbdServerExport[];
  readonly #tls: NbdServerTls | undefined;
  #secured = false;
  #structured = false;
  #noZeroes = false;
  /** The name that `base:allocation` was granted for. */
  #allocationFor: string | undefined;
  #session: Session | undefined;

  constructor(
    wire: Wire,
    reader: ByteReader,
    offers: { exports: readonly NbdServerExport[]; tls: NbdServerTls | undefined },
  ) {
    this.#wire = wire;
    this.#reader = reader;
    this.#exports = offers.exports;
    this.#tls = offers.tls;
  }

  /** Talks until the client opens an export; undefined when it leaves instead. */
  async run(): Promise<Session | undefined> {
    const greeting = Buffer.alloc(18);
    greeting.writeBigUInt64BE(nbd.NBDMAGIC, 0);
    greeting.writeBigUInt64BE(nbd.IHAVEOPT, 8);
    greeting.writeUInt16BE(nbd.NBD_FLAG_FIXED_NEWSTYLE | nbd.NBD_FLAG_NO_ZEROES, 16);
    this.#wire.write([greeting]);
    const flags = (await this.#reader.read(4)).readUInt32BE(0);
    if ((flags & ~(nbd.NBD_FLAG_FIXED_NEWSTYLE | nbd.NBD_FLAG_NO_ZEROES)) !== 0) {
      throw new ProtocolError(`NBD client: handshake flags 0x${flags.toString(16)} are not known`);
    }
    this.#noZeroes = (flags & nbd.NBD_FLAG_NO_ZEROES) !== 0;
    for (let count = 0; count < optionLimit; count += 1) {
      const { option, length } = options.parseOptionHeader(
        await this.#reader.read(options.optionHeaderBytes),
      );
      if (length > nbd.limits.optionBytes) {
        throw new ProtocolError(`NBD client: option ${option} has ${length} bytes; at most 65536 wanted`);
      }
      const data = await this.#reader.read(length);
      if (option === nbd.NBD_OPT_ABORT) {
        this.#reply(option, nbd.NBD_REP_ACK);
        return undefined;
      }
      await this.#answer(option, data);
      if (this.#session) return this.#session;
    }
    throw new ProtocolError(`NBD client: sent more than ${optionLimit} options`);
  }

  async #answer(option: number, data: Buffer): Promise<void> {
    if (this.#tls && !this.#secured && option !== nbd.NBD_OPT_STARTTLS) {
      if (option === nbd.NBD_OPT_EXPORT_NAME) throw new ProtocolError('NBD client: began without TLS');
      this.#reply(option, nbd.NBD_REP_ERR_TLS_REQD, Buffer.from('this server wants TLS'));
      return;
    }
    try {
      await this.#negotiate(option, data);
    } catch (error) {
      // a malformed option is answered and the handshake goes on; an export name has no error answer
      if (!(error instanceof ProtocolError) || option === nbd.NBD_OPT_EXPORT_NAME) throw error;
      this.#reply(option, nbd.NBD_REP_ERR_INVALID, Buffer.from(error.message));
    }
  }

  async #negotiate(option: number, data: Buffer): Promise<void> {
    switch (option) {
      case nbd.NBD_OPT_STARTTLS:
        return await this.#startTls(data);
      case nbd.NBD_OPT_LIST:
        return this.#list(data);
      case nbd.NBD_OPT_STRUCTURED_REPLY:
        this.#expectEmpty(option, data);
        this.#structured = true;
        return this.#reply(option, nbd.NBD_REP_ACK);
      case nbd.NBD_OPT_LIST_META_CONTEXT:
      case nbd.NBD_OPT_SET_META_CONTEXT:
        return this.#contexts(option, data);
      case nbd.NBD_OPT_INFO:
      case nbd.NBD_OPT_GO:
        return this.#go(option, data);
      case nbd.NBD_OPT_EXPORT_NAME:
        return this.#exportName(data);
      default:
        this.#reply(option, nbd.NBD_REP_ERR_UNSUP);
    }
  }

  async #startTls(data: Buffer): Promise<void> {
    const option = nbd.NBD_OPT_STARTTLS;
    this.#expectEmpty(option, data);
    const tls = this.#tls;
    if (!tls || this.#secured) {
      const type = tls ? nbd.NBD_REP_ERR_INVALID : nbd.NBD_REP_ERR_UNSUP;
      return this.#reply(option, type, Buffer.from(tls ? 'TLS is on already' : 'this server has no TLS'));
    }
    if (this.#reader.heldBytes > 0) {
      throw new PrimaError('protocol', 'NBD client: sent bytes unencrypted after it asked for TLS');
    }
    this.#reply(option, nbd.NBD_REP_ACK);
    await this.#wire.secure((plain) => acceptTls(plain, tls));
    this.#secured = true;
    this.#structured = false;
    this.#allocationFor = undefined;
  }

  #list(data: Buffer): void {
    this.#expectEmpty(nbd.NBD_OPT_LIST, data);
    for (const { name, description } of this.#exports) {
      this.#reply(nbd.NBD_OPT_LIST, nbd.NBD_REP_SERVER, options.writeServer(name, description));
    }
    this.#reply(nbd.NBD_OPT_LIST, nbd.NBD_REP_ACK);
  }

  #contexts(option: number, data: Buffer): void {
    const { name, queries } = options.parseContextRequest(data);
    if (!this.#structured) throw new ProtocolError('contexts need structured replies first');
    const setting = option === nbd.NBD_OPT_SET_META_CONTEXT;
    if (setting) this.#allocationFor = undefined;
    if (!this.#find(name)) return this.#unknown(option, name);
    const listed = !setting && (queries.length === 0 || queries.includes('base:'));
    if (listed || queries.includes(nbd.baseAllocation)) {
      if (setting) this.#allocationFor = name;
      const context = options.writeContext(setting ? allocationContext : 0, nbd.baseAllocation);
      this.#reply(option, nbd.NBD_REP_META_CONTEXT, context);
    }
    this.#reply(option, nbd.NBD_REP_ACK);
  }

  #go(option: number, data: Buffer): void {
    const { name, requests } = options.parseInfoRequest(data);
    const found = this.#find(name);
    if (!found) return this.#unknown(option, name);
    const { device } = found;
    const info = (bytes: Buffer) => this.#reply(option, nbd.NBD_REP_INFO, bytes);
    info(options.writeExportInfo(device.size, transmissionFlags(found)));
    if (requests.includes(nbd.NBD_INFO_NAME)) info(options.writeTextInfo(nbd.NBD_INFO_NAME, found.name));
    if (requests.includes(nbd.NBD_INFO_DESCRIPTION) && found.description !== undefined) {
      info(options.writeTextInfo(nbd.NBD_INFO_DESCRIPTION, found.description));
    }
    info(options.writeBlockSizeInfo(blockSizes(device)));
    this.#reply(option, nbd.NBD_REP_ACK);
    if (option === nbd.NBD_OPT_GO) this.#open(found, name);
  }

  #exportName(data: Buffer): void {
    const name = new options.FieldReader('NBD_OPT_EXPORT_NAME', data).text();
    const found = this.#find(name);
    if (!found) throw new ProtocolError(`NBD client: asked for the export "${name}", which is not there`);
    const answer = Buffer.alloc(this.#noZeroes ? 10 : 134);
    answer.writeBigUInt64BE(BigInt(found.device.size), 0);
    answer.writeUInt16BE(transmissionFlags(found), 8);
    this.#wire.write([answer]);
    this.#open(found, name);
  }

  #open(found: NbdServerExport, name: string): void {
    const allocation = this.#allocationFor === name;
    this.#session = { export: found, structured: this.#structured, allocation };
  }

  /** By name; the empty name also means the only export there is. */
  #find(name: string): NbdServerExport | undefined {
    const found = this.#exports.find((entry) => entry.name === name);
    return found ?? (name === '' && this.#exports.length === 1 ? this.#exports[0] : undefined);
  }

  #unknown(option: number, name: string): void {
    this.#reply(option, nbd.NBD_REP_ERR_UNKNOWN, Buffer.from(`there is no export "${name}"`));
  }

  #expectEmpty(option: number, data: Buffer): void {
    if (data.length > 0) throw new ProtocolError(`option ${option} has ${data.length} bytes, 0 wanted`);
  }

  #reply(option: number, type: number, data?: Uint8Array): void {
    this.#wire.write([
      options.writeOptionReply(option, type, data?.subarray(0, nbd.limits.optionReplyBytes)),
    ]);
  }
}

/** Resolves when the client's side of TLS is done, its certificate checked where one is wanted. */
async function acceptTls(plain: Socket, tls: NbdServerTls): Promise<TLSSocket> {
  const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>();
  const mutual = tls.ca !== undefined;
  const server = createTlsServer({
    ...tls,
    minVersion: 'TLSv1.2',
    requestCert: mutual,
    rejectUnauthorized: mutual,
  });
  server.once('secureConnection', resolve);
  server.once('tlsClientError', (error) => {
    reject(new ProtocolError(`NBD client: TLS failed: ${error.message}`, { cause: error }));
  });
  server.emit('connection', plain);
  return await promise;
}
