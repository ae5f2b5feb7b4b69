/** The S3 store against Ceph's object gateway: the suite of all stores, and what is S3's own. */
import { randomBytes } from 'node:crypto';
import { after, before } from 'node:test';
import { S3 } from '@aws-sdk/client-s3';
import { type ObjectStore, openS3Store, type S3StoreOptions, storeConformance } from '@prima/storage';
import {
  type GatewayUser,
  type ObjectGateway,
  type ObjectProxy,
  startObjectGateway,
  startObjectProxy,
} from '@prima/testbed';

let gateway: ObjectGateway;
let owner: GatewayUser;
let admin: S3;

before(async () => {
  gateway = await startObjectGateway();
  owner = await gateway.addUser('owner');
  admin = clientOf(owner);
});
after(async () => {
  admin.destroy();
  await gateway[Symbol.asyncDispose]();
});

function clientOf(credentials: GatewayUser): S3 {
  const { endpoint } = gateway;
  return new S3({ endpoint, credentials, region: 'us-east-1', forcePathStyle: true });
}

type BucketKind = 'plain' | 'versions' | 'lock';

async function newBucket(kind: BucketKind = 'plain'): Promise<string> {
  const Bucket = `b${randomBytes(6).toString('hex')}`;
  await admin.createBucket({ Bucket, ObjectLockEnabledForBucket: kind === 'lock' });
  if (kind === 'versions') {
    await admin.putBucketVersioning({ Bucket, VersioningConfiguration: { Status: 'Enabled' } });
  }
  return Bucket;
}

function open(url: string, options: S3StoreOptions = {}): Promise<ObjectStore> {
  return openS3Store(url, { credentials: owner, ...options });
}

/** Ceph 16 ignores If-None-Match in buckets with versions; behind this it is a server that knows it there too. */
function conditionalProxy(): Promise<ObjectProxy> {
  return startObjectProxy(gateway.endpoint, {
    exists: async (path) => {
      const [, Bucket, Key] = /^\/([^/]+)\/(.+)$/.exec(decodeURIComponent(path)) ?? [];
      return admin.headObject({ Bucket, Key }).then(
        () => true,
        () => false,
      );
    },
  });
}

function conformance(name: string, kind: BucketKind, prefix: string, options: S3StoreOptions = {}): void {
  storeConformance(name, async () => {
    const bucket = await newBucket(kind);
    const lock = kind === 'lock' ? '&lock=compliance' : '';
    const proxy = kind === 'plain' ? undefined : await conditionalProxy();
    const endpoint = proxy?.endpoint ?? gateway.endpoint;
    const url = `s3://${bucket}${prefix}?endpoint=${endpoint}&path-style=true${lock}`;
    return {
      store: await open(url, options),
      reopen: () => open(url, options),
      dispose: async () => proxy?.[Symbol.asyncDispose](),
    };
  });
}
conformance('s3', 'plain', '');
conformance('s3 under a prefix, with versions', 'versions', '/some/pre.fix');
conformance('s3 with object lock', 'lock', '/prima');
