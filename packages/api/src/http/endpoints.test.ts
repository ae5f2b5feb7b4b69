import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { hasRole } from './endpoint.ts';
import { endpoints } from './endpoints.ts';
import { urlOf } from './resource-client.ts';

test('each endpoint is at a place of its own, and its schemas can be told to others', () => {
  const places = Object.values(endpoints).map(
    ({ method, path }) => `${method} ${path.replaceAll(/\{\w+\}/g, '{}')}`,
  );
  assert.equal(new Set(places).size, places.length);
  for (const [name, described] of Object.entries(endpoints)) {
    const { body, answer } = described as { body?: z.ZodType; answer?: z.ZodType };
    for (const schema of [body, answer]) if (schema) assert.ok(z.toJSONSchema(schema, { io: 'input' }), name);
  }
});

test('paths are filled and escaped', () => {
  assert.equal(urlOf('/jobs/{id}', { id: 'a/b' }, { after: 3, q: undefined }), '/api/v1/jobs/a%2Fb?after=3');
});

test('each role looks; an administrator may all; no role, nothing; a worker does not look', () => {
  assert.deepEqual(
    [
      hasRole(['restorer'], 'viewer'),
      hasRole(['restorer'], 'operator'),
      hasRole(['administrator'], 'tester'),
      hasRole([], 'viewer'),
      hasRole(['worker'], 'viewer'),
    ],
    [true, false, true, false, false],
  );
});
