/** The ways to a real libvirtd: TCP, TLS with certificates, SASL, SSH with and without forwarding. */
import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { createLogger, runProgram } from '@prima/base';
import { type ConnectOptions, connectLibvirt } from '@prima/libvirt';
import {
  Certificates,
  freePorts,
  type SshServer,
  type SshServerOptions,
  startLibvirtDaemon,
  startSshServer,
  temporaryFolder,
} from '@prima/testbed';

const folder = await temporaryFolder({ after });
const at = (...names: string[]) => join(folder, ...names);
const [tcpPort = 0, tlsPort = 0] = await freePorts(2);

const certificates = new Certificates(folder);
await certificates.makeAuthority('authority');
await certificates.makeAuthority('stranger');
await certificates.makeCertificate('server', 'authority');
await certificates.makeCertificate('client', 'authority');
await certificates.makeCertificate('intruder', 'stranger');
const pki = await certificates.clientFolder('pki', 'authority', 'client');

const password = 'pencil, ünd=more';
await mkdir(at('sasl'));

async function writeSaslConfig(mechanisms: string): Promise<void> {
  const lines = ['pwcheck_method: auxprop', 'auxprop_plugin: sasldb', `sasldb_path: ${at('sasl', 'db')}`];
  await writeFile(at('sasl', 'libvirt.conf'), `${lines.join('\n')}\nmech_list: ${mechanisms}\n`);
}

await writeSaslConfig('plain scram-sha-1 scram-sha-256');
const user = ['-u', hostname(), '-f', at('sasl', 'db'), 'prima'];
await runProgram('saslpasswd2', ['-p', '-c', '-a', 'libvirt', ...user], { input: password });

const daemon = await startLibvirtDaemon(
  { after },
  {
    arguments: ['--listen'],
    binds: { '/etc/sasl2': at('sasl') },
    config: `
listen_tcp = 1
listen_tls = 1
listen_addr = "127.0.0.1"
tcp_port = "${tcpPort}"
tls_port = "${tlsPort}"
auth_tcp = "none"
auth_tls = "none"
ca_file = "${at('authority.pem')}"
cert_file = "${at('server.pem')}"
key_file = "${at('server-key.pem')}"
`,
  },
);

/** Connects and asks something, so that nothing is left half done. */
async function works(uri: string, options?: ConnectOptions): Promise<void> {
  await using libvirt = await connectLibvirt(uri, options);
  assert.deepEqual(await libvirt.call('connectGetUri', {}), { uri: 'qemu:///system' });
}

const tlsUri = (parameters: string) => `qemu+tls://localhost:${tlsPort}/system?${parameters}`;

test('TCP', async () => {
  await works(`qemu+tcp://127.0.0.1:${tcpPort}/system`);
  await using libvirt = await connectLibvirt(`qemu+tcp://127.0.0.1:${tcpPort}/system`);
  await assert.rejects(libvirt.openUnix(daemon.socket), { code: 'unsupported' });
  await assert.rejects(connectLibvirt('qemu+tcp://127.0.0.1:1/system'), {
    code: 'remote',
    message: /port 1 of 127.0.0.1 does not answer \(ECONNREFUSED\)/,
  });
});

test('TLS with certificates on both sides', async () => {
  await works(tlsUri(`pkipath=${pki}`));
});

test('certificates that one side does not take', async () => {
  const strange = await certificates.clientFolder('strange', 'stranger', 'client');
  await assert.rejects(works(tlsUri(`pkipath=${strange}`)), {
    code: 'permission',
    message: /no trust in who answers/,
  });
  // the name that is asked for is not in the certificate
  await assert.rejects(works(`qemu+tls://127.0.0.1:${tlsPort}/system?pkipath=${pki}`), {
    code: 'permission',
    message: /for 127\.0\.0\.1/,
  });
  const intruder = await certificates.clientFolder('intrusion', 'authority', 'intruder');
  await assert.rejects(works(tlsUri(`pkipath=${intruder}`)), {
    code: 'permission',
    message: /not take our certificate/,
  });
  const bare = await certificates.clientFolder('bare', 'authority');
  await assert.rejects(works(tlsUri(`pkipath=${bare}`)), {
    code: 'permission',
    message: /wants a certificate/,
  });
  await assert.rejects(works(tlsUri(`pkipath=${at('none')}`)), {
    code: 'not-found',
    message: /none\/cacert\.pem/,
  });
});

test('a daemon that is not verified is used, with a warning', async () => {
  const said: string[] = [];
  const logger = createLogger(({ level, message }) => said.push(`${level} ${message}`));
  await works(`qemu+tls://127.0.0.1:${tlsPort}/system?pkipath=${pki}&no_verify=1`, { logger });
  assert.match(said.join('\n'), /^warn .*no_verify is set/m);
});

test('SASL: each mechanism, wrong passwords, none', async () => {
  const conf = join(daemon.folder, 'etc/libvirtd.conf');
  const text = await readFile(conf, 'utf8');
  await writeFile(
    conf,
    text.replace('auth_tls = "none"', 'auth_tls = "sasl"').replace('auth_tcp = "none"', 'auth_tcp = "sasl"'),
  );
  const uri = tlsUri(`pkipath=${pki}`);
  const asked: string[] = [];
  const credentials = ({ mechanism }: { mechanism: string }) => {
    asked.push(mechanism);
    return { username: 'prima', password };
  };
  for (const mechanisms of [
    'plain scram-sha-1 scram-sha-256',
    'scram-sha-1 plain',
    'plain',
    'scram-sha-512',
  ]) {
    await writeSaslConfig(mechanisms);
    await daemon.restart();
    await works(uri, { credentials });
    await assert.rejects(
      works(uri, { credentials: () => ({ username: 'prima', password: 'wrong' }) }),
      (error: Error) => {
        assert.match(error.message, /does not accept the name and password/);
        assert.doesNotMatch(error.message, /wrong/);
        return true;
      },
    );
    await assert.rejects(works(uri, { credentials: () => ({ username: 'nobody', password }) }), {
      code: 'permission',
    });
    await assert.rejects(works(uri), { code: 'permission', message: /wants a name and a password/ });
  }
  assert.deepEqual(asked, ['SCRAM-SHA-256', 'SCRAM-SHA-1', 'PLAIN', 'SCRAM-SHA-512']);
  // the daemon offers over TCP only what encrypts
  await assert.rejects(works(`qemu+tcp://127.0.0.1:${tcpPort}/system`, { credentials }), {
    code: 'permission',
    message: /offers no SASL mechanism; .* take TLS or SSH/,
  });
});

async function sshServer(test: TestContext, options?: SshServerOptions): Promise<SshServer> {
  const server = await startSshServer(options);
  test.after(() => server[Symbol.asyncDispose]());
  return server;
}

function sshUri(server: SshServer, parameters: Record<string, string> = { socket: daemon.socket }): string {
  const query = { keyfile: server.identity, known_hosts: server.knownHosts, ...parameters };
  return `qemu+ssh://${server.user}@${server.host}:${server.port}/system?${new URLSearchParams(query).toString()}`;
}

test('SSH: the socket through the connection, and others of the host', async (test) => {
  const server = await sshServer(test);
  await using libvirt = await connectLibvirt(sshUri(server));
  assert.deepEqual(await libvirt.call('connectGetUri', {}), { uri: 'qemu:///system' });
  const stream = await libvirt.openUnix(daemon.socket);
  stream.destroy();
  await assert.rejects(libvirt.openUnix('/nowhere'), { code: 'remote' });
});

test('SSH without forwarding: netcat, and the log says so', async (test) => {
  const server = await sshServer(test, { config: 'AllowStreamLocalForwarding no' });
  const said: string[] = [];
  const logger = createLogger(({ message }) => said.push(message));
  await works(sshUri(server), { logger });
  assert.match(said.join('\n'), /reached through netcat on the host/);
  await using libvirt = await connectLibvirt(sshUri(server));
  (await libvirt.openUnix(daemon.socket)).destroy();
  await assert.rejects(works(sshUri(server, { socket: daemon.socket, netcat: 'no-such-program' })), {
    message: /neither virt-ssh-helper nor no-such-program/,
  });
  await assert.rejects(works(sshUri(server, { socket: '/nowhere' })), {
    code: 'remote',
    message: /the host says: /,
  });
});

test("SSH without forwarding: libvirt's helper knows the socket", async (test) => {
  // a server in the daemon's place, where its socket is the usual one
  const shell = `ForceCommand nsenter -t ${daemon.pid} -m sh -c "$SSH_ORIGINAL_COMMAND"`;
  const server = await sshServer(test, { config: `AllowStreamLocalForwarding no\n${shell}` });
  const said: string[] = [];
  const logger = createLogger(({ message }) => said.push(message));
  await works(sshUri(server, {}), { logger });
  assert.match(said.join('\n'), /reached through virt-ssh-helper on the host/);
});

test('SSH: the connection is lost', async (test) => {
  const server = await sshServer(test);
  await using libvirt = await connectLibvirt(sshUri(server));
  const ended = new Promise<Error>((resolve) => void libvirt.onEnd(resolve));
  await server.signalConnections('SIGKILL');
  assert.match((await ended).message, /qemu\+ssh:.* was lost/);
  await assert.rejects(libvirt.call('connectGetUri', {}), { code: 'remote', retryable: true });
});

test('an unknown host key is refused', async (test) => {
  const server = await sshServer(test);
  await writeFile(at('empty'), '');
  await assert.rejects(works(sshUri(server, { socket: daemon.socket, known_hosts: at('empty') })), {
    code: 'refused',
  });
});
