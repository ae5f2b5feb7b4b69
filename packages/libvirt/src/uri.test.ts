import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseLibvirtUri } from './uri.ts';

test("sockets of this machine: libvirtd's first, then the driver's own daemon's", () => {
  const { target, name, shown } = parseLibvirtUri('qemu:///system');
  assert.deepEqual(target, {
    transport: 'unix',
    socketPaths: ['/run/libvirt/libvirt-sock', '/run/libvirt/virtqemud-sock'],
    isUsual: true,
  });
  assert.equal(name, 'qemu:///system');
  assert.equal(shown, 'qemu:///system');
  const looking = parseLibvirtUri('qemu:///system', { readOnly: true });
  assert.deepEqual(looking.target, {
    transport: 'unix',
    socketPaths: ['/run/libvirt/libvirt-sock-ro', '/run/libvirt/virtqemud-sock-ro'],
    isUsual: true,
  });
});

test("a user's own daemon is in the user's folder", () => {
  const { target } = parseLibvirtUri('qemu:///session');
  assert.ok(target.transport === 'unix' && target.socketPaths[1]?.endsWith('/libvirt/virtqemud-sock'));
});

test('a socket and a name may be said', () => {
  const { target, name, shown } = parseLibvirtUri('qemu+unix:///system?socket=/a%20b/s&name=test:///default');
  assert.deepEqual(target, { transport: 'unix', socketPaths: ['/a b/s'], isUsual: false });
  assert.equal(name, 'test:///default');
  assert.equal(shown, 'qemu+unix:///system');
});

test('TCP has a host and a port', () => {
  assert.deepEqual(parseLibvirtUri('qemu+tcp://[::1]:99/system').target, {
    transport: 'tcp',
    host: '::1',
    port: 99,
  });
  assert.deepEqual(parseLibvirtUri('qemu+tcp://h/system').target, {
    transport: 'tcp',
    host: 'h',
    port: 16_509,
  });
});

test('what is not understood is refused, with a sentence', () => {
  const cases: [string, RegExp][] = [
    ['', /is no address/],
    ['qemu', /is no address/],
    ['qemu+unix://host/system', /has no host/],
    ['qemu+tcp:///system', /host or port/],
    ['qemu+tcp://h:0/system', /port 0/],
    ['qemu:///system?sockt=/x', /no parameter "sockt" here; known are socket, name/],
    ['qemu:///system?socket=/x&socket=/y', /twice/],
    ['qemu:///system?socket=%00', /percent-encoded/],
    ['qemu:///system?socket=%zz', /percent-encoded/],
    ['qemu+tcp://me:secret@h/system', /password has no place/],
  ];
  for (const [text, pattern] of cases) {
    assert.throws(() => parseLibvirtUri(text), { code: 'usage', message: pattern }, text);
  }
  assert.throws(() => parseLibvirtUri('qemu+ext://h/system'), { code: 'unsupported' });
});

test('a password in an address is not repeated', () => {
  assert.throws(
    () => parseLibvirtUri('qemu+tcp://me:secret@h/system'),
    (error: Error) => !error.message.includes('secret'),
  );
});

test('TLS is what a host without a transport means', () => {
  assert.deepEqual(parseLibvirtUri('qemu://h.example/system').target, {
    transport: 'tls',
    host: 'h.example',
    port: 16_514,
    verify: true,
  });
  assert.deepEqual(parseLibvirtUri('qemu+tls://h:1/system?pkipath=/p&no_verify=1').target, {
    transport: 'tls',
    host: 'h',
    port: 1,
    verify: false,
    pkiFolder: '/p',
  });
});

test('SSH has a user, files, and ways to the socket', () => {
  const { target, shown } = parseLibvirtUri(
    'qemu+ssh://me@h:2222/system?keyfile=/k&known_hosts=/n&proxy=netcat&netcat=/bin/nc&socket=/s',
  );
  assert.deepEqual(target, {
    transport: 'ssh',
    server: {
      user: 'me',
      host: 'h',
      port: 2222,
      identityFile: '/k',
      knownHostsFile: '/n',
      identityParameter: 'keyfile',
      timeoutMs: 30_000,
      url: 'qemu+ssh://me@h:2222/system',
    },
    socketPaths: ['/s'],
    proxy: 'netcat',
    netcat: '/bin/nc',
  });
  assert.equal(shown, 'qemu+ssh://me@h:2222/system');
  const session = parseLibvirtUri('qemu+libssh2://h/session').target;
  assert.ok(session.transport === 'ssh' && session.socketPaths.length === 0 && session.proxy === 'auto');
  assert.throws(() => parseLibvirtUri('qemu+ssh://h/system?no_verify=1'), {
    code: 'usage',
    message: /known_hosts/,
  });
  assert.throws(() => parseLibvirtUri('qemu+ssh://h/system?proxy=x'), { code: 'usage' });
  assert.throws(() => parseLibvirtUri('qemu+tls://me@h/system'), { code: 'usage' });
});
