/** Events of machines: each listener is registered with the daemon, which gives it a number that comes with its events. */
import type { Logger } from '@prima/base';
import { eventCalls, type EventMessage } from './calls/events.ts';
import type { CallOptions, NamedCall, RpcConnection } from './rpc.ts';
import { decode } from './xdr.ts';

export interface Subscription {
  /** No more events come after this. Raises as calls do, but not when the connection is over. May be called again. */
  close(options?: CallOptions): Promise<void>;
}

/** Must not raise. */
export type Listener<Message> = (message: Message) => void;

/** An event, and the calls that ask for it and no longer for it. */
export interface EventKind<Args, Message> {
  event: EventMessage<Message>;
  registration: NamedCall<Args, { callbackId: number }>;
  deregistration: 'connectDomainEventCallbackDeregisterAny' | 'connectDomainMonitorEventDeregister';
}

export class EventHub {
  readonly #rpc: RpcConnection;
  readonly #logger: Logger;
  /** By program and callback: the daemon counts for each program. */
  readonly #listeners = new Map<string, (payload: Buffer) => void>();

  constructor(rpc: RpcConnection, logger: Logger) {
    this.#rpc = rpc;
    this.#logger = logger;
  }

  /** Raises as calls do. The listener may be called before the promise resolves. */
  async subscribe<Args, Message>(
    kind: EventKind<Args, Message>,
    listener: Listener<Message>,
    options: CallOptions = {},
  ): Promise<Subscription> {
    const { event, registration, deregistration } = kind;
    const { program, number } = event;
    this.#rpc.onEvent(program, number, (payload) => this.#tell(program, payload));
    let key = '';
    let isWanted = true;
    const deregister = async (callbackId: number, closing: CallOptions = {}) => {
      this.#listeners.delete(key);
      if (this.#rpc.failure) return;
      const procedure = eventCalls[deregistration];
      await this.#rpc.call({ name: deregistration, procedure, args: { callbackId } }, closing);
    };
    try {
      const { callbackId } = await this.#rpc.call(registration, options, (reply) => {
        key = `${program} ${reply.callbackId}`;
        if (isWanted) this.#listeners.set(key, (payload) => listener(decode(event.message, payload)));
        // answered after the deadline
        else void deregister(reply.callbackId).catch((error: unknown) => this.#logger.debug(String(error)));
      });
      let isClosed = false;
      const close = async (closing?: CallOptions) => {
        if (isClosed) return;
        isClosed = true;
        await deregister(callbackId, closing);
      };
      return { close };
    } catch (error) {
      isWanted = false;
      throw error;
    }
  }

  /** All messages of events begin with the callback's number. */
  #tell(program: number, payload: Buffer): void {
    if (payload.length < 4) return;
    this.#listeners.get(`${program} ${payload.readInt32BE(0)}`)?.(payload);
  }
}
