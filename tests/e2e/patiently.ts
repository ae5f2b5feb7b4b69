/** For programs that are killed and started again. */
import { systemClock, toPrimaError } from '@prima/base';

/** Does it as soon as the machine is free: the guardian of the one before lets go of it only after it has tidied up. */
export async function patiently<T>(task: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await task();
    } catch (error) {
      if (toPrimaError(error, 'waiting').code !== 'busy') throw error;
      await systemClock.sleep(50);
    }
  }
}
