import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, FakeOutput } from '../fake-environment.ts';
import { Meter, type ProgressEvent, progressLine, ProgressView } from './progress.ts';
import { painter } from './style.ts';
import { displayWidth } from './width.ts';

const MiB = 1024 * 1024;
const paint = painter(false);
const event = (done: number, more: Partial<ProgressEvent> = {}): ProgressEvent => ({
  type: 'progress',
  subject: 'web01 disk0',
  done: done * MiB,
  total: 1000 * MiB,
  ...more,
});

/** A meter that went from 0 to 500 MiB in two seconds. */
function halfWay(more: Partial<ProgressEvent> = {}): Meter {
  const meter = new Meter(event(0), 0);
  meter.update(event(250), 1000);
  meter.update(event(500, more), 2000);
  return meter;
}

test('a line has the share, bytes, rate, time left and what the others wait for', () => {
  assert.equal(
    progressLine(halfWay({ bottleneck: 'source' }), { now: 2000, width: 200, paint, bar: true }),
    'web01 disk0  ██████████░░░░░░░░░░   50%  500 MiB/0.98 GiB  250 MiB/s  2.0 s left  slowest: source',
  );
  assert.equal(
    progressLine(new Meter(event(3, { total: undefined as never }), 0), {
      now: 0,
      width: 200,
      paint,
      bar: true,
    }),
    'web01 disk0  3.00 MiB',
  );
});

test('a line fits every width; the least important parts go first', () => {
  const meter = halfWay({ bottleneck: 'store' });
  for (let width = 1; width < 130; width += 1) {
    const line = progressLine(meter, { now: 2000, width, paint, bar: true });
    assert.ok(displayWidth(line) <= width, `${width}: ${line}`);
  }
  assert.equal(
    progressLine(meter, { now: 2000, width: 59, paint, bar: true }),
    'web01 disk0   50%  500 MiB/0.98 GiB  250 MiB/s  2.0 s left',
  );
  const typical = new Meter(event(0), 0);
  typical.update(event(12_345, { total: 81_920 * MiB, bottleneck: 'source' }), 100_000);
  assert.equal(
    progressLine(typical, { now: 100_000, width: 79, paint, bar: true }),
    'web01 disk0   15%  12.1 GiB/80.0 GiB  123 MiB/s  9m 24s left  slowest: source',
  );
  assert.equal(progressLine(meter, { now: 2000, width: 18, paint, bar: true }), 'web01 disk0   50%');
});

test('the rate is that of the last five seconds, sinks in a stall, and starts anew when work does', () => {
  const meter = new Meter(event(0), 0);
  for (let second = 1; second <= 20; second += 1)
    meter.update(event(second * (second > 10 ? 20 : 1)), second * 1000);
  assert.equal(meter.rate(20_000), 20 * MiB);
  assert.equal(meter.rate(25_000), 10 * MiB);
  meter.update(event(1), 26_000);
  assert.equal(meter.rate(26_000), undefined);
});

function view(live: boolean, columns = 80) {
  const clock = new FakeClock();
  const stream = live ? new FakeOutput(columns) : new FakeOutput();
  const shown = new ProgressView({ stream, clock, live, paint });
  return { clock, stream, shown };
}

test('a terminal is redrawn ten times a second at most', () => {
  const { clock, stream, shown } = view(true);
  let draws = 0;
  for (let step = 0; step < 1000; step += 1) {
    const before = stream.text.length;
    shown.update(event(step));
    if (stream.text.length > before) draws += 1;
    clock.time += 5;
  }
  assert.equal(draws, 50);
  shown.close();
  assert.ok(stream.text.endsWith('\r\u001b[2K'));
});

test('several subjects have a line each; those that ended go', () => {
  const { clock, stream, shown } = view(true);
  const step = (subject: string, done: number) => {
    clock.time += 100;
    stream.text = '';
    shown.update(event(done, { subject }));
    return stream.text;
  };
  assert.match(step('a', 1), /^a .*$/);
  const both = step('b', 1);
  assert.ok(both.startsWith('\r\u001b[2Ka '));
  assert.match(both, /\nb .*$/);
  // Two lines are taken off before the next two are drawn.
  assert.ok(step('a', 2).startsWith('\r\u001b[2K\u001b[1A\u001b[2K'));
  assert.doesNotMatch(step('b', 1000), /b {2}/);
});

test('a message goes above the progress', () => {
  const { clock, stream, shown } = view(true);
  shown.update(event(1));
  clock.time += 100;
  stream.text = '';
  shown.message('prima: frozen');
  assert.ok(stream.text.startsWith('\r\u001b[2Kprima: frozen\nweb01 disk0 '));
});

test('without a terminal there is a plain line every ten seconds at most', () => {
  const { clock, stream, shown } = view(false);
  for (let second = 0; second < 35; second += 1) {
    shown.update(event(second));
    clock.time += 1000;
  }
  shown.close();
  assert.equal(
    stream.text,
    `prima: web01 disk0    1%  10.0 MiB/0.98 GiB  1.00 MiB/s  16m 30s left
prima: web01 disk0    2%  20.0 MiB/0.98 GiB  1.00 MiB/s  16m 20s left
prima: web01 disk0    3%  30.0 MiB/0.98 GiB  1.00 MiB/s  16m 10s left
`,
  );
});
