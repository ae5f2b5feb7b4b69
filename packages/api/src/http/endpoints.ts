/** All resources of the HTTP API, version 1. */
import { accountEndpoints } from './accounts.ts';
import { identityEndpoints } from './identity.ts';
import { jobEndpoints } from './jobs.ts';
import { thingEndpoints } from './things.ts';

export const endpoints = { ...accountEndpoints, ...identityEndpoints, ...thingEndpoints, ...jobEndpoints };

export type EndpointName = keyof typeof endpoints;
