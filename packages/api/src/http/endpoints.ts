/** All resources of the HTTP API, version 1. */
import { accountEndpoints } from './accounts.ts';
import { identityEndpoints } from './identity.ts';
import { jobEndpoints } from './jobs.ts';
import { notificationEndpoints } from './notifications.ts';
import { thingEndpoints } from './things.ts';
import { workerEndpoints } from './workers.ts';

export const endpoints = {
  ...accountEndpoints,
  ...identityEndpoints,
  ...thingEndpoints,
  ...jobEndpoints,
  ...workerEndpoints,
  ...notificationEndpoints,
};

export type EndpointName = keyof typeof endpoints;
