/** The resources of the HTTP API: their table with schemas, and a typed client for browsers and Node. */
export * from './endpoint.ts';
export * from './endpoints.ts';
export * from './resource-client.ts';
export type * from './types.ts';
