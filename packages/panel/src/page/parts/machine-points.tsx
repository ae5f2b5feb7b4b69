/** The points of one machine: on a line of time, and as a table whose rows tell the custody of each. */
import { Button } from '@mantine/core';
import type { PointRow } from '@prima/api/http';
import { Link } from '@tanstack/react-router';
import { Fragment, useState } from 'react';
import { useMay } from '../client.ts';
import { copiesOf } from '../copies.ts';
import { formatBytes, formatExact, plural } from '../format.ts';
import { Custody } from './custody.tsx';
import { Empty } from './empty.tsx';
import { Time } from './time.tsx';
import { Timeline } from './timeline.tsx';

/** @param machine `HOST/MACHINE` */
export function MachinePoints({ of: points, machine }: { of: readonly PointRow[]; machine: string }) {
  const mayRestore = useMay('restorer');
  const [opened, setOpened] = useState<string>();
  if (points.length === 0)
    return <Empty title="No points yet">Back it up now, or let a policy take it.</Empty>;
  const columns = mayRestore ? 10 : 9;
  return (
    <>
      <Timeline points={points} />
      <div
        className="scroll"
        style={{ maxHeight: 480, overflow: 'auto' }}
        tabIndex={0}
        role="region"
        aria-label="Points"
      >
        <table className="plain">
          <thead>
            <tr>
              <th>Time</th>
              <th>Mode</th>
              <th className="number">Read</th>
              <th className="number">Added</th>
              <th className="number">Stored</th>
              <th>Repository</th>
              <th>Locked until</th>
              <th>Notes</th>
              <th>Custody</th>
              {mayRestore && <th>Action</th>}
            </tr>
          </thead>
          <tbody>
            {points.map((point) => {
              const key = `${point.repository} ${point.id}`;
              const isOpen = opened === key;
              return (
                <Fragment key={key}>
                  <Row
                    point={point}
                    isOpen={isOpen}
                    toggle={() => setOpened(isOpen ? undefined : key)}
                    restores={mayRestore ? machine : undefined}
                  />
                  {isOpen && (
                    <tr>
                      <td colSpan={columns}>
                        <Custody
                          repository={point.repository}
                          point={point.id}
                          copies={copiesOf(point, points)}
                        />
                      </td>
                    </tr>
                  )}
                </Fragment>
              );
            })}
          </tbody>
        </table>
      </div>
    </>
  );
}

interface RowProps {
  point: PointRow;
  isOpen: boolean;
  toggle: () => void;
  /** The machine, where it may be restored. */
  restores: string | undefined;
}

function Row({ point, isOpen, toggle, restores }: RowProps) {
  const { id, repository, time, mode, quiesced, lockedUntil } = point;
  const isLocked = lockedUntil !== undefined && Date.parse(lockedUntil) > Date.now();
  return (
    <tr>
      <td>
        <Link to="/points/$repository/$point" params={{ repository, point: id }}>
          <Time at={time} />
        </Link>
      </td>
      <td>
        {mode}
        {quiesced ? ', quiesced' : ''}
      </td>
      <td className="number">{formatBytes(point.read)}</td>
      <td className="number">{formatBytes(point.added)}</td>
      <td className="number">{formatBytes(point.stored)}</td>
      <td>{repository}</td>
      <td>{isLocked ? <Time at={lockedUntil} /> : '–'}</td>
      <td>{notesOf(point)}</td>
      <td>
        <Button
          variant="default"
          aria-expanded={isOpen}
          aria-label={`Custody of the point of ${formatExact(time)}`}
          onClick={toggle}
        >
          {isOpen ? 'Less' : 'More'}
        </Button>
      </td>
      {restores !== undefined && (
        <td>
          <Link
            to="/restore"
            search={{ machine: restores, point: id, repository }}
            aria-label={`Restore the point of ${formatExact(time)}`}
          >
            restore
          </Link>
        </td>
      )}
    </tr>
  );
}

function notesOf({ parent, warnings, tags, origin }: PointRow): string {
  return [
    ...(origin === undefined ? [] : ['a copy']),
    parent === undefined ? 'full read' : 'changes only',
    ...(warnings > 0 ? [plural(warnings, 'warning')] : []),
    ...tags,
  ].join(', ');
}
