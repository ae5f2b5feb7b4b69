/** What the daemon tells of machines by itself, once it is asked to. */
import {
  type Codec,
  type Fields,
  int32,
  optional,
  type ReadFields,
  safeInt64,
  safeUint64,
  struct,
  uint32,
} from '../xdr.ts';
import { programs, qemu, remote } from './procedure.ts';
import { domain, flags, optionalText, text, typedParams } from './types.ts';

export interface EventMessage<Message> {
  readonly program: number;
  /** Of the message that brings it. */
  readonly number: number;
  readonly message: Codec<Message & { callbackId: number }, never>;
}

export interface DomainEvent<Message> extends EventMessage<Message> {
  /** virDomainEventID. */
  readonly id: number;
}

interface EventNumbers {
  id: number;
  number: number;
}

function domainEvent<F extends Fields>(numbers: EventNumbers, fields: F): DomainEvent<ReadFields<F>> {
  const message = struct({ callbackId: int32, ...fields }) as Codec<
    ReadFields<F> & { callbackId: number },
    never
  >;
  return { ...numbers, program: programs.remote, message };
}

export const domainEvents = {
  /** `event` is one of `DomainEventType`; what `detail` means depends on it. */
  lifecycle: domainEvent({ id: 0, number: 318 }, { dom: domain, event: int32, detail: int32 }),
  reboot: domainEvent({ id: 1, number: 319 }, { dom: domain }),
  ioError: domainEvent(
    { id: 4, number: 322 },
    { dom: domain, sourcePath: text, deviceAlias: text, action: int32 },
  ),
  ioErrorReason: domainEvent(
    { id: 6, number: 324 },
    { dom: domain, sourcePath: text, deviceAlias: text, action: int32, reason: text },
  ),
  controlError: domainEvent({ id: 7, number: 325 }, { dom: domain }),
  diskChange: domainEvent(
    { id: 9, number: 327 },
    { dom: domain, oldSource: optionalText, newSource: optionalText, deviceAlias: text, reason: int32 },
  ),
  trayChange: domainEvent({ id: 10, number: 328 }, { dom: domain, deviceAlias: text, reason: int32 }),
  deviceRemoved: domainEvent({ id: 15, number: 333 }, { dom: domain, deviceAlias: text }),
  /** `disk` is the target (`vda`). */
  blockJob2: domainEvent({ id: 16, number: 339 }, { dom: domain, disk: text, type: int32, status: int32 }),
  tunable: domainEvent({ id: 17, number: 346 }, { dom: domain, params: typedParams(2048) }),
  agentLifecycle: domainEvent({ id: 18, number: 348 }, { dom: domain, state: int32, reason: int32 }),
  deviceAdded: domainEvent({ id: 19, number: 354 }, { dom: domain, deviceAlias: text }),
  jobCompleted: domainEvent({ id: 21, number: 363 }, { dom: domain, params: typedParams(64) }),
  deviceRemovalFailed: domainEvent({ id: 22, number: 367 }, { dom: domain, deviceAlias: text }),
  metadataChange: domainEvent({ id: 23, number: 379 }, { dom: domain, type: int32, uri: optionalText }),
  blockThreshold: domainEvent(
    { id: 24, number: 385 },
    { dom: domain, device: text, path: optionalText, threshold: safeUint64, excess: safeUint64 },
  ),
};

export const eventCalls = {
  connectDomainEventCallbackRegisterAny: remote(
    316,
    { eventId: int32, dom: optional(domain) },
    { callbackId: int32 },
  ),
  connectDomainEventCallbackDeregisterAny: remote(317, { callbackId: int32 }, {}),
  connectDomainMonitorEventRegister: qemu(
    4,
    { dom: optional(domain), event: optionalText, flags },
    { callbackId: int32 },
  ),
  connectDomainMonitorEventDeregister: qemu(5, { callbackId: int32 }, {}),
};

const monitorEventFields = {
  dom: domain,
  event: text,
  seconds: safeInt64,
  micros: uint32,
  /** The event's `data` as QMP's JSON. */
  details: optionalText,
};

/** An event of QEMU's own, as its monitor tells it. */
export const monitorEvent: EventMessage<ReadFields<typeof monitorEventFields>> = {
  program: programs.qemu,
  number: 6,
  message: struct({ callbackId: int32, ...monitorEventFields }),
};
