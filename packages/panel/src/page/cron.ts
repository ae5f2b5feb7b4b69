/** A schedule in words. When it runs, the server says. */

const weekdays = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const months = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
];

const listOf = (words: string[]) =>
  words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;

/** One field in words, such as `1-5` or `1,15`; each number through `say`. */
function fieldInWords(field: string, say: (value: number) => string): string {
  return listOf(
    field.split(',').map((part) => {
      const [range = '', step] = part.split('/');
      const [from = '', to] = range.split('-');
      const span =
        range === '*'
          ? 'all'
          : to === undefined
            ? say(Number(from))
            : `${say(Number(from))} to ${say(Number(to))}`;
      return step === undefined ? span : `every ${step} of ${span}`;
    }),
  );
}

function timeInWords(minute: string, hour: string): string {
  if (/^\d+$/.test(minute) && /^[\d,]+$/.test(hour))
    return `at ${listOf(hour.split(',').map((h) => `${h.padStart(2, '0')}:${minute.padStart(2, '0')}`))}`;
  const at =
    minute === '*'
      ? 'every minute'
      : minute.startsWith('*/')
        ? `every ${minute.slice(2)} minutes`
        : `at minute ${fieldInWords(minute, String)}`;
  if (hour === '*') return /^\d+$/.test(minute) ? `${at} of every hour` : at;
  if (hour.startsWith('*/')) return `${at} of every ${hour.slice(2)} hours`;
  return `${at} in the hours ${fieldInWords(hour, String)}`;
}

/** `at 22:00 on Monday to Friday` of a schedule; undefined for what is not five fields. */
export function cronInWords(schedule: string): string | undefined {
  const fields = schedule.trim().split(/\s+/);
  if (fields.length !== 5) return undefined;
  const [minute = '', hour = '', day = '', month = '', weekday = ''] = fields;
  if (/[a-z?#]/i.test(fields.join(''))) return schedule.trim();
  const words = [timeInWords(minute, hour)];
  if (day !== '*') words.push(`on day ${fieldInWords(day, String)} of the month`);
  if (weekday !== '*')
    words.push(
      `${day === '*' ? 'on' : 'or on'} ${fieldInWords(weekday, (n) => weekdays[n % 7] ?? String(n))}`,
    );
  if (day === '*' && weekday === '*') words.push('every day');
  if (month !== '*') words.push(`in ${fieldInWords(month, (n) => months[n - 1] ?? String(n))}`);
  return words.join(' ');
}
