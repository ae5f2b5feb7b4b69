/** What QMP says about nodes, bitmaps and exports, as far as backups need it (qapi/block-core.json of QEMU 7.2). */
import type { QmpClient } from '@prima/qemu';
import { PrimaError, systemClock, withDeadline } from '@prima/base';

/** qapi: BlockDirtyInfo. */
export interface DirtyBitmap {
  name?: string;
  /** Bytes that are marked. */
  count: number;
  granularity: number;
  recording: boolean;
  busy: boolean;
  persistent: boolean;
  inconsistent?: boolean;
}

/** qapi: BlockDeviceInfo. */
export interface BlockNode {
  'node-name': string;
  drv: string;
  ro: boolean;
  image: {
    filename: string;
    'virtual-size': number;
    'actual-size'?: number;
    snapshots?: unknown[];
    'format-specific'?: { type: string; data?: { compat?: string } };
  };
  'dirty-bitmaps'?: DirtyBitmap[];
}

/** No single step of ours takes QEMU longer, or something is badly wrong. */
export const stepTimeoutMs = 10_000;

export async function queryNodes(qmp: QmpClient): Promise<Map<string, BlockNode>> {
  const nodes = await qmp.execute<BlockNode[]>(
    'query-named-block-nodes',
    { flat: true },
    { timeoutMs: 30_000 },
  );
  return new Map(nodes.map((node) => [node['node-name'], node]));
}

export async function queryStatus(qmp: QmpClient): Promise<string> {
  const { status } = await qmp.execute<{ status: string }>('query-status', undefined, {
    timeoutMs: stepTimeoutMs,
  });
  return status;
}

/** Whether a disk of the guest waits for room: its write is tried again when the guest goes on (qapi: BlockDeviceIoStatus). */
export async function waitsForRoom(qmp: QmpClient): Promise<boolean> {
  const disks = await qmp.execute<{ 'io-status'?: string }[]>('query-block', undefined, {
    timeoutMs: stepTimeoutMs,
  });
  return disks.some((disk) => disk['io-status'] === 'nospace');
}

export async function queryExports(qmp: QmpClient): Promise<string[]> {
  const exports = await qmp.execute<{ id: string }[]>('query-block-exports');
  return exports.map(({ id }) => id);
}

export async function addNode(qmp: QmpClient, options: object): Promise<void> {
  await qmp.execute('blockdev-add', options, { timeoutMs: stepTimeoutMs });
}

export async function removeBitmap(qmp: QmpClient, node: string, name: string): Promise<void> {
  await qmp.execute('block-dirty-bitmap-remove', { node, name }, { timeoutMs: stepTimeoutMs });
}

/** Puts `node` behind the machine's device; the guest does not notice. */
export async function setDrive(qmp: QmpClient, device: string, node: string): Promise<void> {
  await qmp.execute(
    'qom-set',
    { path: device, property: 'drive', value: node },
    { timeoutMs: stepTimeoutMs },
  );
}

export async function driveOf(qmp: QmpClient, device: string): Promise<string> {
  return qmp.execute<string>('qom-get', { path: device, property: 'drive' });
}

/** Asks until `done` says so; for what QEMU finishes in the background. Raises `timeout`. */
export async function pollUntil(
  what: string,
  timeoutMs: number,
  done: () => Promise<boolean>,
): Promise<void> {
  await withDeadline(timeoutMs, `waiting until ${what}`, async (signal) => {
    for (let pauseMs = 2; !(await done()); pauseMs = Math.min(100, pauseMs * 2)) {
      await systemClock.sleep(pauseMs, signal);
    }
  });
}

/** True for QEMU's answer that a command could not be done; false for lost connections and deadlines. */
export function isRefusal(error: unknown): boolean {
  return error instanceof PrimaError && error.details.desc !== undefined;
}
