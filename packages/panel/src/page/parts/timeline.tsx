/** A machine's points on a line of time; the taller, the more its backup added. */
import type { PointRow } from '@prima/api/http';
import { formatBytes, formatExact } from '../format.ts';

const width = 900;
const height = 84;

export function Timeline({ points }: { points: readonly PointRow[] }) {
  const times = points.map(({ time }) => Date.parse(time));
  const from = Math.min(...times);
  const span = Math.max(1, Date.now() - from);
  const most = Math.max(1, ...points.map(({ stored }) => Math.sqrt(stored)));
  return (
    <svg
      className="chart"
      viewBox={`0 0 ${width} ${height}`}
      height={height}
      role="img"
      aria-label={`${points.length} points since ${formatExact(new Date(from).toISOString())}; the table below lists them`}
    >
      <line x1={0} x2={width} y1={height - 18} y2={height - 18} stroke="var(--line)" />
      {points.map(({ id, time, stored, mode, warnings }) => {
        const x = 6 + ((Date.parse(time) - from) / span) * (width - 12);
        const tall = 8 + (Math.sqrt(stored) / most) * (height - 34);
        return (
          <rect
            key={id}
            x={x - 2}
            width={4}
            rx={1}
            y={height - 18 - tall}
            height={tall}
            fill={warnings > 0 ? 'var(--warn)' : 'var(--accent)'}
          >
            <title>{`${formatExact(time)}: ${mode}, ${formatBytes(stored)} stored${warnings > 0 ? `, ${warnings} warnings` : ''}`}</title>
          </rect>
        );
      })}
      <text x={0} y={height - 4} fontSize={11} fill="var(--soft)">
        {new Date(from).toLocaleDateString('en-GB', { dateStyle: 'medium' })}
      </text>
      <text x={width} y={height - 4} fontSize={11} fill="var(--soft)" textAnchor="end">
        now
      </text>
    </svg>
  );
}
