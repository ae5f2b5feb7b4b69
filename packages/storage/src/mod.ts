/** Object stores. */
export * from './conformance.ts';
export * from './counting-store.ts';
export * from './faulty-store.ts';
export * from './local-store.ts';
export * from './memory-store.ts';
export * from './object-store.ts';
export * from './open-store.ts';
