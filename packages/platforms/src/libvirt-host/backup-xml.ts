/** The XML of backups and checkpoints: https://libvirt.org/formatbackup.html, https://libvirt.org/formatcheckpoint.html */
import {
  elementAt,
  elementMaker,
  elementsOf,
  newDocument,
  parseXml,
  textAt,
  valueOf,
  writeXml,
  type XmlElement,
} from '@prima/xml';
import type { DiskServer } from './disk-server.ts';

const make = elementMaker({});

export interface BackupDisk {
  target: string;
  /** The checkpoint that it is read from; undefined: all is read. */
  since?: string;
  /** Where the guest's overwritten blocks are kept. */
  scratch: string;
}

/** The name of the bitmap under which QEMU exports what has changed. */
export function exportedBitmap(target: string): string {
  return `prima-${target}`;
}

/**
 * A backup in pull mode: QEMU serves the disks at `server`. Those that are not named are left out.
 */
export function backupXml(
  server: DiskServer,
  disks: readonly BackupDisk[],
  others: readonly string[],
): string {
  const own = disks.map(({ target, since, scratch }) =>
    make(
      'disk',
      {
        name: target,
        backup: 'yes',
        type: 'file',
        exportname: target,
        ...(since === undefined
          ? { backupmode: 'full' }
          : { backupmode: 'incremental', incremental: since, exportbitmap: exportedBitmap(target) }),
      },
      [make('driver', { type: 'qcow2' }), make('scratch', { file: scratch })],
    ),
  );
  const left = others.map((name) => make('disk', { name, backup: 'no' }));
  return write(
    make('domainbackup', { mode: 'pull' }, [
      make('server', serverAttributes(server)),
      make('disks', {}, [...own, ...left]),
    ]),
  );
}

function serverAttributes(server: DiskServer): Record<string, string> {
  if (server.transport === 'unix') return { transport: 'unix', socket: server.socket };
  const { address, port } = server;
  return { transport: 'tcp', tls: 'yes', name: address, port: String(port) };
}

/** Disks that are not named keep no bitmap of this checkpoint. */
export function checkpointXml(name: string, tracked: readonly string[], others: readonly string[]): string {
  const disks = [
    ...tracked.map((target) => make('disk', { name: target, checkpoint: 'bitmap', bitmap: name })),
    ...others.map((target) => make('disk', { name: target, checkpoint: 'no' })),
  ];
  const description = 'made by Prima; keep it, the next backup starts from it';
  return write(
    make('domaincheckpoint', {}, [
      make('name', {}, [name]),
      make('description', {}, [description]),
      make('disks', {}, disks),
    ]),
  );
}

/** Tells libvirt of a checkpoint whose bitmaps are there. */
export function knownCheckpointXml({
  name,
  parent,
  tracked,
  made,
}: Omit<KnownCheckpoint, 'tracked'> & { tracked: readonly string[] }): string {
  return write(
    make('domaincheckpoint', {}, [
      make('name', {}, [name]),
      ...(parent === undefined ? [] : [make('parent', {}, [make('name', {}, [parent])])]),
      make('creationTime', {}, [String(made)]),
      make(
        'disks',
        {},
        tracked.map((target) => make('disk', { name: target, checkpoint: 'bitmap', bitmap: name })),
      ),
    ]),
  );
}

export interface RunningBackup {
  disks: { target: string; scratch?: string; bitmap?: string }[];
}

/** What the daemon says of the backup that is under way. Raises `format`. */
export function parseBackup(xml: string): RunningBackup {
  const { root } = parseXml(xml, "the machine's backup job");
  const disks = elementsOf(elementAt(root, 'disks')).map((disk) => {
    const scratch = valueOf(elementAt(disk, 'scratch'), 'file');
    const bitmap = valueOf(disk, 'exportbitmap');
    return {
      target: valueOf(disk, 'name') ?? '',
      ...(scratch === undefined ? {} : { scratch }),
      ...(bitmap === undefined ? {} : { bitmap }),
    };
  });
  return { disks };
}

/** Whether it is the backup of a run of Prima's: its scratch files are called after it. */
export function isOfRun({ disks }: RunningBackup, run: string): boolean {
  return disks.some(({ scratch }) => scratch?.includes(`/prima-${run}-`) === true);
}

export interface KnownCheckpoint {
  name: string;
  parent?: string;
  /** Seconds since 1970. */
  made: number;
  /** Targets of the disks that have its bitmap. */
  tracked: string[];
}

/** Raises `format`. */
export function parseCheckpoint(xml: string): KnownCheckpoint {
  const { root } = parseXml(xml, 'a checkpoint of the machine');
  const parent = textAt(root, 'parent', 'name');
  return {
    name: textAt(root, 'name') ?? '',
    ...(parent === undefined ? {} : { parent }),
    made: Number(textAt(root, 'creationTime') ?? 0),
    tracked: elementsOf(elementAt(root, 'disks'))
      .filter((disk) => valueOf(disk, 'checkpoint') === 'bitmap')
      .map((disk) => valueOf(disk, 'name') ?? ''),
  };
}

function write(root: XmlElement): string {
  return writeXml(newDocument(root, "'"));
}
