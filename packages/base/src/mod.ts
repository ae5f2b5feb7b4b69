/** What every other package stands on. */
export * from './bytes.ts';
export * from './clock.ts';
export * from './concurrency.ts';
export * from './direct-io.ts';
export * from './durable-file.ts';
export * from './errors.ts';
export * from './file-state.ts';
export * from './interval.ts';
export * from './log.ts';
export * from './old-temporaries.ts';
export * from './process-identity.ts';
export * from './program.ts';
export * from './progress.ts';
export * from './random.ts';
export * from './shared-work.ts';
export * from './token-bucket.ts';
export * from './unix-socket.ts';
