/** One restore point: what is known of it, and what is on its disks. */
import type { Answer } from '@prima/api/http';
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useParams } from '@tanstack/react-router';
import { resource, useMay } from '../client.ts';
import { copiesOf } from '../copies.ts';
import { formatBytes, formatExact } from '../format.ts';
import { Action } from '../parts/action.tsx';
import { Custody } from '../parts/custody.tsx';
import { DiskMap } from '../parts/disk-map.tsx';
import { Figures, Loaded, Page, Section } from '../parts/page.tsx';
import { PlainTable } from '../parts/plain-table.tsx';

type Point = Answer<'getPoint'>;
type Disk = Point['disks'][number];
type Table = NonNullable<Disk['partitionTable']>;
type Partition = Table['partitions'][number];

export function PointPage() {
  const { repository, point: id } = useParams({ from: '/shell/points/$repository/$point' });
  const path = { repository, id };
  const query = useQuery(resource('getPoint', { path }));
  const disks = useQuery({
    ...resource('getPoint', { path, query: { detail: 'disks' }, timeoutMs: 120_000 }),
    staleTime: 300_000, // points do not change
  });
  const point = query.data;
  return (
    <Page
      title={point ? `${point.machine}, ${formatExact(point.time)}` : 'Point'}
      says={point && <From point={point} repository={repository} />}
      actions={point && <Actions point={point} repository={repository} />}
    >
      <Loaded query={query}>{(found) => <Facts point={found} repository={repository} />}</Loaded>
      <Loaded query={disks}>
        {(found) => found.disks.map((disk) => <DiskSection key={disk.name} disk={disk} />)}
      </Loaded>
      <Section title="Files of guests">
        <p className="soft">
          The panel tells what file systems are there; it does not open them, so files cannot be listed or
          fetched one by one here. To get at them, export the disks read-only (prima export) or restore the
          machine under another name.
        </p>
      </Section>
      {point && point.files.length > 0 && <Configuration of={point.files} />}
    </Page>
  );
}

function From({ point: { machine, host, name }, repository }: { point: Point; repository: string }) {
  return (
    <>
      {host === undefined ? (
        machine
      ) : (
        <Link to="/machines/$host/$machine" params={{ host, machine }}>
          {host}/{machine}
        </Link>
      )}{' '}
      in {repository}
      {name === undefined ? '' : ` · ${name}`}
    </>
  );
}

function Actions({ point: { id, host, machine }, repository }: { point: Point; repository: string }) {
  const may = useMay('restorer');
  const navigate = useNavigate();
  if (!may || host === undefined) return null;
  const search = { machine: `${host}/${machine}`, point: id, repository };
  return (
    <Action variant="filled" run={() => navigate({ to: '/restore', search })}>
      Restore
    </Action>
  );
}

function Facts({ point, repository }: { point: Point; repository: string }) {
  const { machine, host } = point;
  const kin = useQuery(
    resource('listPoints', { query: { machine, limit: 500, ...(host === undefined ? {} : { host }) } }),
  );
  const own = { id: point.id, repository, ...(point.origin ? { origin: point.origin.point } : {}) };
  return (
    <Section title="Custody and cost">
      <Custody repository={repository} point={point.id} copies={copiesOf(own, kin.data?.items ?? [])} />
      <p className="mono soft" style={{ marginTop: 10 }}>
        {point.id}
        {point.parent !== undefined && ` · based on ${point.parent.slice(0, 12)}`}
        {point.origin && ` · first copied from ${point.origin.point.slice(0, 12)}`}
      </p>
    </Section>
  );
}

function DiskSection({ disk }: { disk: Disk }) {
  const { map, partitionTable } = disk;
  return (
    <Section title={`Disk ${disk.name}`}>
      <Figures
        of={[
          ['Size', formatBytes(disk.size)],
          ['Used', map && map.note === undefined ? formatBytes(map.dataBytes) : '–'],
          ['Was', disk.format ?? '–'],
          ['Slot', disk.slot ?? '–'],
          ['Read', formatBytes(disk.read)],
          ['Added', formatBytes(disk.added)],
          ['Stored', formatBytes(disk.stored)],
          ...(disk.freeSpace
            ? [['Free space left out', formatBytes(disk.freeSpace.bytes)] as [string, string]]
            : []),
          ...(disk.lun ? [['Device', disk.lun.device] as [string, string]] : []),
        ]}
      />
      <DiskMap of={disk} />
      {partitionTable && <Partitions of={partitionTable} disk={disk.name} />}
    </Section>
  );
}

const kinds: Record<Table['kind'], string> = {
  gpt: 'GPT',
  mbr: 'MBR',
  none: 'no partition table',
};

const partitionColumns = [
  { head: 'No.', isNumber: true, cell: ({ index }: Partition) => (index === 0 ? 'whole' : index) },
  { head: 'Begins at', isNumber: true, cell: ({ offset }: Partition) => formatBytes(offset) },
  { head: 'Size', isNumber: true, cell: ({ length }: Partition) => formatBytes(length) },
  {
    head: 'Holds',
    cell: ({ fileSystem }: Partition) => fileSystem?.kind ?? <span className="soft">not known</span>,
  },
  { head: 'Label', cell: ({ fileSystem }: Partition) => fileSystem?.label ?? '–' },
  {
    head: 'Type',
    cell: ({ typeName, typeId, bootable }: Partition) =>
      `${typeName === 'unknown' ? typeId : typeName}${bootable ? ', bootable' : ''}`,
  },
  { head: 'Name', cell: ({ name }: Partition) => name ?? '–' },
];

function Partitions({ of: { kind, partitions, notes }, disk }: { of: Table; disk: string }) {
  return (
    <>
      <p>
        {kinds[kind]}
        {partitions.length === 0 && ', and nothing on it that is known'}
      </p>
      {notes.map((note) => (
        <p key={note} className="tone-warn">
          {note}
        </p>
      ))}
      {partitions.length > 0 && (
        <PlainTable
          label={`Partitions of ${disk}`}
          columns={partitionColumns}
          rows={partitions}
          idOf={({ index }) => String(index)}
        />
      )}
    </>
  );
}

function Configuration({ of }: { of: Point['files'] }) {
  return (
    <Section title="Files of the machine’s configuration">
      <ul className="lines">
        {of.map(({ name, length }) => (
          <li key={name}>
            <span className="mono">{name}</span> <span className="soft">{formatBytes(length)}</span>
          </li>
        ))}
      </ul>
    </Section>
  );
}
