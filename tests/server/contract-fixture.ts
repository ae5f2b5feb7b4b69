/** Asks a real server and holds each answer to its OpenAPI document: status, media type, body. */
import assert from 'node:assert/strict';
import { type CallInput, type Endpoint, type EndpointName, endpoints, urlOf } from '@prima/api/http';
import formats from 'ajv-formats';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { CookieJar } from './server-fixture.ts';

type Json = Record<string, unknown>;

interface Described {
  operationId: string;
  responses: Record<string, { content?: Record<string, { schema?: Json }> }>;
}

export interface Document {
  paths: Record<string, Record<string, Described>>;
}

interface Sent {
  body?: unknown;
  headers?: Record<string, string>;
  /** With what follows the path. */
  url: string;
}

export class Contract {
  readonly document: Document;
  /** By operation: the statuses that were answered, as the document has them. */
  readonly seen = new Map<string, Set<number>>();
  readonly #ajv = new Ajv2020({ strict: false, allErrors: true });

  constructor(document: Document) {
    this.document = document;
    (formats as unknown as (ajv: Ajv2020) => void)(this.#ajv);
    this.#ajv.addSchema(closed(document) as Json, 'document');
  }

  get operations(): { path: string; method: string; id: string }[] {
    return Object.entries(this.document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { operationId: id }]) => ({ path, method, id })),
    );
  }

  /** Raises what does not fit. */
  async check(path: string, method: string, response: Response): Promise<unknown> {
    const described = this.document.paths[path]?.[method];
    assert.ok(described, `${method} ${path} is not in the document`);
    const { operationId, responses } = described;
    const where = `${operationId}, status ${response.status}`;
    const key = responses[response.status] ? String(response.status) : 'default';
    assert.ok(key !== 'default' || response.status >= 400, `${where}: this success is not documented`);
    const seen = this.seen.get(operationId) ?? new Set();
    this.seen.set(operationId, seen.add(response.status));
    const content = responses[key]?.content;
    if (!content) {
      assert.equal(await response.text(), '', where);
      return undefined;
    }
    const type = (response.headers.get('content-type') ?? '').split(';')[0] ?? '';
    assert.ok(content[type], `${where}: ${type} is none of ${Object.keys(content).join()}`);
    if (!/jsonl?$/.test(type)) return response.text();
    const validate = this.#ajv.getSchema(
      `document#/${['paths', path, method, 'responses', key, 'content', type, 'schema'].map(escaped).join('/')}`,
    );
    assert.ok(validate, `${where}: it has no schema`);
    const text = await response.text();
    const bodies = (type === 'application/jsonl' ? text.trimEnd().split('\n') : [text]).map(
      (line) => JSON.parse(line) as Json,
    );
    for (const body of bodies)
      if (!validate(body))
        assert.fail(
          `${where}: ${this.#ajv.errorsText(validate.errors)}: ${JSON.stringify(body).slice(0, 2000)}`,
        );
    if (type === 'application/problem+json') assert.equal(bodies[0]?.['status'], response.status, where);
    return bodies[0];
  }
}

const escaped = (word: string): string =>
  encodeURIComponent(word.replaceAll('~', '~0').replaceAll('/', '~1'));

/** The document with no keys allowed but those that it tells: what it leaves open for later is not there today. */
function closed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(closed);
  if (typeof value !== 'object' || value === null) return value;
  const inner = Object.fromEntries(Object.entries(value).map(([key, of]) => [key, closed(of)]));
  const isOpen = typeof inner['properties'] === 'object' && inner['type'] === 'object';
  return isOpen ? { additionalProperties: false, ...inner } : inner;
}

/** Somebody with a session; nobody before it. */
export class Asker {
  readonly #url: string;
  readonly #contract: Contract;
  readonly #cookies = new CookieJar();
  #csrf = '';

  constructor(url: string, contract: Contract) {
    this.#url = url;
    this.#contract = contract;
  }

  async ask<Name extends EndpointName>(name: Name, input: CallInput<Name> = {}): Promise<Json> {
    const { path, method }: Endpoint = endpoints[name];
    const response = await this.send(path, method, {
      url: urlOf(path, input.path, input.query),
      body: input.body,
    });
    assert.ok(response.ok, `${name}: ${JSON.stringify(response.body)}`);
    return response.body as Json;
  }

  /** Follows the job to its end, where it is one; answers its id or what was answered. */
  async operate(name: string, request: object, repository?: string): Promise<Json> {
    const path = `/operations/${name}`;
    const query = repository === undefined ? '' : `?repository=${repository}`;
    const { body, ok } = await this.send(path, 'post', { url: `/api/v1${path}${query}`, body: request });
    assert.ok(ok, `${name}: ${JSON.stringify(body)}`);
    const { job } = body as { job?: { id: string } };
    if (job) await this.follow(job.id);
    return body as Json;
  }

  async follow(id: string): Promise<void> {
    const { body } = await this.send('/jobs/{id}/events', 'get', { url: `/api/v1/jobs/${id}/events` });
    assert.match(String(body), /event: state/);
  }

  async send(path: string, method: string, { url, body, headers = {} }: Sent) {
    const response = await fetch(`${this.#url}${url}`, {
      method: method.toUpperCase(),
      headers: {
        ...headers,
        cookie: this.#cookies.header,
        'x-prima-csrf': this.#csrf,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    this.#cookies.keep(response);
    const { ok, status } = response;
    const answered = await this.#contract.check(path, method, response);
    const { csrf } = (answered ?? {}) as { csrf?: string };
    if (csrf !== undefined) this.#csrf = csrf;
    return { ok, status, body: answered };
  }
}
