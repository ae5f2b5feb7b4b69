/** The S3 store against Ceph's object gateway: the suite of all stores, and what is S3's own. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { MiB, runProgram, seededRandom } from '@prima/base';
import {
  type ObjectStore,
  openS3Store,
  type S3StoreOptions,
  storeConformance,
  undeleteS3Objects,
} from '@prima/storage';
import { type ProxyFault, startObjectProxy, temporaryFolder, waitUntil } from '@prima/testbed';
import { allow, type BucketKind, type S3Lab, startS3Lab } from './s3-fixtures.ts';

let lab: S3Lab;
before(async () => {
  lab = await startS3Lab();
});
after(() => lab[Symbol.asyncDispose]());

interface Place {
  bucket: string;
  endpoint?: string;
  more?: string;
}

function urlOf({ bucket, endpoint = lab.endpoint, more = '' }: Place): string {
  return `s3://${bucket}/prima?endpoint=${endpoint}${more}`;
}

/** Opens a store for the rest of the test. */
async function open(stack: AsyncDisposableStack, place: Place, options: S3StoreOptions = {}) {
  const store = await openS3Store(urlOf(place), { credentials: lab.owner, ...options });
  stack.defer(() => store.close());
  return store;
}

async function keysOf(store: ObjectStore): Promise<string[]> {
  return (await Array.fromAsync(store.list(''))).map(({ key }) => key);
}

/** A proxy that does `fault` to the first `times` requests that match. */
async function faultyProxy(stack: AsyncDisposableStack, match: RegExp, fault: ProxyFault, times = Infinity) {
  let left = times;
  const proxy = await startObjectProxy(lab.endpoint, {
    fault: (method, path) => (match.test(`${method} ${path}`) && left-- > 0 ? fault : undefined),
  });
  stack.use(proxy);
  return proxy;
}

function conformance(name: string, kind: BucketKind, prefix: string, options: S3StoreOptions = {}): void {
  storeConformance(name, async () => {
    const bucket = await lab.newBucket(kind);
    const proxy = kind === 'plain' ? undefined : await lab.conditionalProxy();
    const lock = kind === 'lock' ? '&lock=compliance' : '';
    const url = `s3://${bucket}${prefix}?endpoint=${proxy?.endpoint ?? lab.endpoint}${lock}`;
    const openIt = () => openS3Store(url, { credentials: lab.owner, ...options });
    return {
      store: await openIt(),
      reopen: openIt,
      dispose: async () => proxy?.[Symbol.asyncDispose](),
    };
  });
}
conformance('s3', 'plain', '');
conformance('s3 under a prefix, with versions', 'versions', '/some/pre.fix');
conformance('s3 with object lock', 'lock', '/prima');

test('a server that overwrites although asked not to is refused before the first object', async () => {
  await using stack = new AsyncDisposableStack();
  const store = await open(stack, { bucket: await lab.newBucket('versions') });
  await assert.rejects(store.putIfAbsent('config', Buffer.from('x')), {
    code: 'unsupported',
    message: /ignores If-None-Match.*use a server that knows conditional writes/,
  });
  assert.deepEqual(await keysOf(store), []);
});

test('who may not, what is not there and what does not answer is told apart', async () => {
  await using stack = new AsyncDisposableStack();
  const bucket = await lab.newBucket();
  const { accessKeyId, secretAccessKey } = lab.owner;
  const unknown = { accessKeyId: 'NOBODYATALL', secretAccessKey };
  await assert.rejects(open(stack, { bucket }, { credentials: unknown }), {
    code: 'permission',
    message: /answered 403 \(InvalidAccessKeyId\): it does not know this access key/,
  });
  const wrong = { accessKeyId, secretAccessKey: 'not-the-secret' };
  await assert.rejects(
    open(stack, { bucket }, { credentials: wrong }),
    (error: Error & { code?: string }) => {
      assert.equal(error.code, 'permission');
      assert.match(error.message, /the secret key is not the one of this access key/);
      assert.doesNotMatch(error.message, /not-the-secret/);
      return true;
    },
  );
  const stranger = { credentials: await lab.addUser('stranger') };
  await assert.rejects(open(stack, { bucket }, stranger), { code: 'permission', message: /AccessDenied/ });
  await assert.rejects(open(stack, { bucket: 'not-there' }), {
    code: 'not-found',
    message: /has no bucket "not-there"; make it first/,
  });
  const web = createServer((_, response) => response.end('<html>hello</html>'));
  stack.defer(() => new Promise((resolve) => void web.close(() => resolve())));
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
  const address = web.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  await assert.rejects(open(stack, { bucket, endpoint: `http://127.0.0.1:${port}` }), { code: 'protocol' });
  const down = await startObjectProxy(lab.endpoint);
  await down[Symbol.asyncDispose](); // nobody listens there any more
  await assert.rejects(open(stack, { bucket, endpoint: down.endpoint }), {
    code: 'remote',
    retryable: true,
    message: /cannot be reached \(ECONNREFUSED\)/,
  });
});

test('a put whose answer was lost is found to be done, one that lost the race is not', async () => {
  await using stack = new AsyncDisposableStack();
  const bucket = await lab.newBucket();
  const direct = await open(stack, { bucket });
  const proxy = await faultyProxy(stack, /^PUT .*\/mine$/, 'lose-answer', 2);
  const store = await open(stack, { bucket, endpoint: proxy.endpoint });
  assert.equal(await store.putIfAbsent('mine', Buffer.from('same')), 'created');
  assert.equal(
    proxy.requests.filter((request) => request.startsWith('PUT') && request.endsWith('/mine')).length,
    3,
  );
  assert.equal(await store.putIfAbsent('mine', Buffer.from('same')), 'exists');
  await direct.putIfAbsent('theirs', Buffer.from('same'));
  const again = await faultyProxy(stack, /^PUT .*\/theirs$/, 'lose-answer', 1);
  const late = await open(stack, { bucket, endpoint: again.endpoint });
  assert.equal(await late.putIfAbsent('theirs', Buffer.from('same')), 'exists');
});

test('a body that breaks off is read again, and one that never ends is given up', async () => {
  await using stack = new AsyncDisposableStack();
  const bucket = await lab.newBucket();
  const body = seededRandom(3).bytes(new Uint8Array(300_000));
  await (await open(stack, { bucket })).putIfAbsent('a', body);
  const twice = await faultyProxy(stack, /^GET .*\/a$/, 'break', 2);
  const store = await open(stack, { bucket, endpoint: twice.endpoint });
  assert.deepEqual(Buffer.from(await store.get('a')), Buffer.from(body));
  const always = await faultyProxy(stack, /^GET .*\/a$/, 'break');
  await assert.rejects((await open(stack, { bucket, endpoint: always.endpoint })).get('a'), {
    code: 'remote',
    retryable: true,
    message: /reading a in s3:.*150000 of 300000 bytes/,
  });
  const stalled = await faultyProxy(stack, /^GET .*\/a$/, 'stall');
  const slow = await open(stack, { bucket, endpoint: stalled.endpoint }, { idleMs: 300 });
  await assert.rejects(slow.get('a', { offset: 0, length: 300_000 }), {
    code: 'timeout',
    retryable: true,
    message: /150000 of 300000 bytes: no more came in time/,
  });
  const hanging = await open(stack, { bucket, endpoint: stalled.endpoint }, { callMs: 300 });
  await assert.rejects(hanging.get('a'), { code: 'timeout', message: /no answer within/ });
});

test('a server that hangs is given up, and used again when it goes on', async () => {
  await using stack = new AsyncDisposableStack();
  const store = await open(stack, { bucket: await lab.newBucket() }, { idleMs: 500, attempts: 2 });
  await store.putIfAbsent('before', new Uint8Array(10));
  process.kill(lab.pid, 'SIGSTOP');
  try {
    await assert.rejects(store.get('before'), { code: 'timeout', retryable: true });
    await assert.rejects(store.putIfAbsent('during', new Uint8Array(4 * MiB)), { code: 'timeout' });
    const cancel = new AbortController();
    const listing = Array.fromAsync(store.list('', { signal: cancel.signal }));
    setImmediate(() => cancel.abort());
    await assert.rejects(listing, { code: 'cancelled' });
  } finally {
    process.kill(lab.pid, 'SIGCONT');
  }
  await store.putIfAbsent('after', new Uint8Array(1));
  assert.deepEqual(
    (await keysOf(store)).filter((key) => key !== 'during'),
    ['after', 'before'],
  );
});

test('a large body goes in parts, whole or not at all', async () => {
  await using stack = new AsyncDisposableStack();
  const bucket = await lab.newBucket();
  const parts = { multipartBytes: 6 * MiB, partBytes: 5 * MiB };
  const body = seededRandom(4).bytes(new Uint8Array(17 * MiB + 3));
  const store = await open(stack, { bucket }, parts);
  assert.equal(await store.putIfAbsent('large', body), 'created');
  assert.equal(Buffer.compare(await store.get('large'), body), 0);
  assert.equal(await store.putIfAbsent('large', new Uint8Array(7 * MiB)), 'exists');
  assert.equal((await store.stat('large'))?.size, body.length);

  const losing = await faultyProxy(stack, /^POST .*\/lost$/, 'lose-answer', 2);
  const lost = await open(stack, { bucket, endpoint: losing.endpoint }, parts);
  assert.equal(await lost.putIfAbsent('lost', body.subarray(0, 8 * MiB)), 'created');

  const broken = await faultyProxy(stack, /^PUT .*\/never$/, 'drop');
  const never = await open(stack, { bucket, endpoint: broken.endpoint }, parts);
  await assert.rejects(never.putIfAbsent('never', body), { code: 'remote', retryable: true });
  assert.equal(await never.stat('never'), undefined);
  const cancel = new AbortController();
  const cancelled = store.putIfAbsent('cancelled', body, { signal: cancel.signal });
  setTimeout(() => cancel.abort(), 20);
  await cancelled.catch((error: Error & { code?: string }) => assert.equal(error.code, 'cancelled'));
  const left = (await lab.admin.listMultipartUploads({ Bucket: bucket })).Uploads ?? [];
  // what lost the answer to its beginning cannot know the upload's id: the bucket's lifecycle removes that one
  assert.deepEqual(
    left.map(({ Key }) => Key).filter((key) => key !== 'prima/lost'),
    [],
  );
});

test('a large body that is not wanted is told so in the end', async () => {
  await using stack = new AsyncDisposableStack();
  const store = await open(stack, { bucket: await lab.newBucket() });
  const body = seededRandom(5).bytes(new Uint8Array(64 * MiB));
  assert.equal(await store.putIfAbsent('pack', body.subarray(0, 5)), 'created');
  const outcomes = await Promise.all(Array.from({ length: 4 }, () => store.putIfAbsent('pack', body)));
  assert.deepEqual([...new Set(outcomes)], ['exists']);
  assert.equal((await store.stat('pack'))?.size, 5);
});

test('of several who store a large body at once one does, on a server that knows the precondition', async () => {
  await using stack = new AsyncDisposableStack();
  const proxy = stack.use(await lab.conditionalProxy());
  const bucket = await lab.newBucket();
  const store = await open(
    stack,
    { bucket, endpoint: proxy.endpoint },
    { multipartBytes: 1, partBytes: 5 * MiB },
  );
  const outcomes = await Promise.all(
    Array.from({ length: 4 }, (_, index) => store.putIfAbsent('race', new Uint8Array(6 * MiB).fill(index))),
  );
  assert.equal(outcomes.filter((outcome) => outcome === 'created').length, 1);
  assert.equal((await store.get('race'))[0], outcomes.indexOf('created'));
  assert.deepEqual((await lab.admin.listMultipartUploads({ Bucket: bucket })).Uploads ?? [], []);
});

test('a locked object is refused to be deleted, with the date, until then', async () => {
  await using stack = new AsyncDisposableStack();
  const proxy = stack.use(await lab.conditionalProxy());
  const place = { bucket: await lab.newBucket('lock'), endpoint: proxy.endpoint, more: '&lock=governance' };
  const store = await open(stack, place);
  await store.putIfAbsent('a', Buffer.from('kept'));
  const until = Date.now() + 3_600_000;
  await store.putIfAbsent('long', Buffer.from('kept'));
  await store.retention?.retain('long', until);
  const date = new Date(Math.ceil(until / 1000) * 1000).toISOString();
  await assert.rejects(store.delete('long'), {
    code: 'refused',
    message: new RegExp(`the store keeps it until ${date}`),
  });
  await store.retention?.retain('a', Date.now() + 1000);
  const isDeleted = () =>
    store.delete('a').then(
      () => true,
      () => false, // not yet
    );
  await waitUntil(isDeleted, { what: 'the retention to end' });
  const versions = await lab.admin.listObjectVersions({ Bucket: place.bucket, Prefix: 'prima/a' });
  assert.deepEqual([versions.Versions, versions.DeleteMarkers], [undefined, undefined]);

  await store.putIfAbsent('held', Buffer.from('x'));
  const held = { Bucket: place.bucket, Key: 'prima/held' };
  await lab.admin.putObjectLegalHold({ ...held, LegalHold: { Status: 'ON' } });
  await assert.rejects(store.delete('held'), { code: 'refused', message: /legal hold/ });
  await lab.admin.putObjectLegalHold({ ...held, LegalHold: { Status: 'OFF' } });
  await store.delete('held');

  await assert.rejects(open(stack, { bucket: await lab.newBucket(), more: '&lock=compliance' }), {
    code: 'unsupported',
    message: /the bucket has no object lock/,
  });
});

test('what a plain delete of somebody else hid comes back', async () => {
  await using stack = new AsyncDisposableStack();
  const proxy = stack.use(await lab.conditionalProxy());
  const place = { bucket: await lab.newBucket('versions'), endpoint: proxy.endpoint };
  const store = await open(stack, place);
  for (const key of ['a', 'b/c', 'd']) await store.putIfAbsent(key, Buffer.from(key));
  await lab.admin.deleteObject({ Bucket: place.bucket, Key: 'prima/a' });
  await lab.admin.deleteObject({ Bucket: place.bucket, Key: 'prima/b/c' });
  await lab.admin.deleteObject({ Bucket: place.bucket, Key: 'prima/b/c' });
  await lab.admin.deleteObject({ Bucket: place.bucket, Key: 'prima/never-there' });
  assert.deepEqual(await keysOf(store), ['d']);
  const recovered = await undeleteS3Objects(urlOf(place), { credentials: lab.owner });
  assert.deepEqual(recovered, ['prima/a', 'prima/b/c']);
  assert.deepEqual(await keysOf(store), ['a', 'b/c', 'd']);
  assert.equal(Buffer.from(await store.get('b/c')).toString(), 'b/c');
  await store.delete('b/c');
  await lab.admin.deleteObject({ Bucket: place.bucket, Key: 'prima/a' });
  await store.delete('a'); // under its marker
  const { Versions } = await lab.admin.listObjectVersions({ Bucket: place.bucket, Prefix: 'prima/' });
  assert.deepEqual(
    Versions?.map(({ Key }) => Key).filter((key) => key !== 'prima/.prima-conditional-put'),
    ['prima/d'],
  );
});

test('credentials that may not delete are enough to store, read and list', async () => {
  await using stack = new AsyncDisposableStack();
  const bucket = await lab.newBucket();
  const credentials = await lab.addUser('appender');
  await allow(lab.admin, bucket, { appender: ['s3:PutObject', 's3:GetObject', 's3:ListBucket'] });
  const store = await open(stack, { bucket }, { credentials });
  assert.equal(await store.putIfAbsent('a', Buffer.from('first')), 'created');
  assert.equal(await store.putIfAbsent('a', Buffer.from('second')), 'exists');
  assert.equal(await store.stat('b'), undefined);
  await assert.rejects(store.delete('a'), { code: 'permission' });
  assert.deepEqual(await keysOf(store), ['a']);
  assert.equal(Buffer.from(await store.get('a')).toString(), 'first');
});

test('TLS: the authority that the URL names is trusted, another is not', async (t) => {
  await using stack = new AsyncDisposableStack();
  const folder = await temporaryFolder(t);
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  const subject = ['-subj', '/CN=gateway', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const kind = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  await runProgram('openssl', [...kind, '-days', '2', '-keyout', key, '-out', cert, ...subject]);
  const tls = { cert: await readFile(cert, 'utf8'), key: await readFile(key, 'utf8') };
  const proxy = stack.use(await startObjectProxy(lab.endpoint, { tls }));
  const place = { bucket: await lab.newBucket(), endpoint: proxy.endpoint };
  await assert.rejects(open(stack, place), {
    code: 'remote',
    retryable: false,
    message:
      /certificate that is not trusted \(DEPTH_ZERO_SELF_SIGNED_CERT\); name the authority's with ca=FILE/,
  });
  const store = await open(stack, { ...place, more: `&ca=${cert}` });
  const body = seededRandom(6).bytes(new Uint8Array(3 * MiB));
  assert.equal(await store.putIfAbsent('a', body), 'created');
  assert.equal(await store.putIfAbsent('a', body), 'exists');
  assert.equal(Buffer.compare(await store.get('a'), body), 0);
  await assert.rejects(open(stack, { ...place, more: '&ca=/no/such/file' }), { code: 'not-found' });
});

test('a list of more than a page is whole', async () => {
  await using stack = new AsyncDisposableStack();
  const store = await open(stack, { bucket: await lab.newBucket() });
  const keys = Array.from({ length: 1100 }, (_, index) => `packs/p${String(index).padStart(5, '0')}`);
  await Promise.all(keys.map((key) => store.putIfAbsent(key, new Uint8Array(1))));
  assert.deepEqual(await keysOf(store), keys);
});
