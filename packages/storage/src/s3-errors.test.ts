import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StorageError } from '@prima/base';
import { isMissingObject, s3CodeOf, s3Error, statusOf, wasRepeated } from './s3-errors.ts';
import { parseS3Location } from './s3-location.ts';

const location = parseS3Location('s3://backups/p?endpoint=https://s3.example.org');

/** An error as the SDK raises it. */
function answered(status: number | undefined, name: string, more: object = {}): Error {
  const error = Object.assign(new Error('in its words'), {
    $metadata: { httpStatusCode: status, attempts: 1 },
  });
  return Object.assign(error, { name }, more);
}

function network(code: string, name = 'Error'): Error {
  return Object.assign(new Error(`connect ${code}`), { code, name });
}

test('what a server answers has a code, and says whether to try again', () => {
  const cases: [error: unknown, code: string, retryable: boolean, message: RegExp][] = [
    [answered(503, 'SlowDown'), 'remote', true, /answered 503 \(SlowDown\): in its words/],
    [answered(500, 'InternalError'), 'remote', true, /500/],
    [answered(400, 'InvalidArgument'), 'remote', false, /400/],
    [answered(403, 'AccessDenied'), 'permission', false, /may not do that/],
    [answered(403, 'InvalidAccessKeyId'), 'permission', false, /does not know this access key/],
    [answered(400, 'ExpiredToken'), 'permission', false, /have expired/],
    [answered(404, 'NoSuchBucket'), 'not-found', false, /has no bucket "backups"; make it first/],
    [answered(404, 'NoSuchKey'), 'not-found', false, /no such object/],
    [answered(301, 'PermanentRedirect'), 'usage', false, /another region; set region=/],
    [
      answered(400, 'AuthorizationHeaderMalformed', { Region: 'eu-north-1' }),
      'usage',
      false,
      /region=eu-north-1/,
    ],
    [answered(403, 'RequestTimeTooSkewed'), 'remote', false, /clocks/],
    [answered(403, 'QuotaExceeded'), 'no-space', false, /quota/],
    [answered(507, 'Full'), 'no-space', false, /full/],
    [answered(undefined, 'CredentialsProviderError'), 'permission', false, /AWS_ACCESS_KEY_ID/],
    [network('ECONNREFUSED'), 'remote', true, /cannot be reached \(ECONNREFUSED\)/],
    [network('ENOTFOUND'), 'remote', true, /cannot be reached/],
    [network('ECONNRESET', 'TimeoutError'), 'remote', true, /connection was lost \(ECONNRESET\)/],
    [network('ETIMEDOUT', 'TimeoutError'), 'timeout', true, /did not answer in time/],
    [network('CERT_HAS_EXPIRED'), 'remote', false, /not trusted \(CERT_HAS_EXPIRED\); name the authority's/],
    [new AggregateError([network('ECONNREFUSED')], ''), 'remote', true, /cannot be reached/],
    [Object.assign(new Error('idle'), { name: 'TimeoutError' }), 'timeout', true, /no answer in time/],
    [new DOMException('stop', 'AbortError'), 'cancelled', false, /cancelled/],
    ['a text', 'internal', false, /a text/],
  ];
  for (const [raised, code, retryable, message] of cases) {
    const error = s3Error(raised, 'reading a', location);
    assert.deepEqual([error.code, error.retryable], [code, retryable], String(raised));
    assert.match(error.message, message);
    assert.match(error.message, /reading a/);
  }
});

test('an error of ours passes, and its details tell status, code and repetition', () => {
  const own = new StorageError('refused', 'no');
  assert.equal(s3Error(own, 'x', location), own);
  assert.deepEqual([statusOf(own), s3CodeOf(own), wasRepeated(own)], [undefined, undefined, false]);
  const gone = s3Error(answered(404, 'NoSuchKey'), 'x', location);
  assert.deepEqual([statusOf(gone), s3CodeOf(gone), isMissingObject(gone)], [404, 'NoSuchKey', true]);
  assert.equal(isMissingObject(s3Error(answered(404, 'NoSuchBucket'), 'x', location)), false);
  const lost = answered(412, 'PreconditionFailed', { $metadata: { httpStatusCode: 412, attempts: 3 } });
  assert.equal(wasRepeated(s3Error(lost, 'x', location)), true);
});
