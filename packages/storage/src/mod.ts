/** Object stores. */
export * from './object-store.ts';
