/** The resources of the HTTP API: their table with schemas, and a typed client for browsers and Node. */
export type { accountEndpoints } from './accounts.ts';
export * from './endpoint.ts';
export * from './endpoints.ts';
export type { identityEndpoints } from './identity.ts';
export type { jobEndpoints } from './jobs.ts';
export type { notificationEndpoints } from './notifications.ts';
export * from './resource-client.ts';
export type { thingEndpoints } from './things.ts';
export type * from './types.ts';
export type { workerEndpoints } from './workers.ts';
