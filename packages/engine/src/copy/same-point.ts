/**
 * Whether two points of two repositories hold the same. Their chunk ids are made with different keys and tell
 * nothing: every byte is read on both sides.
 */
import { PrimaError, type ProgressListener } from '@prima/base';
import { type BlockDevice, compareDevices, filterDevice } from '@prima/block';
import type { Point, Repository } from '@prima/repository';

export interface PointIn {
  repository: Repository;
  point: Point;
}

interface CompareOptions {
  signal?: AbortSignal;
  onProgress?: (subject: string, progress: Parameters<ProgressListener>[0]) => void;
}

/** Raises `verify-failed` with the first place at which `copy` is not as `origin`; `integrity` for damage. */
export async function assertSamePoint(
  origin: PointIn,
  copy: PointIn,
  options: CompareOptions,
): Promise<void> {
  const { point } = origin;
  const names = [...point.disks.map(({ name }) => name), ...(point.memory ? ['memory'] : [])];
  for (const name of names) await assertSameDisk(name, { origin, copy, options });
  for (const { name } of point.files) {
    const [ours, theirs] = await Promise.all([
      origin.repository.readFile(point, name),
      copy.repository.readFile(copy.point, name),
    ]);
    if (Buffer.compare(ours, theirs) !== 0) throw differs(origin, copy, `in its file ${name}`);
  }
}

async function assertSameDisk(
  name: string,
  { origin, copy, options }: { origin: PointIn; copy: PointIn; options: CompareOptions },
): Promise<void> {
  const { signal, onProgress } = options;
  await using stack = new AsyncDisposableStack();
  const ours = await origin.repository.openDisk(origin.point, name);
  stack.defer(() => ours.close());
  const theirs = await copy.repository.openDisk(copy.point, name);
  stack.defer(() => theirs.close());
  const counted = counting(ours, (done) =>
    onProgress?.(`${origin.point.machine.name} ${name}, comparing`, { phase: `comparing ${name}`, done }),
  );
  const { differences } = await compareDevices(counted, theirs, { limit: 1, signal });
  const [first] = differences;
  if (first) throw differs(origin, copy, `on ${name} at ${first.offset}+${first.length}`);
}

function differs(origin: PointIn, copy: PointIn, where: string): PrimaError {
  const { id } = copy.point;
  return new PrimaError(
    'verify-failed',
    `the copy ${id.slice(0, 12)} in ${copy.repository.url} differs from ${origin.point.id.slice(0, 12)} ${where}; ` +
      `forget it there (prima forget ${id.slice(0, 12)}) and copy the point again`,
    { details: { point: origin.point.id, copy: id } },
  );
}

/** Tells how many bytes were read so far. */
function counting(device: BlockDevice, tell: (bytes: number) => void): BlockDevice {
  let bytes = 0;
  return filterDevice(device, {
    read: async (offset, into, signal) => {
      await device.read(offset, into, signal);
      bytes += into.length;
      tell(bytes);
    },
  });
}
