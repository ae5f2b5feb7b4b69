/** A machine's XML while its disks come from exports, and afterwards. Pure. */
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
  type XmlElement,
} from '@prima/xml';
import { diskAt, diskLocation, targetOf } from '../domain.ts';
import { type NotedDisk, recoveryElement, type RecoveryNote, recoveryUri } from './note.ts';

const make = elementMaker({});

/**
 * @param xml of the machine, whose disks have their overlays as sources
 * @returns the note that is in it, too: with the policies that the disks had
 */
export function recoveringXml(xml: string, note: RecoveryNote): { xml: string; note: RecoveryNote } {
  const document = parseXml(xml, 'a machine to be recovered');
  const disks = note.disks.map((noted): NotedDisk => {
    const disk = diskAt(document, noted.target);
    const driver = elementAt(disk, 'driver');
    if (!disk || !driver) return noted;
    const [errorPolicy, readErrorPolicy] = [
      valueOf(driver, 'error_policy'),
      valueOf(driver, 'rerror_policy'),
    ];
    setAttribute(driver, 'error_policy', 'stop');
    setAttribute(driver, 'rerror_policy', 'stop');
    insertChild(disk, backingStore(noted.target, note.socket), elementAt(disk, 'source'));
    return {
      ...noted,
      ...(errorPolicy === undefined ? {} : { errorPolicy }),
      ...(readErrorPolicy === undefined ? {} : { readErrorPolicy }),
    };
  });
  const whole = { ...note, disks };
  const metadata = elementAt(document.root, 'metadata');
  if (metadata) insertChild(metadata, recoveryElement(whole));
  else insertChild(document.root, make('metadata', {}, [recoveryElement(whole)]));
  return { xml: writeXml(document), note: whole };
}

function backingStore(name: string, socket: string): XmlElement {
  return make('backingStore', { type: 'network' }, [
    make('format', { type: 'raw' }),
    make('source', { protocol: 'nbd', name }, [make('host', { transport: 'unix', socket })]),
    make('backingStore'),
  ]);
}

/** Everything that the recovery put there is gone again. */
export function settledXml(xml: string, note: RecoveryNote): string {
  const document = parseXml(xml, 'a machine that was recovered');
  for (const { target, errorPolicy, readErrorPolicy } of note.disks) {
    const disk = diskAt(document, target);
    const driver = elementAt(disk, 'driver');
    if (!driver) continue;
    setAttribute(driver, 'error_policy', errorPolicy);
    setAttribute(driver, 'rerror_policy', readErrorPolicy);
  }
  const metadata = elementAt(document.root, 'metadata');
  const ours = elementsOf(metadata).find(({ uri }) => uri === recoveryUri);
  if (metadata && ours) removeChild(metadata, ours);
  if (metadata && elementsOf(metadata).length === 0) removeChild(document.root, metadata);
  return writeXml(document);
}

export interface DiskNow {
  /** It reads from our export. */
  needsExport: boolean;
  /** What its source names. */
  location: string;
  /** A copy of it is whole, and it can change over. */
  copyIsReady: boolean;
}

/** Undefined where the machine has no such disk any more. */
export function diskNow(disks: readonly XmlElement[], noted: NotedDisk, socket: string): DiskNow | undefined {
  const disk = disks.find((element) => targetOf(element) === noted.target);
  if (!disk) return undefined;
  return {
    needsExport: backingSockets(disk).includes(socket),
    location: diskLocation(disk),
    copyIsReady: valueOf(elementAt(disk, 'mirror'), 'ready') === 'yes',
  };
}

function backingSockets(disk: XmlElement): (string | undefined)[] {
  const backing = elementAt(disk, 'backingStore');
  if (!backing) return [];
  return [valueOf(elementAt(backing, 'source', 'host'), 'socket'), ...backingSockets(backing)];
}

/** A <disk> as text, for a block job's target. */
export function diskXml(element: XmlElement): string {
  return writeXml(newDocument(structuredClone(element), "'"));
}
