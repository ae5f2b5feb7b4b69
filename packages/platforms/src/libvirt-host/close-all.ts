/** Ends what a reading has open, so that one thing that cannot be ended keeps nothing else from its end. */
import { type Logger, toPrimaError } from '@prima/base';

export interface Closable {
  close(): Promise<void>;
}

/** In this order; failures are logged: what counts is what comes after. */
export async function closeAll(closing: readonly (Closable | undefined)[], logger: Logger): Promise<void> {
  for (const one of closing) {
    try {
      await one?.close();
    } catch (error) {
      logger.warn(`ending a backup: ${toPrimaError(error, 'closing').message}`);
    }
  }
}
