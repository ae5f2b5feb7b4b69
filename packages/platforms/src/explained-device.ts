/** A disk of a backup that is under way: an NBD device whose failures are explained. */
import { PrimaError, toPrimaError } from '@prima/base';
import { type BlockDevice, type Extent, type ExtentOptions, filterDevice, type Range } from '@prima/block';

/**
 * `device`, whose errors are replaced by what `explain` knows of them.
 * @param explain gives the reason behind a failed read, or undefined
 */
export function explainedDevice(
  device: BlockDevice,
  explain: (failure: PrimaError) => Promise<PrimaError | undefined>,
): BlockDevice {
  const explained = async (error: unknown): Promise<PrimaError> => {
    const failure = toPrimaError(error, 'reading');
    if (failure.code === 'cancelled' || failure.code === 'internal') return failure;
    return (await explain(failure)) ?? failure;
  };
  const read = async (offset: number, into: Uint8Array, signal?: AbortSignal) => {
    try {
      await device.read(offset, into, signal);
    } catch (error) {
      throw await explained(error);
    }
  };
  async function* extents(range: Range, options?: ExtentOptions): AsyncGenerator<Extent> {
    try {
      yield* device.extents(range, options);
    } catch (error) {
      throw await explained(error);
    }
  }
  return filterDevice(device, { read, extents });
}
