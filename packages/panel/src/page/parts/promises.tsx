/** How old machines' last good points are, against what was promised: a bar each, the next to be late first. */
import type { Overview } from '@prima/api/http';
import { Link } from '@tanstack/react-router';
import { Time } from './time.tsx';

const hourMs = 3_600_000;

export function Promises({ of, now }: { of: Overview['oldest']; now: number }) {
  if (of.length === 0) return <p className="soft">No machine has a point yet.</p>;
  return (
    <ul className="promises">
      {of.map(({ host, machine, lastPoint, promiseHours }) => {
        const used = (now - Date.parse(lastPoint)) / (promiseHours * hourMs);
        const percent = Math.max(0, Math.round(used * 100));
        return (
          <li key={`${host}/${machine}`}>
            <Link to="/machines/$host/$machine" params={{ host, machine }}>
              {machine}
            </Link>
            <span className={used > 1 ? 'tone-bad' : 'soft'}>
              <Time at={lastPoint} />, promised every {promiseHours} h
            </span>
            <div
              className={used > 1 ? 'meter late' : 'meter'}
              role="meter"
              aria-label={`age of the last good point of ${machine}, of what is promised`}
              aria-valuenow={percent}
              aria-valuemin={0}
              aria-valuemax={Math.max(100, percent)}
              aria-valuetext={`${percent} %`}
            >
              <div style={{ width: `${Math.min(100, percent)}%` }} />
            </div>
          </li>
        );
      })}
    </ul>
  );
}
