import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseS3Location } from './s3-location.ts';

test('an S3 URL is read', () => {
  const url =
    's3://backups/prima/one/?endpoint=http://127.0.0.1:8000&region=us-east-1&lock=governance&ca=/a.pem';
  assert.deepEqual(parseS3Location(url), {
    bucket: 'backups',
    prefix: 'prima/one/',
    endpoint: 'http://127.0.0.1:8000',
    region: 'us-east-1',
    pathStyle: true,
    ca: '/a.pem',
    lock: 'governance',
    insecure: false,
    url,
  });
  assert.deepEqual(parseS3Location('s3://my.bucket-1'), {
    bucket: 'my.bucket-1',
    prefix: '',
    pathStyle: false,
    insecure: false,
    url: 's3://my.bucket-1',
  });
  assert.equal(parseS3Location('s3://abc?endpoint=https://[::1]:9&path-style=false').pathStyle, false);
  assert.equal(parseS3Location('s3://abc?endpoint=http://nas&insecure=true').endpoint, 'http://nas');
});

test('what is wrong with an S3 URL is told, and no secret repeated', () => {
  const cases: [url: string, message: RegExp][] = [
    ['s3://KEY:hidden-word@abc/p', /holds no keys: give them as AWS_ACCESS_KEY_ID/],
    ['s3://abc?endpoint=https://u:hidden-word@host', /endpoint is none/],
    ['s3://abc?secret=hidden-word', /no parameter "secret"; there are endpoint, region/],
    ['s3://abc?region=a&region=b', /"region" is given twice/],
    ['s3://ab', /no name of a bucket/],
    ['s3:///abc', /no name of a bucket/],
    ['s3://abc/a//b', /no prefix/],
    ['s3://abc/.hidden', /no prefix/],
    ['s3://abc/%2e%2e/b%20c', /no prefix/],
    [
      's3://abc?endpoint=http://10.0.0.5:9000',
      /10\.0\.0\.5 would be spoken to over plain HTTP.*insecure=true/,
    ],
    ['s3://abc?endpoint=http://127.0.0.1.example.org', /plain HTTP/],
    ['s3://abc?endpoint=ftp://host', /endpoint is none/],
    ['s3://abc?endpoint=https://host/path', /endpoint is none/],
    ['s3://abc?lock=strict', /lock=compliance or lock=governance/],
    ['s3://abc?path-style=1', /path-style=true or path-style=false/],
    ['s3://abc#x', /no S3 URL/],
  ];
  for (const [url, message] of cases) {
    assert.throws(
      () => parseS3Location(url),
      (error: Error & { code?: string }) => {
        assert.equal(error.code, 'usage', url);
        assert.match(error.message, message, url);
        assert.doesNotMatch(error.message, /hidden-word/);
        return true;
      },
    );
  }
});
