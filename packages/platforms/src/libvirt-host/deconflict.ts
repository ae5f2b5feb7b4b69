/** What a copy of a machine must not share with its original: files that are written to, sockets, ports of displays. */
import { basename, dirname, join } from 'node:path';
import { elementAt, elementsOf, removeChild, setAttribute, valueOf, type XmlElement } from '@prima/xml';

const characterDevices = new Set([
  'serial',
  'parallel',
  'console',
  'channel',
  'smartcard',
  'redirdev',
  'rng',
]);

/** Changes `devices` in place; answers what was changed, for people. */
export function deconflict(devices: XmlElement | undefined, name: string): string[] {
  const notes: string[] = [];
  for (const device of elementsOf(devices)) {
    if (characterDevices.has(device.local)) renewFiles(device, name, notes);
    if (device.local === 'graphics') freePorts(device, notes);
    if (device.local === 'interface') dropTarget(device);
  }
  return notes;
}

/** A file gets the machine's name before its own, in the same folder; a socket gets a path from libvirt. */
function renewFiles(device: XmlElement, name: string, notes: string[]): void {
  const source = elementAt(device, 'source');
  const type = valueOf(device, 'type');
  const rename = (element: XmlElement | undefined, attribute: string) => {
    const path = valueOf(element, attribute);
    if (!element || path === undefined) return;
    const renewed = join(dirname(path), `${name}-${basename(path)}`);
    setAttribute(element, attribute, renewed);
    notes.push(`its ${device.local} writes to ${renewed}: ${path} is the original's`);
  };
  rename(elementAt(device, 'log'), 'file');
  if (type === 'file') rename(source, 'path');
  if (type === 'unix' && valueOf(source, 'mode') !== 'connect' && source) removeChild(device, source);
  const alias = elementAt(device, 'alias');
  if (alias) removeChild(device, alias);
}

function freePorts(device: XmlElement, notes: string[]): void {
  if (valueOf(device, 'autoport') !== 'no') return;
  const port = valueOf(device, 'port') ?? '';
  setAttribute(device, 'autoport', 'yes');
  setAttribute(device, 'port', undefined);
  setAttribute(device, 'tlsPort', undefined);
  notes.push(
    `its ${valueOf(device, 'type') ?? 'display'} gets a port from libvirt: ${port} is the original's`,
  );
}

/** The host's end of a network card; libvirt makes one. */
function dropTarget(device: XmlElement): void {
  const target = elementAt(device, 'target');
  if (target) removeChild(device, target);
}
