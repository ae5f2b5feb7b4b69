/** A device that fails and dawdles as a test wants it to. */
import {
  type Clock,
  type Random,
  StorageError,
  systemClock,
  throwIfAborted,
  toPrimaError,
} from '@prima/base';
import type { BlockDevice } from './device.ts';
import { filterDevice, type Wrapped } from './filter-device.ts';

export type DeviceOperation = 'extents' | 'read' | 'write' | 'zero' | 'flush';

/** One call of a device. `offset` and `length` are 0 for a flush. */
export interface DeviceCall {
  operation: DeviceOperation;
  offset: number;
  length: number;
  /** 0 for the first call of the device, 1 for the second … */
  index: number;
}

export interface DeviceFaults {
  /** Decides what `errorRate` and `delayMs` leave to chance. */
  random: Random;
  /** Share of the calls that fail, 0 … 1. Default 0. */
  errorRate?: number;
  /** Each call waits for up to this long. Default 0. */
  delayMs?: number;
  /** Calls that fail whatever the chance: `true`, or the error to raise. */
  failAt?: (call: DeviceCall) => boolean | Error;
  clock?: Clock;
}

/** `device` with faults. A call that fails has not reached `device`. Closing it closes `device` and never fails. */
export function faultyDevice<D extends BlockDevice>(device: D, faults: DeviceFaults): Wrapped<D> {
  const { random, errorRate = 0, delayMs = 0, failAt, clock = systemClock } = faults;
  const inner: BlockDevice = device;
  let calls = 0;
  const before = async (call: Omit<DeviceCall, 'index'>, signal?: AbortSignal): Promise<void> => {
    const index = calls;
    calls += 1;
    const chosen = failAt?.({ ...call, index }) ?? false;
    const failing = random.uint32() / 2 ** 32 < errorRate || chosen !== false;
    const doing = `a faulty device's ${call.operation}`;
    throwIfAborted(signal, doing);
    if (delayMs > 0) {
      await clock.sleep((random.uint32() / 2 ** 32) * delayMs, signal).catch((error: unknown) => {
        throw toPrimaError(error, doing);
      });
    }
    if (chosen instanceof Error) throw chosen;
    if (failing) {
      throw new StorageError('io', `injected fault: ${call.operation} at ${call.offset}`, {
        details: { ...call },
      });
    }
  };
  return filterDevice(device, {
    extents: async function* (range, options) {
      await before({ operation: 'extents', ...range }, options?.signal);
      yield* inner.extents(range, options);
    },
    read: async (offset, into, signal) => {
      await before({ operation: 'read', offset, length: into.length }, signal);
      await inner.read(offset, into, signal);
    },
    write: async (offset, from, signal) => {
      await before({ operation: 'write', offset, length: from.length }, signal);
      await inner.write?.(offset, from, signal);
    },
    zero: async (range, signal) => {
      await before({ operation: 'zero', ...range }, signal);
      await inner.zero?.(range, signal);
    },
    flush: async () => {
      await before({ operation: 'flush', offset: 0, length: 0 });
      await inner.flush?.();
    },
  });
}
