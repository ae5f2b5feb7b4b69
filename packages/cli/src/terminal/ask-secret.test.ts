import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { PrimaError } from '@prima/base';
import { askSecret } from './ask-secret.ts';

class FakeTerminal extends PassThrough {
  raw: boolean[] = [];
  shown = '';
  setRawMode(raw: boolean): void {
    this.raw.push(raw);
  }
  ask(prompt: string, signal?: AbortSignal): Promise<string> {
    return askSecret(prompt, { input: this, write: (text) => (this.shown += text) }, signal);
  }
}

test('the line that is typed is the secret, and is not shown', async () => {
  const terminal = new FakeTerminal();
  const answer = terminal.ask('Passphrase: ');
  for (const key of ['h', 'ä', 'x', '\u007f', 'sch', '\r']) terminal.write(key);
  assert.equal(await answer, 'häsch');
  assert.equal(terminal.shown, 'Passphrase: \n');
  assert.deepEqual(terminal.raw, [true, false]);
});

test('a character may arrive in pieces, Ctrl-U starts over, other control keys are nothing', async () => {
  const terminal = new FakeTerminal();
  const answer = terminal.ask('');
  const bytes = Buffer.from('wrong\u0015ri\u0007ghtß\n');
  terminal.write(bytes.subarray(0, -2));
  terminal.write(bytes.subarray(-2));
  assert.equal(await answer, 'rightß');
});

test('what is behind the line is for the next question', async () => {
  const terminal = new FakeTerminal();
  const first = terminal.ask('');
  terminal.write('one\ntwo\n');
  assert.equal(await first, 'one');
  assert.equal(await terminal.ask(''), 'two');
});

test('Ctrl-C, an abort and the end of the input end the question, and the terminal is as before', async () => {
  const ctrlC = new FakeTerminal();
  const asked = ctrlC.ask('');
  ctrlC.write('abc\u0003');
  await assert.rejects(asked, { code: 'cancelled' });
  assert.deepEqual(ctrlC.raw, [true, false]);

  const stopper = new AbortController();
  const aborted = new FakeTerminal();
  const waiting = aborted.ask('', stopper.signal);
  stopper.abort(new PrimaError('cancelled', 'cancelled'));
  await assert.rejects(waiting, { code: 'cancelled' });
  assert.deepEqual(aborted.raw, [true, false]);

  const ended = new FakeTerminal();
  const lost = ended.ask('');
  ended.end();
  await assert.rejects(lost, { code: 'usage' });
});

test('a secret without an end is refused', async () => {
  const terminal = new FakeTerminal();
  const answer = terminal.ask('');
  terminal.write('x'.repeat(5000));
  await assert.rejects(answer, /at most 4096 characters/);
});
