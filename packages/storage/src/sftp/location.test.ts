import assert from 'node:assert/strict';
import { homedir, userInfo } from 'node:os';
import { test } from 'node:test';
import { parseSftpLocation } from './location.ts';

test('an address names user, host, port, folder and files', () => {
  assert.deepEqual(
    parseSftpLocation('sftp://backup@nas.example.org:2222/srv/prima/?identity=~/key&timeout=5'),
    {
      user: 'backup',
      host: 'nas.example.org',
      port: 2222,
      path: '/srv/prima',
      identityParameter: 'identity',
      fromHome: false,
      url: 'sftp://backup@nas.example.org:2222/srv/prima',
      timeoutMs: 5000,
      identityFile: `${homedir()}/key`,
    },
  );
  const short = parseSftpLocation('sftp://nas/~/a%20b');
  assert.deepEqual(
    [short.user, short.port, short.path, short.fromHome],
    [userInfo().username, 22, 'a b', true],
  );
  assert.equal(short.timeoutMs, 60_000);
  assert.deepEqual([parseSftpLocation('sftp://u@h/').path, parseSftpLocation('sftp://u@h/~').path], ['', '']);
  const six = parseSftpLocation(
    'sftp://u@[2001:db8::1]/x?known-hosts=/k&password-file=/p&passphrase-file=/q',
  );
  assert.deepEqual([six.host, six.url], ['2001:db8::1', 'sftp://u@[2001:db8::1]/x']);
  assert.deepEqual([six.knownHostsFile, six.passwordFile, six.passphraseFile], ['/k', '/p', '/q']);
});

test('what is wrong is refused, and a password is not repeated', () => {
  const refused = (text: string, message: RegExp) =>
    assert.throws(() => parseSftpLocation(text), { code: 'usage', message });
  refused('sftp:///folder', /sftp:\/\/user@host/);
  refused('sftp://host', /names no folder/);
  refused('sftp://host/a%2F..%2Fb', /names no folder/);
  refused('sftp://host/a?key=x', /no parameter "key"; known are identity,/);
  refused('sftp://host/a?timeout=0', /from 1 to 600/);
  assert.throws(
    () => parseSftpLocation('sftp://u:s3cret@host/a'),
    (error: Error) => /password-file/.test(error.message) && !error.message.includes('s3cret'),
  );
});
