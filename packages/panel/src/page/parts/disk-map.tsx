/** Where the data of a disk lies, from its beginning on the left to its end. */
import type { Answer } from '@prima/api/http';
import { formatBytes } from '../format.ts';

type Disk = Answer<'getPoint'>['disks'][number];

const height = 28;

export function DiskMap({ of: { name, size, map } }: { of: Disk }) {
  if (!map) return null;
  const { cells, cellBytes, dataBytes, note } = map;
  if (note !== undefined) return <p className="tone-bad">Its map is not there: {note}</p>;
  const told = `${name}: ${formatBytes(dataBytes)} of ${formatBytes(size)} are data; the rest reads as zeros`;
  return (
    <figure style={{ margin: '8px 0' }}>
      <svg
        className="map"
        viewBox={`0 0 ${Math.max(1, cells.length)} ${height}`}
        height={height}
        preserveAspectRatio="none"
        role="img"
        aria-label={told}
      >
        {cells.map((data, index) =>
          data === 0 ? null : (
            <rect
              // biome-ignore lint: cells have no other name than their place
              key={index}
              x={index}
              width={1.02}
              height={height}
              fill="var(--accent)"
              opacity={0.25 + 0.75 * Math.min(1, data / cellBytes)}
            >
              <title>{`from ${formatBytes(index * cellBytes)}: ${formatBytes(data)} of data`}</title>
            </rect>
          ),
        )}
      </svg>
      <figcaption className="soft" style={{ fontSize: 12 }}>
        {told}; one of {cells.length} strokes is {formatBytes(cellBytes)}
      </figcaption>
    </figure>
  );
}
