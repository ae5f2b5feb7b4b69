/** Backups of the last days: a column each, what failed on top. */
import type { Overview } from '@prima/api/http';

const height = 64;

export function Days({ of }: { of: Overview['days'] }) {
  const most = Math.max(1, ...of.map(({ succeeded, failed }) => succeeded + failed));
  const sum = (key: 'succeeded' | 'failed') => of.reduce((total, day) => total + day[key], 0);
  const told = `backups of ${of.length} days: ${sum('succeeded')} succeeded, ${sum('failed')} failed`;
  return (
    <figure style={{ margin: 0 }}>
      <svg
        className="chart"
        viewBox={`0 0 ${of.length * 10} ${height}`}
        height={height}
        preserveAspectRatio="none"
        role="img"
        aria-label={told}
      >
        {of.map(({ day, succeeded, failed }, index) => {
          const good = (succeeded / most) * height;
          const bad = (failed / most) * height;
          return (
            <g key={day}>
              <title>{`${day}: ${succeeded} succeeded, ${failed} failed`}</title>
              <rect x={index * 10} width={8} y={height - 1} height={1} fill="var(--line)" />
              <rect x={index * 10} width={8} y={height - good} height={good} fill="var(--good)" />
              <rect x={index * 10} width={8} y={height - good - bad} height={bad} fill="var(--bad)" />
            </g>
          );
        })}
      </svg>
      <figcaption className="soft" style={{ fontSize: 12 }}>
        {told}
      </figcaption>
    </figure>
  );
}
