/** SSH connections against a real OpenSSH server: sockets and commands at its end. */
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { silentLogger } from '@prima/base';
import { connectSsh, type SshConnection } from '@prima/ssh';
import { type SshServer, type SshServerOptions, startSshServer, temporaryFolder } from '@prima/testbed';

async function connected(
  test: TestContext,
  options?: SshServerOptions,
): Promise<{ server: SshServer; ssh: SshConnection }> {
  const server = await startSshServer(options);
  test.after(() => server[Symbol.asyncDispose]());
  const { host, port, user, identity, knownHosts } = server;
  const location = {
    host,
    port,
    user,
    identityFile: identity,
    knownHostsFile: knownHosts,
    identityParameter: 'identity',
    timeoutMs: 20_000,
    url: `ssh://${user}@${host}:${port}`,
  };
  const ssh = await connectSsh(location, { logger: silentLogger });
  test.after(() => ssh.destroy());
  return { server, ssh };
}

/** A socket that says everything back. */
async function echoing(test: TestContext): Promise<string> {
  const path = join(await temporaryFolder(test), 'echo');
  const server = createServer((socket) => void socket.pipe(socket));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  test.after(() => server.close());
  return path;
}

test('a socket of the server is reached, several times at once', async (test) => {
  const { ssh } = await connected(test);
  const path = await echoing(test);
  const echoes = Array.from({ length: 4 }, async (_, i) => {
    const stream = await ssh.openUnix(path);
    const sent = Buffer.alloc(3_000_000, i);
    stream.write(sent);
    const pieces: Buffer[] = [];
    let length = 0;
    for await (const piece of stream as AsyncIterable<Buffer>) {
      pieces.push(piece);
      length += piece.length;
      if (length >= sent.length) break; // which ends the stream
    }
    assert.ok(Buffer.concat(pieces).equals(sent));
  });
  await Promise.all(echoes);
});

test('nobody at the socket, or a server that forwards none', async (test) => {
  const { ssh } = await connected(test);
  const refused = { code: 'remote', message: /nobody listens there, .* or the server forwards no sockets/ };
  await assert.rejects(ssh.openUnix('/nowhere/at/all'), refused);
  const closed = await connected(test, { config: 'AllowStreamLocalForwarding no' });
  const path = await echoing(test);
  await assert.rejects(closed.ssh.openUnix(path), refused);
});

test('a command has input, output, complaints and a status', async (test) => {
  const { ssh } = await connected(test);
  const command = await ssh.run('cat; echo no >&2; exit 3');
  command.stream.end('hello');
  assert.equal((await buffer(command.stream)).toString(), 'hello');
  assert.equal(await command.ended, 3);
  assert.equal(command.said(), 'no');
});

test('a connection that is lost says so, and opens nothing more', async (test) => {
  const { server, ssh } = await connected(test);
  const lost = Promise.withResolvers<string>();
  ssh.onLost(lost.resolve);
  await server.signalConnections('SIGKILL');
  assert.notEqual(await lost.promise, '');
  await assert.rejects(ssh.openUnix('/x'), { code: 'remote', retryable: true });
});
