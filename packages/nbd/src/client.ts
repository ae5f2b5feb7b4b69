/** Opens an export of an NBD server as a BlockDevice. */
import { MiB, PrimaError, throwIfAborted, toPrimaError, withDeadline } from '@prima/base';
import { ByteReader } from './byte-reader.ts';
import { NbdConnection } from './connection.ts';
import { NbdDevice, WritableNbdDevice } from './device.ts';
import { Handshake, type NbdExport, type NbdTls } from './handshake.ts';
import * as nbd from './protocol.ts';
import type { GateLimits } from './request-gate.ts';
import { checkExportName } from './uri.ts';
import { describeTarget, type NbdTarget, Wire } from './wire.ts';

export interface NbdOptions {
  /** Default: the empty name, which is the server's default export. */
  exportName?: string;
  /** Encrypt; the server must offer it. */
  tls?: NbdTls;
  /**
   * Connections to open, 1 to 16; fewer when the server does not take as many. Default 4. Always 1 where
   * the server does not say that several see the same.
   */
  connections?: number;
  /** Meta contexts to ask for besides `base:allocation`: `qemu:dirty-bitmap:NAME`, `qemu:allocation-depth`. */
  contexts?: readonly string[];
  /** Open for writing; raises `permission` when the server exports it read-only. */
  writable?: boolean;
  /** A connection fails when the server is silent for this long while a request waits. Default 60 s. */
  requestTimeoutMs?: number;
  /** For connecting and the handshake together. Default 15 s. */
  connectTimeoutMs?: number;
  /** Gives up connecting; has no meaning once the device is open. */
  signal?: AbortSignal;
}

const mostConnections = 16;
const moreTimeoutMs = 1000;

/**
 * What each connection has under way. Locally a few requests keep a server busy, and more only push each
 * other out of its processor's cache (measured: bench/nbd.ts); over a network they fill the line.
 */
function inFlight(target: NbdTarget): GateLimits {
  return { count: 16, bytes: 'socketPath' in target ? 2 * MiB : 8 * MiB };
}

/**
 * Connects to `target` and opens an export. Raises `not-found` (no such socket or export), `permission`,
 * `unsupported` (no TLS, an odd size), `protocol`, `timeout`, `remote`, `cancelled`.
 */
export async function connectNbd(
  target: NbdTarget,
  options: NbdOptions & { writable: true },
): Promise<WritableNbdDevice>;
export async function connectNbd(target: NbdTarget, options?: NbdOptions): Promise<NbdDevice>;
export async function connectNbd(target: NbdTarget, options: NbdOptions = {}): Promise<NbdDevice> {
  const { exportName = '', connections: wanted, connectTimeoutMs = 15_000 } = options;
  checkExportName(exportName);
  const name = exportName === '' ? describeTarget(target) : `"${exportName}" of ${describeTarget(target)}`;
  const opened: NbdConnection[] = [];
  const open = async (signal: AbortSignal) => {
    const connection = await openConnection(target, { ...options, exportName, signal });
    opened.push(connection);
    if (signal.aborted) connection.destroy(toPrimaError(signal.reason, `connecting to ${name}`));
  };
  const task = async (signal: AbortSignal) => {
    await open(signal);
    const several = checkExport(name, opened, options.writable ?? false);
    const count = several ? Math.min(wanted ?? 4, mostConnections) : 1;
    await openMore(opened, count, (until) => open(AbortSignal.any([signal, until])));
    throwIfAborted(signal, `connecting to ${name}`);
    sameExport(name, opened);
    const [first] = opened;
    if (first?.failure) throw first.failure;
    const usable = opened.filter((connection) => connection.failure === undefined);
    return options.writable ? new WritableNbdDevice(name, usable) : new NbdDevice(name, usable);
  };
  try {
    return await withDeadline(connectTimeoutMs, `connecting to ${name}`, task, options.signal);
  } catch (error) {
    const failure = toPrimaError(error, `connecting to ${name}`);
    for (const connection of opened) connection.destroy(failure);
    throw failure;
  }
}

/**
 * Opens connections until there are `count`. A server may allow several and take fewer (qemu-nbd
 * --shared leaves the others waiting): those that are not open soon are done without.
 */
async function openMore(
  opened: readonly NbdConnection[],
  count: number,
  open: (until: AbortSignal) => Promise<void>,
): Promise<void> {
  if (opened.length >= count) return;
  const until = AbortSignal.timeout(moreTimeoutMs);
  await Promise.allSettled(Array.from({ length: count - opened.length }, () => open(until)));
}

/** The exports that a server names; many servers name none though they have some. */
export async function listNbdExports(
  target: NbdTarget,
  options: Pick<NbdOptions, 'tls' | 'connectTimeoutMs' | 'signal'> = {},
): Promise<NbdExport[]> {
  const { connectTimeoutMs = 15_000, tls } = options;
  const doing = `listing the exports of ${describeTarget(target)}`;
  const task = async (signal: AbortSignal) =>
    await overWire(target, { tls, signal }, async (wire, reader) => {
      const handshake = new Handshake(wire, reader);
      await handshake.begin(tls, hostOf(target));
      const exports = await handshake.list();
      await wire.end(new PrimaError('cancelled', doing), 1000);
      return exports;
    });
  return await withDeadline(connectTimeoutMs, doing, task, options.signal);
}

type ConnectOptions = NbdOptions & { exportName: string; signal: AbortSignal };

async function openConnection(target: NbdTarget, options: ConnectOptions): Promise<NbdConnection> {
  const { exportName, tls, signal, requestTimeoutMs = 60_000 } = options;
  return await overWire(target, { tls, signal }, async (wire, reader) => {
    const handshake = new Handshake(wire, reader);
    await handshake.begin(tls, hostOf(target));
    const contexts = [...new Set([nbd.baseAllocation, ...(options.contexts ?? [])])];
    const negotiated = await handshake.go({ exportName, contexts });
    return new NbdConnection(wire, reader, negotiated, {
      requestTimeoutMs,
      inFlight: inFlight(target),
    });
  });
}

/** Connects and runs `task`; the connection is closed when that fails or the signal is aborted meanwhile. */
async function overWire<T>(
  target: NbdTarget,
  options: { tls: NbdTls | undefined; signal: AbortSignal },
  task: (wire: Wire, reader: ByteReader) => Promise<T>,
): Promise<T> {
  const { tls, signal } = options;
  const doing = `connecting to ${describeTarget(target)}`;
  throwIfAborted(signal, doing);
  const reader = new ByteReader();
  const wire = Wire.connect(target, reader, { buffered: tls !== undefined });
  const onAbort = () => wire.destroy(toPrimaError(signal.reason, doing));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await wire.opened();
    const result = await task(wire, reader);
    throwIfAborted(signal, doing);
    return result;
  } catch (error) {
    const failure = toPrimaError(error, doing);
    wire.destroy(failure);
    throw failure;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Raises when the export cannot be used; answers whether it may be opened several times. */
function checkExport(name: string, [connection]: readonly NbdConnection[], writable: boolean): boolean {
  const { size, flags } = connection?.negotiated.info ?? { size: 0, flags: 0 };
  if (size % 512 !== 0) {
    throw new PrimaError('unsupported', `${name}: has ${size} bytes; a disk has a multiple of 512`);
  }
  if (writable && (flags & nbd.NBD_FLAG_READ_ONLY) !== 0) {
    throw new PrimaError('permission', `${name}: is exported read-only and cannot be opened for writing`);
  }
  return (flags & nbd.NBD_FLAG_CAN_MULTI_CONN) !== 0;
}

function sameExport(name: string, connections: readonly NbdConnection[]): void {
  const sizes = new Set(connections.map((connection) => connection.negotiated.info.size));
  if (sizes.size > 1) {
    throw new PrimaError(
      'source-changed',
      `${name}: has another size on each connection: ${[...sizes].join(', ')}`,
    );
  }
}

function hostOf(target: NbdTarget): string | undefined {
  return 'host' in target ? target.host : undefined;
}
