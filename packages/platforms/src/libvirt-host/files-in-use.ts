/** Files of a host that machines need: whatever removes disks leaves these. */
import { realpath } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { toPrimaError } from '@prima/base';
import { type Domain as DomainRef, type LibvirtConnection, XmlFlags } from '@prima/libvirt';
import { elementAt, elementsOf, parseXml, textAt } from '@prima/xml';
import { diskChain, parseDomain } from './domain.ts';
import { isAbsentFolder, volumeOf, withPoolOver } from './host-files.ts';
import { isStandIn } from './stand-in.ts';

export interface FilesInUse {
  /** Whether a machine needs the file, by this name or by another that links make of it on this machine. */
  has(path: string): Promise<boolean>;
}

/** Disks, firmware variables and all backing files of all machines but `except`, a UUID. Stand-ins need nothing. */
export async function filesInUse(connection: LibvirtConnection, except?: string): Promise<FilesInUse> {
  const used = await namedFiles(connection, except);
  for (let fresh = [...used]; fresh.length > 0; ) {
    fresh = (await backingFilesOf(connection, fresh)).filter((path) => !used.has(path));
    for (const path of fresh) used.add(path);
  }
  // of another machine's paths nothing is found here, or what keeps a file that could have gone
  const real = new Set<string>(used);
  for (const path of used) real.add(await realPath(path));
  return { has: async (path) => real.has(path) || real.has(await realPath(path)) };
}

async function realPath(path: string): Promise<string> {
  return path.startsWith('/') ? realpath(path).catch(() => path) : path;
}

/** Only those that the machines' configurations name. */
export async function namedFiles(connection: LibvirtConnection, except?: string): Promise<Set<string>> {
  const named = new Set<string>();
  const { domains } = await connection.call('connectListAllDomains', {});
  for (const dom of domains) {
    if (dom.uuid === except || isStandIn(dom.name)) continue;
    for (const path of await filesOf(connection, dom)) named.add(path);
  }
  return named;
}

/** As it runs, and as it is defined. */
async function filesOf(connection: LibvirtConnection, dom: DomainRef): Promise<string[]> {
  const files: string[] = [];
  try {
    for (const flags of [0, XmlFlags.VIR_DOMAIN_XML_INACTIVE]) {
      const { xml } = await connection.call('domainGetXmlDesc', { dom, flags });
      const { document, nvram } = parseDomain(xml, dom.name);
      const disks = elementsOf(elementAt(document.root, 'devices')).filter(({ local }) => local === 'disk');
      files.push(...disks.flatMap(diskChain), ...(nvram === undefined ? [] : [nvram]));
    }
  } catch (error) {
    if (toPrimaError(error, `looking at ${dom.name}`).code !== 'not-found') throw error; // it has gone
  }
  return files;
}

/** One level down. Of devices and what lies on networks nothing is told. */
async function backingFilesOf(connection: LibvirtConnection, paths: readonly string[]): Promise<string[]> {
  const files = paths.filter((path) => path.startsWith('/') && !path.startsWith('/dev/'));
  const backing: string[] = [];
  for (const [folder, inFolder = []] of Object.entries(Object.groupBy(files, (path) => dirname(path)))) {
    try {
      await withPoolOver(connection, folder, async (pool) => {
        for (const path of inFolder) {
          const vol = await volumeOf(connection, pool, basename(path));
          if (!vol) continue;
          const { xml } = await connection.call('storageVolGetXmlDesc', { vol });
          const below = textAt(parseXml(xml, `the volume ${path}`).root, 'backingStore', 'path');
          if (below) backing.push(below);
        }
      });
    } catch (error) {
      if (!isAbsentFolder(error)) throw error;
    }
  }
  return backing;
}
