/** The deduplicated, encrypted store of restore points. */
export * from './contract.ts';
export * from './point.ts';
export { endOfTime, newest, pointsOfMachine, resolvePoint } from './point-names.ts';
export { createRepository, type CreateOptions, type OpenOptions, openRepository } from './repository.ts';
export { newRecoveryWords } from './crypto/recovery-words.ts';
