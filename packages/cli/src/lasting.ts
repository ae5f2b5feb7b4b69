/** What runs until it is asked to end: a server, a worker. */
import type { Logger, PrimaError } from '@prima/base';
import type { Environment } from './environment.ts';
import type { LogFormat } from './terminal/log-format.ts';

/** The second request to end does not wait. */
export const cancelledStatus = 130;

export interface Lasting {
  /** Resolves when it cannot go on; it is closed then. */
  refused?: Promise<PrimaError>;
  close(): Promise<void>;
}

export interface LastingOptions<T> {
  /** Of its log. */
  format: LogFormat | undefined;
  started: (running: T) => void;
}

/** Raises what starting raises, and why it could not go on. */
export async function runLasting<T extends Lasting>(
  environment: Environment,
  start: (logger: Logger) => Promise<T>,
  { format, started, verbose }: LastingOptions<T> & { verbose: boolean },
): Promise<void> {
  const asked = Promise.withResolvers<undefined>();
  let isEnding = false;
  const release = environment.onInterrupt(() => {
    if (isEnding) environment.exit(cancelledStatus);
    isEnding = true;
    asked.resolve(undefined);
  });
  try {
    const { stderr, clock } = environment;
    const { serverLogger } = await import('./terminal/server-log.ts');
    const running = await start(serverLogger(stderr, { format, clock, verbose }));
    started(running);
    const failure = await Promise.race([asked.promise, ...(running.refused ? [running.refused] : [])]);
    await running.close();
    if (failure) throw failure;
  } finally {
    release();
  }
}
