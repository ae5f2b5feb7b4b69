/** Windows of a day, in a time zone: runs begin within them only. */

const minuteMs = 60_000;
const minutesOfDay = 24 * 60;

/** The first moment from `now` on that is in the window; past midnight where `to` is before `from`. */
export function nextInWindow(window: { from: string; to: string }, timeZone: string, now: Date): Date {
  const [from, to] = [minutesOf(window.from), minutesOf(window.to)];
  const local = minutesOf(
    new Intl.DateTimeFormat('en-GB', {
      timeZone,
      hour: '2-digit',
      minute: '2-digit',
      hourCycle: 'h23',
    }).format(now),
  );
  const isIn = from <= to ? local >= from && local < to : local >= from || local < to;
  if (isIn || from === to) return now;
  const wait = (from - local + minutesOfDay) % minutesOfDay;
  return new Date(Math.floor(now.getTime() / minuteMs) * minuteMs + wait * minuteMs);
}

function minutesOf(text: string): number {
  const [hours = 0, minutes = 0] = text.split(':').map(Number);
  return hours * 60 + minutes;
}
