/** When a schedule comes, and what is said of settings that are refused. */
import type { PolicySettings } from '@prima/api/http';
import { type ErrorCode, toPrimaError, UserError } from '@prima/base';
import { Cron } from 'croner';

/** The next times after `after`, ascending; fewer where it never comes again. Raises `usage`, for the schedule or for the zone. */
export function nextRuns(
  { schedule, timeZone }: Pick<PolicySettings, 'schedule' | 'timeZone'>,
  after: Date,
  count: number,
): string[] {
  checkTimeZone(timeZone);
  let times: Date[];
  try {
    times = new Cron(schedule, { timezone: timeZone, mode: '5-part', paused: true }).nextRuns(count, after);
  } catch (error) {
    const { message } = toPrimaError(error, 'reading a schedule');
    throw refusedSetting('usage', 'schedule', `"${schedule}" is not a schedule: ${message}`);
  }
  if (times.length === 0) throw refusedSetting('usage', 'schedule', `"${schedule}" never comes`);
  return times.map((time) => time.toISOString());
}

function checkTimeZone(timeZone: string): void {
  try {
    Intl.DateTimeFormat('en', { timeZone });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw refusedSetting(
      'usage',
      'timeZone',
      `"${timeZone}" is no time zone; they are named as Europe/Berlin`,
    );
  }
}

/** An error that says which setting it is about, in the form of errors of requests that do not fit. */
export function refusedSetting(code: ErrorCode, path: string, message: string): UserError {
  return new UserError(code, message, { details: { issues: [{ path, message }] } });
}
