/**
 * Progress on standard error. On a terminal: a line per subject, redrawn at most ten times a second
 * and cut to the width. Elsewhere: a plain line every ten seconds at most.
 */
import { type Clock, formatBytes, formatDuration } from '@prima/base';
import type { JobEvent } from '@prima/api';
import type { Output } from '../environment.ts';
import type { Paint } from './style.ts';
import { displayWidth, pad, printable, shorten } from './width.ts';

export type ProgressEvent = Extract<JobEvent, { type: 'progress' }>;

const redrawMs = 100;
const plainMs = 10_000;
const windowMs = 5000;
const sampleMs = 200;
const linesAtMost = 4;
/** A subject that fell silent for so long while another went on has ended. */
const staleMs = 10_000;

/** One subject's progress and its rate over the last seconds. */
export class Meter {
  event: ProgressEvent;
  updated: number;
  #samples: { time: number; done: number }[];

  constructor(event: ProgressEvent, now: number) {
    this.event = event;
    this.updated = now;
    this.#samples = [{ time: now, done: event.done }];
  }

  update(event: ProgressEvent, now: number): void {
    this.event = event;
    this.updated = now;
    const last = this.#samples.at(-1);
    if (last === undefined || event.done < last.done) this.#samples = [{ time: now, done: event.done }];
    else if (now - last.time >= sampleMs) this.#samples.push({ time: now, done: event.done });
    while ((this.#samples[1]?.time ?? Infinity) <= now - windowMs) this.#samples.shift();
  }

  /** Bytes a second over the last five seconds; undefined before there is anything to tell. */
  rate(now: number): number | undefined {
    const first = this.#samples[0];
    const elapsed = now - (first?.time ?? now);
    if (first === undefined || elapsed < sampleMs) return undefined;
    return ((this.event.done - first.done) / elapsed) * 1000;
  }

  get finished(): boolean {
    return this.event.total !== undefined && this.event.done >= this.event.total;
  }
}

interface LineOptions {
  now: number;
  width: number;
  paint: Paint;
  bar: boolean;
}

/** One line of progress that takes at most `width` columns; the least important parts go first. */
export function progressLine(meter: Meter, options: LineOptions): string {
  const { now, width, paint } = options;
  const { subject, done, total, bottleneck } = meter.event;
  const rate = meter.rate(now);
  const share = total === undefined || total === 0 ? undefined : Math.min(1, done / total);
  const left = rate && total !== undefined ? formatDuration(((total - done) / rate) * 1000) : undefined;
  const percent = share === undefined ? '' : pad(`${Math.floor(share * 100)}%`, 4, 'right');
  const parts = [
    { text: printable(subject), keep: 9 },
    { text: share === undefined || !options.bar ? '' : bar(share, 20), keep: 1 },
    { text: percent, keep: 8 },
    {
      text: total === undefined ? formatBytes(done) : `${formatBytes(done)}/${formatBytes(total)}`,
      keep: 5,
    },
    { text: rate === undefined ? '' : `${formatBytes(rate)}/s`, keep: 6 },
    { text: left === undefined ? '' : `${left} left`, keep: 7 },
    { text: bottleneck === undefined ? '' : `slowest: ${bottleneck}`, keep: 3 },
  ].filter((part) => part.text !== '');
  const length = () => parts.reduce((sum, part) => sum + displayWidth(part.text), 2 * (parts.length - 1));
  while (parts.length > 1 && length() > width) {
    const least = parts.reduce((a, b) => (b.keep < a.keep ? b : a));
    parts.splice(parts.indexOf(least), 1);
  }
  const [first, ...rest] = parts.map((part) => part.text);
  const head = shorten(first ?? '', width);
  return [paint('cyan', head), ...rest].join('  ');
}

function bar(share: number, width: number): string {
  const full = Math.round(share * width);
  return '█'.repeat(full) + '░'.repeat(width - full);
}

export interface ProgressOptions {
  stream: Output;
  clock: Clock;
  /** Whether lines can be redrawn: a terminal that is not dumb. */
  live: boolean;
  paint: Paint;
}

/** Shows progress and keeps other lines apart from it. */
export class ProgressView {
  readonly #options: ProgressOptions;
  readonly #meters = new Map<string, Meter>();
  #drawn = 0;
  #lastDraw: number;

  constructor(options: ProgressOptions) {
    this.#options = options;
    this.#lastDraw = options.live ? -Infinity : options.clock.monotonic();
  }

  update(event: ProgressEvent): void {
    const now = this.#options.clock.monotonic();
    const meter = this.#meters.get(event.subject);
    if (meter) meter.update(event, now);
    else this.#meters.set(event.subject, new Meter(event, now));
    this.tick();
  }

  /** Redraws when it is time to; call now and then so that a stall shows. */
  tick(): void {
    const { live, clock } = this.#options;
    const now = clock.monotonic();
    if (now - this.#lastDraw < (live ? redrawMs : plainMs) || this.#meters.size === 0) return;
    this.#lastDraw = now;
    if (live) this.#draw(now);
    else this.#plain(now);
  }

  /** Writes a line of text of its own, above the progress. */
  message(text: string): void {
    this.clear();
    this.#options.stream.write(`${text}\n`);
    if (this.#options.live && this.#meters.size > 0) this.#draw(this.#options.clock.monotonic());
  }

  /** Takes the progress off the screen; the next update draws it again. */
  clear(): void {
    if (this.#drawn === 0) return;
    this.#options.stream.write(`\r\u001b[2K${'\u001b[1A\u001b[2K'.repeat(this.#drawn - 1)}`);
    this.#drawn = 0;
  }

  /** Takes the progress off the screen for good. */
  close(): void {
    this.clear();
    this.#meters.clear();
  }

  #draw(now: number): void {
    const { stream, paint } = this.#options;
    this.clear();
    const lines = this.#current().map((meter) =>
      progressLine(meter, { now, width: stream.columns - 1, paint, bar: true }),
    );
    stream.write(lines.join('\n'));
    this.#drawn = lines.length;
  }

  #plain(now: number): void {
    const meter = this.#current().at(-1);
    if (meter === undefined) return;
    const { stream, paint } = this.#options;
    stream.write(`prima: ${progressLine(meter, { now, width: Infinity, paint, bar: false })}\n`);
  }

  /** The subjects that are under way, the latest last; what has ended is forgotten. */
  #current(): Meter[] {
    const newest = [...this.#meters.values()].sort((a, b) => a.updated - b.updated);
    const latest = newest.at(-1)?.updated ?? 0;
    const going = newest.filter((meter) => !meter.finished && meter.updated > latest - staleMs);
    const shown = (going.length > 0 ? going : newest).slice(going.length > 0 ? -linesAtMost : -1);
    for (const [subject, meter] of this.#meters) if (!shown.includes(meter)) this.#meters.delete(subject);
    return shown;
  }
}
