/** Stored bytes over time, as a picture that is told in words, too. */
import { formatBytes, formatExact } from '../format.ts';

const width = 600;
const height = 110;

export function Growth({ of }: { of: readonly { time: string; stored: number }[] }) {
  const first = of[0];
  const last = of.at(-1);
  if (!first || !last || of.length < 2)
    return <p className="soft">Growth is shown from the second day on.</p>;
  const from = Date.parse(first.time);
  const span = Math.max(1, Date.parse(last.time) - from);
  const most = Math.max(1, ...of.map(({ stored }) => stored));
  const points = of.map(({ time, stored }) => {
    const x = ((Date.parse(time) - from) / span) * width;
    return `${x.toFixed(1)},${(height - (stored / most) * (height - 8)).toFixed(1)}`;
  });
  const told = `From ${formatBytes(first.stored)} on ${formatExact(first.time)} to ${formatBytes(last.stored)} on ${formatExact(last.time)}`;
  return (
    <figure style={{ margin: 0 }}>
      <svg
        className="chart"
        viewBox={`0 0 ${width} ${height}`}
        height={height}
        preserveAspectRatio="none"
        role="img"
        aria-label={told}
      >
        <polygon
          points={`0,${height} ${points.join(' ')} ${width},${height}`}
          fill="var(--accent)"
          opacity="0.14"
        />
        <polyline
          points={points.join(' ')}
          fill="none"
          stroke="var(--accent)"
          strokeWidth="1.5"
          vectorEffect="non-scaling-stroke"
        />
      </svg>
      <figcaption className="soft" style={{ fontSize: 12 }}>
        {told}
      </figcaption>
    </figure>
  );
}
