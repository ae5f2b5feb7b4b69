/** Moments and ages in words, in the local time zone. */

const steps: readonly { below: number; unit: number; name: (count: number) => string }[] = [
  { below: 60, unit: 1, name: () => 's' },
  { below: 3600, unit: 60, name: () => 'min' },
  { below: 48 * 3600, unit: 3600, name: () => 'h' },
  { below: 14 * 86_400, unit: 86_400, name: () => 'days' },
  { below: 60 * 86_400, unit: 7 * 86_400, name: () => 'weeks' },
  { below: 730 * 86_400, unit: 30.44 * 86_400, name: () => 'months' },
  { below: Infinity, unit: 365.25 * 86_400, name: () => 'years' },
];

/** `3 h ago`. A moment within a second, or less than a minute ahead (clocks differ), is `just now`. */
export function formatAge(time: string, now: number): string {
  const seconds = (now - Date.parse(time)) / 1000;
  if (Number.isNaN(seconds)) return 'at an unknown time';
  if (seconds < 1 && seconds > -60) return 'just now';
  const distance = Math.abs(seconds);
  const step = steps.find(({ below }) => distance < below);
  const count = Math.floor(distance / (step?.unit ?? 1));
  const words = `${count} ${step?.name(count) ?? ''}`;
  return seconds < 0 ? `in ${words} (a clock is wrong)` : `${words} ago`;
}

/** `2026-03-04 12:30`, local time. */
export function formatMinute(time: string): string {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return time;
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}`;
}

/** `2026-03-04 12:30:05 +01:00`, local time with its distance from UTC. */
export function formatMoment(time: string): string {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return time;
  const east = -date.getTimezoneOffset();
  const zone = `${east < 0 ? '-' : '+'}${two(Math.floor(Math.abs(east) / 60))}:${two(Math.abs(east) % 60)}`;
  return `${formatMinute(time)}:${two(date.getSeconds())} ${zone}`;
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}
