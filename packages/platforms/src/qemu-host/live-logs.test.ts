/** Merging under a running machine, against a QEMU that does as it is told, or does not. */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { MiB, PrimaError } from '@prima/base';
import { parseVmx, type RedoRecord, RedoStack } from '@prima/formats';
import { type QmpClient, qcow2Logs } from '@prima/qemu';
import { commitLive, openLogs, settleLive } from './live-logs.ts';
import { machineConfig } from './machine-config.ts';

const root = await mkdtemp(join(tmpdir(), 'prima-live-logs-'));
after(() => rm(root, { recursive: true }));
const id = '00000001';

/** Nodes by what they read from; jobs do what they do at once. */
class FakeQemu {
  drive: string | undefined = `redo-${id}`;
  readonly children = new Map([
    [`redo-${id}`, 'disk-scsi0-0'],
    ['disk-scsi0-0', ''],
  ]);
  readonly refuse = new Set<string>();
  paused = false;
  #job: { id: string; status: string } | undefined;

  readonly window = {
    pause: async () => {
      this.paused = true;
    },
    resume: async () => {
      this.paused = false;
    },
  };

  get qmp(): QmpClient {
    return { execute: async (command: string, args?: object) => this.#execute(command, args) } as QmpClient;
  }

  #execute(command: string, args: object = {}): unknown {
    if (this.refuse.has(command)) throw refusal(command);
    const names = [...this.children.keys()];
    switch (command) {
      case 'qom-get':
        if (this.drive === undefined) throw refusal('no such device');
        return this.drive;
      case 'x-debug-query-block-graph':
        return {
          nodes: names.map((name, index) => ({ id: index, name })),
          edges: [...this.children]
            .filter(([, child]) => child !== '')
            .map(([name, child]) => ({ parent: names.indexOf(name), child: names.indexOf(child) })),
        };
      case 'query-named-block-nodes':
        return names.map((name) => ({ 'node-name': name }));
      case 'query-jobs':
        return this.#job ? [{ ...this.#job, 'current-progress': 1, 'total-progress': 1 }] : [];
      case 'block-commit':
        this.#job = { id: `merge-${id}`, status: 'ready' };
        return {};
      case 'job-complete':
        this.drive = 'disk-scsi0-0';
        this.#job = { id: `merge-${id}`, status: 'concluded' };
        return {};
      case 'job-cancel':
        this.#job = { id: `merge-${id}`, status: 'concluded' };
        return {};
      case 'job-dismiss':
        this.#job = undefined;
        return {};
      case 'blockdev-del': {
        const { 'node-name': name } = args as { 'node-name': string };
        if ([...this.children.values(), this.drive].includes(name)) throw refusal('the node is in use');
        this.children.delete(name);
        return {};
      }
      default:
        return assert.fail(`nobody should ask QEMU to ${command}`);
    }
  }
}

const refusal = (desc: string) => new PrimaError('remote', desc, { details: { desc } });

interface Lab {
  folder: string;
  config: ReturnType<typeof machineConfig>;
  live: Parameters<typeof commitLive>[1];
  record(): Promise<RedoRecord>;
}

/** A machine with one disk that has one log. */
async function lab(fault: { removing?: boolean } = {}, doing?: RedoRecord['doing']): Promise<Lab> {
  const folder = await mkdtemp(join(root, 'machine-'));
  const path = join(folder, 'disk.raw');
  await writeFile(path, Buffer.alloc(MiB));
  await writeFile(`${path}.REDO`, 'what the guest wrote');
  const recordPath = `${path}.redo.json`;
  const log = { id, files: ['disk.raw.REDO'], purpose: 'asked', made: '2026-01-01T00:00:00Z' };
  await writeFile(
    recordPath,
    JSON.stringify({ version: 1, disk: 'disk.raw', kind: 'qcow2', logs: [log], doing }),
  );
  const text = 'scsi0:0.present = "TRUE"\nscsi0:0.fileName = "disk.raw"\nprima.scsi0:0.format = "raw"\n';
  const config = machineConfig(parseVmx(Buffer.from(text)), folder, 'm');
  const remove = async (names: readonly string[]) => {
    if (fault.removing) throw new PrimaError('io', 'the folder is read-only now');
    for (const name of names) await rm(join(folder, name), { force: true });
  };
  const stack = await RedoStack.open(path, {
    kind: qcow2Logs({ disk: path, format: 'raw', size: MiB }),
    folder: {
      path: folder,
      read: (name) => readFile(join(folder, name), 'utf8'),
      replace: (name, body) => writeFile(join(folder, name), body),
      names: () => readdir(folder),
      remove,
    },
  });
  const [disk] = config.disks;
  assert.ok(disk);
  const record = async () => JSON.parse(await readFile(recordPath, 'utf8')) as RedoRecord;
  return { folder, config, live: { disk, stack }, record };
}

const logIsThere = async ({ folder }: Lab) => (await readdir(folder)).includes('disk.raw.REDO');

describe('merging the log that a running guest writes to', () => {
  it('takes the log away before the guest runs on', async () => {
    const made = await lab();
    const qemu = new FakeQemu();
    await commitLive(qemu.qmp, made.live, { level: 0, window: qemu.window });
    assert.equal(qemu.paused, false);
    assert.equal(await logIsThere(made), false);
    assert.deepEqual([...qemu.children.keys()], ['disk-scsi0-0']);
  });

  it('keeps the guest paused while the log cannot go', async () => {
    const made = await lab({ removing: true });
    const qemu = new FakeQemu();
    await assert.rejects(
      commitLive(qemu.qmp, made.live, { level: 0, window: qemu.window }),
      (error: PrimaError) => error.code === 'io',
    );
    assert.equal(qemu.drive, 'disk-scsi0-0');
    assert.equal(qemu.paused, true, 'its writes would lie beneath a log that is on record');
  });

  it('lets the guest run on where QEMU did not go over', async () => {
    const made = await lab();
    const qemu = new FakeQemu();
    qemu.refuse.add('job-complete');
    await assert.rejects(commitLive(qemu.qmp, made.live, { level: 0, window: qemu.window }), /job-complete/);
    assert.equal(qemu.paused, false);
    assert.equal(await logIsThere(made), true);
    assert.equal((await made.record()).doing?.do, 'commit');
  });

  it('removes no log that QEMU was not started with', async () => {
    for (const drive of [undefined, 'disk-scsi0-0']) {
      const made = await lab();
      const qemu = new FakeQemu();
      qemu.drive = drive;
      await assert.rejects(
        commitLive(qemu.qmp, made.live, { level: 0, window: qemu.window }),
        (error: PrimaError) => error.code === 'state',
      );
      assert.equal(await logIsThere(made), true);
      assert.equal((await made.record()).doing, undefined);
      await assert.rejects(
        openLogs(qemu.qmp, [made.live], { runFolder: made.folder, purpose: 'asked' }),
        (error: PrimaError) => error.code === 'state',
      );
    }
  });
});

describe('what a dead process left of a merge', () => {
  const doing = { do: 'commit', id } as const;

  it('is seen through the filter of a backup', async () => {
    const made = await lab({}, doing);
    const qemu = new FakeQemu();
    qemu.children.set('prima-1-filter', `redo-${id}`);
    qemu.drive = 'prima-1-filter';
    const [said = ''] = await settleLive(qemu.qmp, made.config);
    assert.match(said, /half merged: commit it again/);
    assert.equal(await logIsThere(made), true);
  });

  it('ends where QEMU has gone over', async () => {
    const made = await lab({}, doing);
    const qemu = new FakeQemu();
    qemu.drive = 'disk-scsi0-0';
    const [said = ''] = await settleLive(qemu.qmp, made.config);
    assert.match(said, /was merged, and is gone now/);
    assert.equal(await logIsThere(made), false);
  });

  it('stays where QEMU has no such disk', async () => {
    const made = await lab({}, doing);
    const qemu = new FakeQemu();
    qemu.drive = undefined;
    assert.deepEqual(await settleLive(qemu.qmp, made.config), []);
    assert.equal(await logIsThere(made), true);
  });
});
