import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import type { OperationName } from './operation.ts';
import { roleOf } from './operation-role.ts';
import { isOperationName, operationNames, operations } from './operation-table.ts';
import { parseAnswer, parseRequest } from './parse.ts';
import { withoutSecrets } from './secrets.ts';

/** The schemas inside of a schema, itself among them. */
function* within(schema: z.core.$ZodType): Generator<z.core.$ZodType> {
  yield schema;
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodReadonly) yield* within(schema.def.innerType);
  if (schema instanceof z.ZodArray) yield* within(schema.def.element);
  if (schema instanceof z.ZodUnion) for (const option of schema.def.options) yield* within(option);
  if (schema instanceof z.ZodObject) {
    for (const inner of Object.values<z.core.$ZodType>(schema.def.shape)) yield* within(inner);
  }
}

const refusal = (path: string) => (error: unknown) => {
  assert.ok(error instanceof Error && 'code' in error && 'details' in error);
  assert.equal(error.code, 'usage');
  const { issues } = error.details as { issues: { path: string }[] };
  assert.deepEqual(
    issues.map((issue) => issue.path),
    [path],
  );
  return true;
};

/** The JSON Schemas inside of one, each with where it is. */
function* inside(schema: unknown, path: string): Generator<[string, Record<string, unknown>]> {
  if (typeof schema !== 'object' || schema === null) return;
  if ('type' in schema && typeof schema.type === 'string') yield [path, { ...schema }];
  for (const [key, inner] of Object.entries(schema)) yield* inside(inner, `${path}.${key}`);
}

const bounds: Partial<Record<string, string>> = {
  string: 'maxLength',
  array: 'maxItems',
  integer: 'maximum',
};

test('every request is an object that refuses what it does not know, with bounded texts, lists and numbers', () => {
  assert.ok(operationNames.length > 70);
  let texts = 0;
  for (const name of operationNames) {
    for (const [path, schema] of inside(z.toJSONSchema(operations[name].request, { io: 'input' }), name)) {
      const bound = bounds[String(schema['type'])];
      const isChosen = 'const' in schema || 'enum' in schema;
      if (bound !== undefined && !isChosen) assert.equal(typeof schema[bound], 'number', `${path}: ${bound}`);
      if (bound === 'maxLength') texts += 1;
      const isRecord = 'propertyNames' in schema;
      if (schema['type'] === 'object' && !isRecord) assert.equal(schema['additionalProperties'], false, path);
    }
  }
  assert.ok(texts > 100);
});

test('every request and every JSON answer has a JSON Schema', () => {
  for (const name of operationNames) {
    const { request, result, media } = operations[name];
    assert.equal(z.toJSONSchema(request, { io: 'input' }).type, 'object', name);
    if (media === undefined) assert.ok(z.toJSONSchema(result), name);
  }
  const backup = z.toJSONSchema(operations.backup.request, { io: 'input' });
  assert.equal(backup.additionalProperties, false);
  assert.deepEqual(backup.required, ['sources']);
});

test('a request is refused for what is missing, unknown, empty, too long or no size, and the error says where', () => {
  const refused: [OperationName, unknown, string][] = [
    ['backup', {}, 'sources'],
    ['backup', { sources: [] }, 'sources'],
    ['backup', { sources: [''] }, 'sources.0'],
    ['backup', { sources: ['a\0b'] }, 'sources.0'],
    ['backup', { sources: ['a'], mode: 'tepid' }, 'mode'],
    ['backup', { sources: ['a'], scratch: { limitBytes: -1 } }, 'scratch.limitBytes'],
    ['backup', { sources: ['a'], scratch: { limitBytes: 2 ** 60 } }, 'scratch.limitBytes'],
    ['backup', { sources: Array.from({ length: 1001 }, () => 'a') }, 'sources'],
    ['backup', { sources: ['a'], onlyDisk: 'b' }, ''],
    ['show', { point: 'x'.repeat(513) }, 'point'],
    ['status', { verbose: true }, ''],
    ['status', null, ''],
    ['init', { level: 20 }, 'level'],
    ['lock', { points: ['a'], forMs: 1.5 }, 'forMs'],
    ['machineCreate', { host: 'lab', name: 'a', memoryBytes: 0, cpus: 1, disks: [] }, 'memoryBytes'],
  ];
  for (const [name, request, path] of refused) {
    assert.throws(
      () => parseRequest(name, request),
      refusal(path),
      `${name} ${JSON.stringify(request).slice(0, 80)}`,
    );
  }
});

test('a refusal never repeats what was sent', () => {
  const secret = { kind: 'passphrase', text: 7, words: 'correct horse' };
  const key = () => parseRequest('keyAdd', { label: 'a', secret });
  assert.throws(key, (error: Error) => !JSON.stringify([error.message, error]).includes('correct'));
});

test('requests pass as they are, and keys that are undefined are as good as absent', () => {
  const request = { sources: ['lab/web01'], mode: undefined, tags: ['nightly'] };
  assert.deepEqual(parseRequest('backup', request), request);
  assert.deepEqual(parseRequest('status', {}), {});
});

test('answers keep what the contract knows and leave out what it does not', () => {
  const host = { name: 'lab', platform: 'qemu', location: '/m' };
  assert.deepEqual(parseAnswer(operations.hostAdd.result, { ...host, colour: 'red' }, 'it'), host);
  const bad = () => parseAnswer(operations.hostList.result, [{ ...host, platform: 'abacus' }], 'the answer');
  assert.throws(bad, /^ProtocolError: the answer is not what was expected: 0\.platform/);
});

test('names of operations are those of the table alone', () => {
  assert.ok(isOperationName('backup'));
  for (const name of ['close', 'toString', '__proto__', '']) assert.ok(!isOperationName(name), name);
});

test('secrets are left out of what is logged, wherever they are', () => {
  const target = { url: '/mnt', secret: { kind: 'passphrase', text: 'hush' } };
  const shown = withoutSecrets(operations.copy.request, { all: true, to: target });
  assert.deepEqual(shown, { all: true, to: { url: '/mnt', secret: { kind: 'passphrase', text: '…' } } });
  const others = [
    { kind: 'recovery', words: 'hush' },
    { kind: 'keyfile', path: '/k' },
    { kind: 'keyfile-content', base64: 'aHVzaA==' },
  ];
  const root = JSON.stringify(withoutSecrets(operations.keyRotateRoot.request, { others }));
  assert.ok(root.includes('/k') && !/hush|aHVz/.test(root), root);
  const odd = withoutSecrets(operations.keyAdd.request, {
    label: 'a',
    secret: { kind: 'odd', text: 'hush' },
  });
  assert.deepEqual(odd, { label: 'a', secret: '…' });
  const point = { id: 'a', words: ['hush'] };
  assert.deepEqual(withoutSecrets(operations.keyAdd.result, point), { id: 'a', words: '…' });
});

test('what names a place of the server is an administrator’s; a machine of a known host is not a place', () => {
  const hosts = ['lab'];
  const backup = (sources: string[], more = {}) => roleOf('backup', { sources, ...more }, hosts);
  assert.equal(backup(['lab/web01', 'lab/db']), 'operator');
  for (const source of [
    '/etc/shadow',
    'web01.raw',
    'other/web01',
    './lab/web01',
    'nbd://h/x',
    'lab/',
    'lab',
  ]) {
    assert.equal(backup(['lab/web01', source]), 'administrator', source);
  }
  assert.equal(backup(['lab/web01'], { scratch: { folder: '/tmp' } }), 'administrator');
  assert.equal(backup(['lab/web01'], { allowed: ['/'] }), 'administrator');
  assert.equal(backup(['lab/web01'], { scratch: { limitBytes: 1 } }), 'operator');
  const configuration = (source: string) => roleOf('machineConfiguration', { source }, hosts);
  for (const source of ['lab/web01', 'latest', '1f2e3d4c', 'web01@2026-01-02'])
    assert.equal(configuration(source), 'viewer', source);
  for (const source of ['/m/a.vmx', 'a.vmx', '../a@b', 'x/y'])
    assert.equal(configuration(source), 'administrator');
  assert.equal(roleOf('redoCommit', { target: 'lab/web01' }, hosts), 'operator');
  assert.equal(roleOf('redoCommit', { target: '/m/a.vmdk' }, hosts), 'administrator');
  assert.equal(roleOf('export', { point: 'latest', listen: '[::1]:0' }, hosts), 'restorer');
  assert.equal(roleOf('export', { point: 'latest', socket: '/run/x' }, hosts), 'administrator');
  assert.equal(roleOf('datastoreShow', { folders: ['/'] }, hosts), 'administrator');
});

test('what answers with a new secret is no job, whose result would be kept', () => {
  for (const name of operationNames) {
    const { result, kind } = operations[name];
    const secret = [...within(result)].some((schema) => z.globalRegistry.get(schema)?.['secret'] === true);
    if (secret) assert.equal(kind, 'quick', name);
  }
});
