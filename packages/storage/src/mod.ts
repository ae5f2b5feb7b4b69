/** Object stores. */
export * from './cached-store.ts';
export * from './conformance.ts';
export type { StoreUnderTest } from './store-checks.ts';
export * from './counting-store.ts';
export * from './fault-schedule.ts';
export * from './faulty-store.ts';
export * from './filter-store.ts';
export * from './local-store.ts';
export * from './memory-store.ts';
export * from './object-store.ts';
export * from './open-repository-store.ts';
export * from './open-store.ts';
export * from './rate-limited-store.ts';
export * from './retry-store.ts';
export { openS3Store, type S3StoreOptions, undeleteS3Objects } from './s3-store.ts';
export * from './sftp-store.ts';
export type { StorageFigures } from './storage-figures.ts';
export * from './storage-test.ts';
