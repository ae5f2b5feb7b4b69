/** Object stores. */
export * from './local-store.ts';
export * from './memory-store.ts';
export * from './object-store.ts';
export * from './open-store.ts';
