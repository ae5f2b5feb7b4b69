/** A gateway, its buckets and their users, for the tests of S3 stores. */
import { randomBytes } from 'node:crypto';
import { S3 } from '@aws-sdk/client-s3';
import { type GatewayUser, type ObjectProxy, startObjectGateway, startObjectProxy } from '@prima/testbed';

export type BucketKind = 'plain' | 'versions' | 'lock';

/** A gateway with one user, who owns the buckets. */
export interface S3Lab extends AsyncDisposable {
  readonly endpoint: string;
  /** The gateway's process. */
  readonly pid: number;
  readonly owner: GatewayUser;
  /** The owner's client, past the store. */
  readonly admin: S3;
  addUser(name: string): Promise<GatewayUser>;
  newBucket(kind?: BucketKind): Promise<string>;
  /** Ceph 16 ignores If-None-Match in buckets with versions; behind this it is a server that knows it there too. */
  conditionalProxy(): Promise<ObjectProxy>;
}

export async function startS3Lab(): Promise<S3Lab> {
  const gateway = await startObjectGateway();
  const { endpoint, pid } = gateway;
  const owner = await gateway.addUser('owner');
  const admin = new S3({ endpoint, credentials: owner, region: 'us-east-1', forcePathStyle: true });
  return {
    endpoint,
    pid,
    owner,
    admin,
    addUser: (name) => gateway.addUser(name),
    newBucket: (kind = 'plain') => newBucket(admin, kind),
    conditionalProxy: () => startObjectProxy(endpoint, { exists: (path) => isThere(admin, path) }),
    [Symbol.asyncDispose]: async () => {
      admin.destroy();
      await gateway[Symbol.asyncDispose]();
    },
  };
}

async function newBucket(admin: S3, kind: BucketKind): Promise<string> {
  const Bucket = `b${randomBytes(6).toString('hex')}`;
  await admin.createBucket({ Bucket, ObjectLockEnabledForBucket: kind === 'lock' });
  if (kind === 'versions') {
    await admin.putBucketVersioning({ Bucket, VersioningConfiguration: { Status: 'Enabled' } });
  }
  return Bucket;
}

async function isThere(admin: S3, path: string): Promise<boolean> {
  const [, Bucket, Key] = /^\/([^/]+)\/(.+)$/.exec(decodeURIComponent(path)) ?? [];
  return admin.headObject({ Bucket, Key }).then(
    () => true,
    () => false, // whatever is wrong with it, the request itself will be told
  );
}

/**
 * Lets each user do exactly these actions in the bucket and on its objects. Who owns the bucket needs to be named as
 * well: to Ceph an object belongs to who stored it.
 */
export async function allow(admin: S3, bucket: string, users: Record<string, string[]>): Promise<void> {
  const Statement = Object.entries(users).map(([user, actions]) => ({
    Effect: 'Allow',
    Principal: { AWS: [`arn:aws:iam:::user/${user}`] },
    Action: actions,
    Resource: [`arn:aws:s3:::${bucket}`, `arn:aws:s3:::${bucket}/*`],
  }));
  await admin.putBucketPolicy({
    Bucket: bucket,
    Policy: JSON.stringify({ Version: '2012-10-17', Statement }),
  });
}
