/** The daemon's machines, without those that Prima itself defined for a moment. */
import type { Domain, LibvirtConnection } from '@prima/libvirt';
import { isStandIn } from './stand-in.ts';

export async function domainsOf(connection: LibvirtConnection): Promise<Domain[]> {
  const { domains } = await connection.call('connectListAllDomains', {});
  return domains.filter(({ name }) => !isStandIn(name));
}
