/** Which other points are the same one, in other repositories. */
import type { PointRow } from '@prima/api/http';

type Kin = Pick<PointRow, 'id' | 'origin' | 'repository'>;

/** The names of the repositories, sorted. */
export function copiesOf(point: Kin, among: readonly Kin[]): string[] {
  const root = point.origin ?? point.id;
  const same = among.filter(
    ({ id, origin, repository }) => (origin ?? id) === root && repository !== point.repository,
  );
  return [...new Set(same.map(({ repository }) => repository))].sort();
}
