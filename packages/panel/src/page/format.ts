/** Figures for people: sizes in binary units, times as how long ago. */

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** Three figures at most: `0 B`, `512 B`, `1.50 GiB`, `120 MiB`. */
export function formatBytes(bytes: number): string {
  const power = bytes < 1 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), units.length - 1);
  const value = bytes / 2 ** (10 * power);
  const digits = power === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${units[power]}`;
}

const spans: [unit: Intl.RelativeTimeFormatUnit, seconds: number][] = [
  ['year', 31_557_600],
  ['month', 2_629_800],
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
];

const relative = new Intl.RelativeTimeFormat('en', { numeric: 'always' });

/** `3 hours ago`, `in 5 minutes`, `just now` within a minute. */
export function formatRelative(time: string, now: number): string {
  const seconds = (Date.parse(time) - now) / 1000;
  for (const [unit, length] of spans)
    if (Math.abs(seconds) >= length) return relative.format(Math.trunc(seconds / length), unit);
  return seconds > 5 ? 'in a moment' : 'just now';
}

/** In the reader's zone, or the one that is given; it is named. */
export function formatExact(time: string, timeZone?: string): string {
  const zone = timeZone === undefined ? {} : { timeZone };
  return new Date(time).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'long', ...zone });
}

/** `14:03:09` of the reader's day, or of the zone's that is given. */
export function formatClock(time: string, timeZone?: string): string {
  return new Date(time).toLocaleTimeString('en-GB', timeZone === undefined ? {} : { timeZone });
}

/** `350 ms`, `4 s`, `3 min 20 s`, `2 h 5 min`. */
export function formatDuration(ms: number): string {
  if (ms > 0 && ms < 999.5) return `${Math.max(1, Math.round(ms))} ms`;
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** How much smaller than the data it is: `3.4 : 1`; nothing where nothing is stored. */
export function formatRatio(data: number | undefined, stored: number | undefined): string {
  if (!data || !stored) return '–';
  return `${(data / stored).toFixed(1)} : 1`;
}

/** `1 machine`, `2 machines`. */
export function plural(count: number, one: string): string {
  return `${count.toLocaleString('en')} ${count === 1 ? one : `${one}s`}`;
}
