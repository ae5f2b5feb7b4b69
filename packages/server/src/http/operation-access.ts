/** Who may send a request for an operation. */
import { type OperationName, type parseRequest, roleOf } from '@prima/api/schemas';
import type { Caller } from '../accounts/sessions.ts';
import type { Service } from '../service/service.ts';
import { checkAudience, checkMayNamePaths } from './access.ts';
import { namesPaths } from './operation-traits.ts';

/** Raises `forbidden`. */
export async function checkMayOperate(
  { tenants, workers }: Service,
  caller: Caller,
  name: OperationName,
  request: ReturnType<typeof parseRequest>,
): Promise<void> {
  const { organisation } = caller;
  const own = await (await tenants.of(organisation)).hostList();
  const hosts = [...own, ...(await workers.hosts(organisation))].map((host) => host.name);
  const role = roleOf(name, request, hosts);
  checkAudience(caller, role);
  if (namesPaths(name, role)) checkMayNamePaths(caller);
}
