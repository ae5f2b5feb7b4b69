import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { type TestContext, test } from 'node:test';
import { type PrimaError, ProtocolError, silentLogger } from '@prima/base';
import { connectCalls } from './calls/connect.ts';
import { eventCalls, domainEvents } from './calls/events.ts';
import { programs } from './calls/procedure.ts';
import { calls } from './calls/table.ts';
import { domain } from './calls/types.ts';
import { errorMessage, LibvirtError } from './errors.ts';
import { EventHub } from './events.ts';
import { MessageStatus, MessageType } from './message.ts';
import { type FakeDaemon, fakeDaemon } from './testing.ts';
import { encode, int32, struct } from './xdr.ts';

const hostname = { name: 'connectGetHostname', procedure: connectCalls.connectGetHostname, args: {} };
const replyOf = (name: string) =>
  encode(connectCalls.connectGetHostname.reply as never, { hostname: name } as never);

function daemonFor(test: TestContext): FakeDaemon {
  const daemon = fakeDaemon();
  test.after(() => daemon.rpc.close());
  return daemon;
}

test('answers find their calls in whatever order they come', async (test) => {
  const daemon = daemonFor(test);
  const [first, second] = [daemon.rpc.call(hostname), daemon.rpc.call(hostname)];
  const [a, b] = [await daemon.next(), await daemon.next()];
  assert.deepEqual([a.program, a.procedure, a.type, a.status], [programs.remote, 59, MessageType.CALL, 0]);
  daemon.answer(b, replyOf('b'));
  daemon.answer(a, replyOf('a'));
  assert.deepEqual([await first, await second], [{ hostname: 'a' }, { hostname: 'b' }]);
});

test("a refusal is raised with libvirt's code, domain and words", async (test) => {
  const daemon = daemonFor(test);
  const call = daemon.rpc.call(hostname);
  const error = { code: 42, domain: 10, message: 'gone', level: 2, int1: 0, int2: 0 };
  daemon.answer(await daemon.next(), encode(errorMessage, error), { status: MessageStatus.ERROR });
  await assert.rejects(call, (raised) => {
    assert.ok(raised instanceof LibvirtError);
    assert.equal(raised.code, 'not-found');
    assert.deepEqual(raised.details, {
      libvirtCode: 'VIR_ERR_NO_DOMAIN',
      libvirtDomain: 'VIR_FROM_QEMU',
      level: 2,
      text: 'gone',
    });
    return true;
  });
});

test('what codes alone do not say: unknown calls, locked machines, errors of the future', async (test) => {
  const daemon = daemonFor(test);
  const old = daemon.rpc.call(hostname);
  const unknown = { code: 39, domain: 7, message: 'unknown procedure: 59', level: 2, int1: 0, int2: 0 };
  daemon.answer(await daemon.next(), encode(errorMessage, unknown), { status: MessageStatus.ERROR });
  await assert.rejects(old, { code: 'unsupported' });
  const locked = daemon.rpc.call(hostname);
  const message = 'Timed out during operation: cannot acquire state change lock (held by monitor=x)';
  const lock = { code: 68, domain: 10, message, level: 2, int1: 0, int2: 0 };
  daemon.answer(await daemon.next(), encode(errorMessage, lock), { status: MessageStatus.ERROR });
  await assert.rejects(locked, { code: 'busy', retryable: true });
  const future = daemon.rpc.call(hostname);
  const later = { code: 999, domain: 998, level: 2, int1: 0, int2: 0 };
  daemon.answer(await daemon.next(), encode(errorMessage, later), { status: MessageStatus.ERROR });
  await assert.rejects(future, { code: 'remote', libvirtCode: '999', libvirtDomain: '998' });
});

test('an answer that cannot be read fails its call and no other', async (test) => {
  const daemon = daemonFor(test);
  const broken = daemon.rpc.call(hostname);
  daemon.answer(await daemon.next(), Buffer.from('7fffffff', 'hex'));
  await assert.rejects(broken, ProtocolError);
  const next = daemon.rpc.call(hostname);
  daemon.answer(await daemon.next(), replyOf('h'));
  assert.deepEqual(await next, { hostname: 'h' });
});

test('the late answer of a call that was given up is ignored', async (test) => {
  const daemon = daemonFor(test);
  const control = new AbortController();
  const cancelled = daemon.rpc.call(hostname, { signal: control.signal });
  const late = await daemon.next();
  control.abort();
  await assert.rejects(cancelled, { code: 'cancelled' });
  daemon.answer(late, replyOf('late'));
  const next = daemon.rpc.call(hostname);
  daemon.answer(await daemon.next(), replyOf('next'));
  assert.deepEqual(await next, { hostname: 'next' });
});

test('four calls are with the daemon, the others wait, and a deadline says for whom', async (test) => {
  const daemon = daemonFor(test);
  const running = Array.from({ length: 4 }, () => daemon.rpc.call(hostname));
  const waiting = daemon.rpc.call(hostname, { timeoutMs: 20 });
  const sent = await Promise.all(running.map(() => daemon.next()));
  await assert.rejects(waiting, { code: 'timeout', message: /still has connectGetHostname, .* to answer/ });
  const fifth = daemon.rpc.call(hostname);
  await setImmediate();
  assert.equal(daemon.waiting.length, 0);
  for (const call of sent) daemon.answer(call, replyOf('x'));
  await Promise.all(running);
  daemon.answer(await daemon.next(), replyOf('fifth'));
  assert.deepEqual(await fifth, { hostname: 'fifth' });
  assert.equal(daemon.waiting.length, 0, 'the one that was given up while it waited was never sent');
});

test('when the connection is lost all calls end, and later ones at once', async (test) => {
  const daemon = daemonFor(test);
  const calls = Array.from({ length: 6 }, () => daemon.rpc.call(hostname));
  const ends: PrimaError[] = [];
  daemon.rpc.onEnd((error) => ends.push(error));
  await daemon.next();
  daemon.end.destroy();
  for (const call of [...calls, daemon.rpc.call(hostname)]) {
    await assert.rejects(call, { code: 'remote', retryable: true, message: /test:\/\/\/fake was lost/ });
  }
  assert.equal(ends.length, 1);
});

test('what no daemon sends ends the connection', async (test) => {
  const odd: Parameters<FakeDaemon['send']>[0][] = [
    { program: programs.remote, procedure: 59, serial: 77 },
    { type: MessageType.CALL },
    { type: MessageType.REPLY_WITH_FDS },
    { type: 99 },
  ];
  for (const message of odd) {
    const daemon = daemonFor(test);
    const call = daemon.rpc.call(hostname);
    await daemon.next();
    daemon.send(message);
    await assert.rejects(call, ProtocolError);
  }
  const daemon = daemonFor(test);
  const call = daemon.rpc.call(hostname);
  const wrong = await daemon.next();
  daemon.answer(wrong, replyOf('x'), { procedure: 60 });
  await assert.rejects(call, /an answer to procedure 60 where 59 was called/);
});

test('events go to who listens, from the moment of the answer', async (test) => {
  const daemon = daemonFor(test);
  const hub = new EventHub(daemon.rpc, silentLogger);
  const name = 'connectDomainEventCallbackRegisterAny';
  const registration = { name, procedure: eventCalls[name], args: { eventId: 0 } };
  const heard: unknown[] = [];
  const deregistration = 'connectDomainEventCallbackDeregisterAny';
  const subscribed = hub.subscribe(
    { event: domainEvents.lifecycle, registration, deregistration },
    (message) => heard.push(message.event),
  );
  const call = await daemon.next();
  const dom = { name: 'a', uuid: '6ba7b810-9dad-11d1-80b4-00c04fd430c8', id: 1 };
  const lifecycle = (callbackId: number, event: number) => ({
    program: programs.remote,
    procedure: 318,
    type: MessageType.EVENT,
    payload: encode(struct({ callbackId: int32, dom: domain, event: int32, detail: int32 }), {
      callbackId,
      dom,
      event,
      detail: 0,
    }),
  });
  const answer = { ...call, type: MessageType.REPLY, payload: encode(int32, 5) };
  daemon.send(answer, lifecycle(5, 2), lifecycle(6, 3));
  const subscription = await subscribed;
  assert.deepEqual(heard, [2]);
  const closed = subscription.close();
  daemon.send(lifecycle(5, 4));
  const bye = await daemon.next();
  assert.deepEqual([bye.procedure, bye.payload.readInt32BE(0)], [317, 5]);
  daemon.answer(bye, Buffer.alloc(0));
  await closed;
  assert.deepEqual(heard, [2]);
});

test('pings are answered; a peer that answers none is given up', async (test) => {
  const daemon = daemonFor(test);
  daemon.send({ program: programs.keepalive, procedure: 1, type: MessageType.EVENT });
  const pong = await daemon.next();
  assert.deepEqual([pong.program, pong.procedure, pong.type], [programs.keepalive, 2, MessageType.EVENT]);
  const call = daemon.rpc.call(hostname);
  await daemon.next();
  daemon.rpc.startKeepAlive({ intervalMs: 2, count: 2 });
  await assert.rejects(call, { code: 'remote', retryable: true, message: /no sign of life/ });
  assert.ok(
    daemon.waiting.some(({ program, procedure }) => program === programs.keepalive && procedure === 1),
  );
});

test('no two calls of a program have the same number', () => {
  const all = Object.values({ ...calls, ...eventCalls }).map(({ program, number }) => `${program} ${number}`);
  assert.equal(new Set(all).size, all.length);
});
