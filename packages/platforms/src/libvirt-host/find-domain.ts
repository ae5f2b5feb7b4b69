/** Machines of a libvirt host by name or UUID. */
import { toPrimaError } from '@prima/base';
import type { Domain as DomainRef, LibvirtConnection } from '@prima/libvirt';

const uuidPattern = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i;

/** By UUID where it looks like one, else by name; undefined where there is none. */
export async function findDomain(
  connection: LibvirtConnection,
  nameOrUuid: string,
): Promise<DomainRef | undefined> {
  const isUuid = uuidPattern.test(nameOrUuid);
  const byUuid = isUuid && (await ifThere(connection.call('domainLookupByUuid', { uuid: nameOrUuid })));
  return byUuid || (await ifThere(connection.call('domainLookupByName', { name: nameOrUuid })));
}

async function ifThere(looking: Promise<{ dom: DomainRef }>): Promise<DomainRef | undefined> {
  try {
    return (await looking).dom;
  } catch (error) {
    if (toPrimaError(error, 'looking for a machine').code === 'not-found') return undefined;
    throw error;
  }
}
