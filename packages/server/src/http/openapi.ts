/** The OpenAPI 3.1 document of all resources and operations, made of the tables that the routes are made of. */
import { type Audience, type Endpoint, endpoints } from '@prima/api/http';
import { operationNames, operations } from '@prima/api/schemas';
import { errorCodes } from '@prima/base';
import { z } from 'zod';

const json = (schema: unknown) => ({ content: { 'application/json': { schema } } });
const problem = {
  type: 'object',
  required: ['type', 'title', 'status', 'detail', 'code', 'exitStatus'],
  properties: {
    type: { type: 'string' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    code: { type: 'string', enum: Object.keys(errorCodes) },
    exitStatus: { type: 'integer' },
    details: { type: 'object' },
    retryable: { type: 'boolean' },
  },
};

/** @param version of Prima */
export function openApiDocument(version: string): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const [name, described] of Object.entries(endpoints)) {
    const { path, method }: Endpoint = described;
    (paths[path] ??= {})[method] = resource(name, described);
  }
  for (const name of operationNames) {
    if (operations[name].local === undefined) paths[`/operations/${name}`] = { post: operation(name) };
  }
  paths['/jobs/{id}/events'] = {
    get: {
      operationId: 'followJob',
      summary: 'What a job tells, as server-sent events, to its end',
      tags: ['jobs'],
      parameters: [
        pathParameter('id'),
        { name: 'Last-Event-ID', in: 'header', schema: { type: 'integer' }, description: 'go on after it' },
      ],
      responses: { 200: { description: 'events', content: { 'text/event-stream': {} } }, default: failure },
      ...securityOf('viewer'),
    },
  };
  return {
    openapi: '3.1.0',
    info: {
      title: 'Prima',
      version,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      description: 'Backs up, restores and recovers virtual machines. Errors are RFC 9457 problems.',
    },
    servers: [{ url: '/api/v1' }],
    paths,
    components: {
      schemas: { Problem: problem },
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer' },
        session: { type: 'apiKey', in: 'cookie', name: '__Host-prima' },
      },
    },
  };
}

const failure = {
  description: 'a problem',
  content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
};

function resource(name: string, { path, summary, audience, query, body, answer, lines }: Endpoint): object {
  const [, tag = ''] = path.split('/');
  return {
    operationId: name,
    summary,
    tags: [tag],
    description: `Needs: ${audience}.`,
    parameters: [
      ...[...path.matchAll(/\{(\w+)\}/g)].map(([, key = '']) => pathParameter(key)),
      ...Object.entries(query?.shape ?? {}).map(([key, schema]) => ({
        name: key,
        in: 'query',
        required: !z.safeParse(schema, undefined).success,
        schema: schemaOf(schema as z.ZodType, 'input'),
      })),
    ],
    ...(body ? { requestBody: { required: true, ...json(schemaOf(body, 'input')) } } : {}),
    responses: {
      ...(lines
        ? {
            200: {
              description: 'lines',
              content: { 'application/jsonl': { schema: schemaOf(lines, 'output') } },
            },
          }
        : answer
          ? { 200: { description: 'done', ...json(schemaOf(answer, 'output')) } }
          : { 204: { description: 'done' } }),
      default: failure,
    },
    ...securityOf(audience),
  };
}

function operation(name: keyof typeof operations): object {
  const { summary, request, result, kind, role, needsRepository, media } = operations[name];
  const done = media
    ? { content: { [media]: {} } }
    : json({ type: 'object', required: ['result'], properties: { result: schemaOf(result, 'output') } });
  const job = {
    type: 'object',
    required: ['job'],
    properties: { job: { type: 'object', required: ['id'], properties: { id: { type: 'string' } } } },
  };
  return {
    operationId: `operation_${name}`,
    summary,
    tags: ['operations'],
    description: `Needs: ${role}${kind === 'job' ? '. Answers a job, whose result is the operation’s.' : '.'}`,
    parameters: [
      {
        name: 'repository',
        in: 'query',
        required: false,
        schema: { type: 'string' },
        description: needsRepository ? 'needed where there are several' : 'used where it is named',
      },
      ...(kind === 'job' ? [{ name: 'Idempotency-Key', in: 'header', schema: { type: 'string' } }] : []),
    ],
    requestBody: { required: true, ...json(schemaOf(request, 'input')) },
    responses: {
      ...(kind === 'job'
        ? { 202: { description: 'a job was made', ...json(job) } }
        : { 200: { description: 'done', ...done } }),
      default: failure,
    },
    ...securityOf(role),
  };
}

const pathParameter = (name: string) => ({ name, in: 'path', required: true, schema: { type: 'string' } });

const securityOf = (audience: Audience) =>
  audience === 'anyone' ? { security: [] } : { security: [{ token: [] }, { session: [] }] };

/** Answers may have more keys than are told here: a client of today works with the server of tomorrow. */
function schemaOf(schema: z.ZodType, io: 'input' | 'output'): object {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, {
    io,
    unrepresentable: 'any',
    override: ({ jsonSchema }) => {
      if (io === 'output' && jsonSchema.additionalProperties === false)
        delete jsonSchema.additionalProperties;
    },
  });
  return rest;
}
