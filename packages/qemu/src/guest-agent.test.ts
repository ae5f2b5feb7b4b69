import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { PrimaError } from '@prima/base';
import { connectGuestAgent } from './guest-agent.ts';
import type { JsonObject } from './json-lines.ts';
import { type FakePart, fakePeer, say } from './testing.ts';

/** Answers like the agent: complains about strays first, marks the answer to a sync, then as told. */
function agent(answer: NonNullable<FakePart['onMessage']>, strays: string[] = []): FakePart {
  return {
    onMessage: (message, socket) => {
      if (message.execute === 'guest-sync-delimited') {
        for (const stray of strays) socket.write(stray);
        socket.write(Buffer.from([0xff]));
        say(socket, { return: idOf(message) });
      } else if (message.execute === 'guest-ping') say(socket, { return: {} });
      else answer(message, socket);
    },
  };
}

function idOf(message: JsonObject): unknown {
  return (message.arguments as { id: number }).id;
}

async function failureOf(promise: Promise<unknown>): Promise<PrimaError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof PrimaError, `a PrimaError was wanted: ${String(error)}`);
  return error;
}

const commandsOf = (received: readonly JsonObject[]) => received.map(({ execute }) => String(execute));

test('stray answers before the synchronisation are skipped', async () => {
  const strays = [
    '{"error": {"class": "GenericError", "desc": "JSON parse error, stray \'\\\\xff\'"}}\n',
    '{"return": 12345}\n{"return": {"old": true}}\n',
    'half a line ',
  ];
  await using peer = await fakePeer(
    agent((message, socket) => say(socket, { return: `to ${String(message.execute)}` }), strays),
  );
  const guest = await connectGuestAgent(peer.path);
  assert.equal(await guest.execute('x'), 'to x');
  assert.equal(await guest.execute('y'), 'to y');
  assert.equal(commandsOf(peer.received).filter((name) => name.startsWith('guest-sync')).length, 1);
  await guest.close();
  assert.equal((await failureOf(guest.ping())).code, 'remote');
});

test('no answer is a timeout that says so', async () => {
  await using peer = await fakePeer({});
  const error = await failureOf(connectGuestAgent(peer.path, { timeoutMs: 30 }));
  assert.equal(error.code, 'timeout');
  assert.match(error.message, /the guest agent does not answer/);
});

test('a late answer is not taken for the next command', async () => {
  let held: (() => void) | undefined;
  const part = agent((message, socket: Socket) => {
    if (message.execute === 'slow') held = () => say(socket, { return: 'late' });
    else say(socket, { return: 'right' });
  });
  await using peer = await fakePeer({
    onMessage: (message, socket) => {
      if (message.execute === 'guest-sync-delimited') held?.();
      part.onMessage?.(message, socket);
    },
  });
  const guest = await connectGuestAgent(peer.path);
  assert.equal((await failureOf(guest.execute('slow', {}, { timeoutMs: 20 }))).code, 'timeout');
  assert.equal(await guest.execute('quick'), 'right');
  await guest.close();
});

test('calls go one by one', async () => {
  let waiting = 0;
  await using peer = await fakePeer(
    agent((message, socket) => {
      waiting += 1;
      assert.equal(waiting, 1);
      setImmediate(() => {
        waiting -= 1;
        say(socket, { return: message.arguments });
      });
    }),
  );
  const guest = await connectGuestAgent(peer.path);
  const answers = await Promise.all([1, 2, 3, 4].map((n) => guest.execute('echo', { n })));
  assert.deepEqual(answers, [{ n: 1 }, { n: 2 }, { n: 3 }, { n: 4 }]);
  await guest.close();
});

test('freezing and thawing', async () => {
  let frozen = false;
  await using peer = await fakePeer(
    agent((message, socket) => {
      if (message.execute === 'guest-fsfreeze-freeze') frozen = true;
      if (message.execute === 'guest-fsfreeze-thaw') frozen = false;
      const status = frozen ? 'frozen' : 'thawed';
      say(socket, { return: message.execute === 'guest-fsfreeze-status' ? status : 2 });
    }),
  );
  const guest = await connectGuestAgent(peer.path);
  assert.equal(await guest.freeze(), 2);
  assert.equal(await guest.freezeStatus(), 'frozen');
  assert.equal(await guest.thaw(), 2);
  assert.equal(await guest.freezeStatus(), 'thawed');
  await guest.close();
});

test('a freeze that fails, hangs or is cancelled is followed by a thaw', async () => {
  for (const how of ['error', 'silence', 'cancel'] as const) {
    await using peer = await fakePeer(
      agent((message, socket) => {
        if (message.execute === 'guest-fsfreeze-thaw') say(socket, { return: 1 });
        else if (how === 'error') say(socket, { error: { class: 'GenericError', desc: 'no hook' } });
        else if (how === 'cancel') cancel.abort();
      }),
    );
    const cancel = new AbortController();
    const guest = await connectGuestAgent(peer.path);
    const error = await failureOf(guest.freeze(how === 'silence' ? 20 : 5000, cancel.signal));
    assert.equal(error.code, { error: 'remote', silence: 'timeout', cancel: 'cancelled' }[how]);
    assert.ok(commandsOf(peer.received).includes('guest-fsfreeze-thaw'), how);
    await guest.close();
  }
});

test('programs run to their end', async () => {
  let polls = 0;
  await using peer = await fakePeer(
    agent((message, socket) => {
      const base64 = (text: string) => Buffer.from(text).toString('base64');
      if (message.execute === 'guest-exec') say(socket, { return: { pid: 7 } });
      else if ((polls += 1) < 3) say(socket, { return: { exited: false } });
      else {
        const output = { 'out-data': base64('out ü'), 'err-data': base64('err') };
        say(socket, { return: { exited: true, exitcode: 3, ...output } });
      }
    }),
  );
  const guest = await connectGuestAgent(peer.path);
  const result = await guest.exec('/bin/x', ['-a', 'b c'], { input: 'in' });
  assert.deepEqual(result, { status: 3, stdout: 'out ü', stderr: 'err' });
  const request = peer.received.find(({ execute }) => execute === 'guest-exec');
  assert.deepEqual(request?.arguments, {
    path: '/bin/x',
    arg: ['-a', 'b c'],
    'capture-output': true,
    'input-data': Buffer.from('in').toString('base64'),
  });
  await guest.close();
});

test('answers of another shape are protocol errors', async () => {
  await using peer = await fakePeer(agent((_, socket) => say(socket, { return: 'nonsense' })));
  const guest = await connectGuestAgent(peer.path);
  for (const call of [guest.info(), guest.thaw(), guest.freezeStatus(), guest.osInfo(), guest.exec('/x')]) {
    assert.equal((await failureOf(call)).code, 'protocol');
  }
  await guest.close();
});

test('info and osInfo', async () => {
  await using peer = await fakePeer(
    agent((message, socket) => {
      const info = {
        version: '7.2.0',
        supported_commands: [
          { name: 'a', enabled: true },
          { name: 'b', enabled: false },
        ],
      };
      say(socket, {
        return: message.execute === 'guest-info' ? info : { id: 'debian', 'pretty-name': 'Debian 12' },
      });
    }),
  );
  const guest = await connectGuestAgent(peer.path);
  assert.deepEqual(await guest.info(), { version: '7.2.0', commands: ['a'] });
  const os = await guest.osInfo();
  assert.equal(os.id, 'debian');
  assert.equal(os.prettyName, 'Debian 12');
  await guest.close();
});
