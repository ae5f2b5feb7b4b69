/** A source's disk, whose failures name the source: so that they are never taken for the repository's. */
import { PrimaError, toPrimaError } from '@prima/base';
import type { BlockDevice, Extent } from '@prima/block';

/** Failures that say enough about the source as they are. */
const plain: ReadonlySet<string> = new Set([
  'cancelled',
  'source-changed',
  'timeout',
  'internal',
  'integrity',
]);

/**
 * `device`, with every failure of reading turned into `source-changed`, unless it is a cancellation, a
 * deadline or the like. Closing it closes `device`.
 * @param what for messages: "disk0 of web01"
 */
export function sourceDevice(device: BlockDevice, what: string): BlockDevice {
  const failed = (error: unknown, doing: string): PrimaError => {
    const found = toPrimaError(error, doing);
    if (plain.has(found.code)) return found;
    return new PrimaError('source-changed', `${doing} failed, nothing was committed: ${found.message}`, {
      cause: error,
      details: { ...found.details, source: what, sourceError: found.code },
    });
  };
  return {
    size: device.size,
    blockSize: device.blockSize,
    extents: (range, options) => guardedExtents(device.extents(range, options), what, failed),
    read: async (offset, into, signal) => {
      try {
        await device.read(offset, into, signal);
      } catch (error) {
        throw failed(error, `reading ${what} at ${offset}`);
      }
    },
    close: () => device.close(),
  };
}

async function* guardedExtents(
  extents: AsyncIterable<Extent>,
  what: string,
  failed: (error: unknown, doing: string) => PrimaError,
): AsyncIterable<Extent> {
  const iterator = extents[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await iterator.next().catch((error: unknown) => {
        throw failed(error, `asking what is where on ${what}`);
      });
      if (next.done) return;
      yield next.value;
    }
  } finally {
    await iterator.return?.();
  }
}
