/** A machine's XML with its disks on their overlays, or on what is below them. Pure. */
import {
  elementAt,
  elementMaker,
  elementsOf,
  insertChild,
  newDocument,
  parseXml,
  removeChild,
  setAttribute,
  valueOf,
  writeXml,
} from '@prima/xml';
import { diskAt } from '../domain.ts';
import { type NotedOverlay, rollbackUri } from './note.ts';

const make = elementMaker({});

/** Where a disk is. `gone`: the machine has no such disk any more; `elsewhere`: on a file that is neither. */
export type Place = 'base' | 'overlay' | 'elsewhere' | 'gone';

export function placeOf(xml: string, { target, base, overlay }: NotedOverlay): Place {
  const disk = diskAt(parseXml(xml, 'a machine'), target);
  if (!disk) return 'gone';
  const file = valueOf(elementAt(disk, 'source'), 'file');
  return file === overlay ? 'overlay' : file === base ? 'base' : 'elsewhere';
}

/** Whether a commit into what is below has got to its end, and the disk can change over. */
export function commitIsReady(xml: string, target: string): boolean {
  const disk = diskAt(parseXml(xml, 'a machine'), target);
  return valueOf(elementAt(disk, 'mirror'), 'ready') === 'yes';
}

/** Disks that are elsewhere stay there. */
export function switchedXml(xml: string, disks: readonly NotedOverlay[], to: 'base' | 'overlay'): string {
  const document = parseXml(xml, 'a machine');
  for (const noted of disks) {
    const disk = diskAt(document, noted.target);
    const source = elementAt(disk, 'source');
    const file = valueOf(source, 'file');
    if (!disk || !source || (file !== noted.base && file !== noted.overlay)) continue;
    setAttribute(source, 'file', to === 'base' ? noted.base : noted.overlay);
    const format = to === 'base' ? noted.format : 'qcow2';
    const driver = elementAt(disk, 'driver');
    if (driver) setAttribute(driver, 'type', format);
    else insertChild(disk, make('driver', { name: 'qemu', type: format }));
    const backing = elementAt(disk, 'backingStore');
    if (backing) removeChild(disk, backing); // QEMU's files tell
  }
  return writeXml(document);
}

/** For a restore point: as if there were no rollback point. */
export function withoutRollback(xml: string, disks: readonly NotedOverlay[]): string {
  const document = parseXml(switchedXml(xml, disks, 'base'), 'a machine');
  const metadata = elementAt(document.root, 'metadata');
  const ours = elementsOf(metadata).find(({ uri }) => uri === rollbackUri);
  if (metadata && ours) removeChild(metadata, ours);
  if (metadata && elementsOf(metadata).length === 0) removeChild(document.root, metadata);
  return writeXml(document);
}

export function snapshotXml(disks: readonly NotedOverlay[], others: readonly string[]): string {
  const elements = disks.map(({ target, overlay }) =>
    make('disk', { name: target, snapshot: 'external', type: 'file' }, [
      make('driver', { type: 'qcow2' }),
      make('source', { file: overlay }),
    ]),
  );
  const left = others.map((target) => make('disk', { name: target, snapshot: 'no' }));
  return writeXml(newDocument(make('domainsnapshot', {}, [make('disks', {}, [...elements, ...left])]), "'"));
}
