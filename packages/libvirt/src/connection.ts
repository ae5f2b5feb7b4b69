/** A connection to a libvirt daemon that is open: calls, streams and events by their names. */
import type { Duplex } from 'node:stream';
import type { Logger, PrimaError } from '@prima/base';
import { type DomainEvent, domainEvents, eventCalls, monitorEvent } from './calls/events.ts';
import type { Procedure } from './calls/procedure.ts';
import { type CallArgs, type CallName, type CallReply, calls, type StreamCallName } from './calls/table.ts';
import type { Domain } from './calls/types.ts';
import { EventHub, type Listener, type Subscription } from './events.ts';
import type { CallOptions, RpcConnection } from './rpc.ts';
import type { RpcStream } from './stream.ts';
import type { TlsPeer } from './transport/tls.ts';
import type { Transport } from './transport/transport.ts';
import type { Read } from './xdr.ts';

export type DomainEventName = keyof typeof domainEvents;
export type DomainEventMessage<N extends DomainEventName> =
  (typeof domainEvents)[N] extends DomainEvent<infer Message> ? Message : never;
export type MonitorEventMessage = Omit<Read<typeof monitorEvent.message>, 'callbackId'>;

export interface SubscribeOptions extends CallOptions {
  /** Only of this machine; else of all. */
  dom?: Domain;
}

export interface MonitorSubscribeOptions extends SubscribeOptions {
  /** The event's name, or what the flags make of it; else all. */
  event?: string;
  /** `MonitorEventFlags` */
  flags?: number;
}

export class LibvirtConnection {
  /** The address, for messages: without parameters. */
  readonly uri: string;
  readonly #rpc: RpcConnection;
  readonly #events: EventHub;
  readonly #transport: Transport;

  constructor(rpc: RpcConnection, options: { uri: string; logger: Logger; transport: Transport }) {
    this.uri = options.uri;
    this.#rpc = rpc;
    this.#events = new EventHub(rpc, options.logger);
    this.#transport = options.transport;
  }

  /** Why it is over, or undefined while it lives. A connection that was lost is not made again: connect anew. */
  get failure(): PrimaError | undefined {
    return this.#rpc.failure;
  }

  /** How the daemon's host was reached, where that is TLS. */
  get tlsPeer(): TlsPeer | undefined {
    return this.#transport.peer;
  }

  /** Calls `listener` once when the connection is over, also by `close`. The result takes it away again. */
  onEnd(listener: (error: PrimaError) => void): () => void {
    return this.#rpc.onEnd(listener);
  }

  /**
   * Calls the daemon. Raises what it refuses as `LibvirtError`, `remote` (retryable) when the connection is or gets lost,
   * `timeout` (default 60 s, waiting for its turn included), `cancelled`; after the last two the daemon may still carry it
   * out. At most four calls are with the daemon at once, so four that hang stop the others.
   */
  async call<N extends CallName>(
    name: N,
    args: CallArgs<N>,
    options: CallOptions = {},
  ): Promise<CallReply<N>> {
    const procedure = calls[name] as Procedure<CallArgs<N>, CallReply<N>>;
    return await this.#rpc.call({ name, procedure, args }, options);
  }

  /** Opens a stream: `storageVolDownload`, `domainScreenshot`, `domainOpenConsole` … Raises as `call` does. */
  async openStream<N extends StreamCallName>(
    name: N,
    args: CallArgs<N>,
    options: CallOptions = {},
  ): Promise<RpcStream<CallReply<N>>> {
    const procedure = calls[name] as Procedure<CallArgs<N>, CallReply<N>>;
    return await this.#rpc.openStream({ name, procedure, args }, options);
  }

  /**
   * Listens to an event of machines until the subscription is closed or the connection ends. Raises as `call` does. The
   * listener must not raise; it may be called before the promise resolves.
   */
  async on<N extends DomainEventName>(
    name: N,
    listener: Listener<DomainEventMessage<N>>,
    options: SubscribeOptions = {},
  ): Promise<Subscription> {
    const event = domainEvents[name] as DomainEvent<DomainEventMessage<N>>;
    const register = 'connectDomainEventCallbackRegisterAny';
    const args = { eventId: event.id, dom: options.dom };
    const registration = { name: register, procedure: eventCalls[register], args };
    const deregistration = 'connectDomainEventCallbackDeregisterAny';
    return await this.#events.subscribe({ event, registration, deregistration }, listener, options);
  }

  /** The same for events of QEMU's monitor, which libvirt passes on as they are. */
  async onMonitorEvent(
    listener: Listener<MonitorEventMessage>,
    options: MonitorSubscribeOptions = {},
  ): Promise<Subscription> {
    const register = 'connectDomainMonitorEventRegister';
    const { dom, event, flags } = options;
    const registration = { name: register, procedure: eventCalls[register], args: { dom, event, flags } };
    const deregistration = 'connectDomainMonitorEventDeregister';
    return await this.#events.subscribe(
      { event: monitorEvent, registration, deregistration },
      listener,
      options,
    );
  }

  /**
   * A connection of its own to another unix socket of the daemon's host: directly where that is this machine, through the
   * SSH connection where there is one. It lives until `close`, even when the daemon's own is lost. Raises `unsupported` elsewhere,
   * `remote` where nobody listens.
   */
  async openUnix(path: string, options: CallOptions = {}): Promise<Duplex> {
    return await this.#transport.openUnix(path, options);
  }

  /**
   * Ends the connection, and what `openUnix` has given where that goes through it; what still waits raises `remote`. Also to be
   * called when the connection was lost. May be called again.
   */
  async close(): Promise<void> {
    await this.#rpc.close();
    this.#transport.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
