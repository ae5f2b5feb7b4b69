/**
 * Who may send a request. What reads or writes a path of the server's own file system, or connects to an address, that
 * the caller names is an administrator's.
 */
import type { z } from 'zod';
import type { Role } from './http/endpoint.ts';
import type { OperationName, OperationTable } from './operation.ts';
import { operations } from './operation-table.ts';

type Request<Name extends OperationName> = z.infer<OperationTable[Name]['request']>;

/** True for `HOST/MACHINE` of a host that is registered. */
export type IsMachine = (text: string) => boolean;

type Rules = {
  [Name in OperationName]?: (request: Request<Name>, isMachine: IsMachine) => boolean;
};

const pointLike = /^(?:[0-9a-f]{4,}|latest|[^/\\]+@[^/\\]+)$/i;

/** When an administrator is needed, although the table names another role. */
const administratorWhen: Rules = {
  backup: ({ sources, scratch, allowed, sourceFormat }, isMachine) =>
    !sources.every(isMachine) || [scratch?.folder, allowed, sourceFormat].some((it) => it !== undefined),
  check: ({ rebuildIndex, acceptHead }) => Boolean(rebuildIndex) || Boolean(acceptHead),
  restoreToHost: ({ luns }) => luns !== undefined,
  export: ({ socket }) => socket !== undefined,
  machineCreate: ({ disks, kernel, initrd }) =>
    kernel !== undefined || initrd !== undefined || disks.some(({ copyOf }) => copyOf !== undefined),
  machineConfiguration: ({ source }, isMachine) => !isMachine(source) && !pointLike.test(source),
  redoList: ({ target }, isMachine) => !isMachine(target),
  redoAdd: ({ target }, isMachine) => !isMachine(target),
  redoCommit: ({ target }, isMachine) => !isMachine(target),
  redoDiscard: ({ target }, isMachine) => !isMachine(target),
  datastoreShow: ({ folders }) => folders !== undefined,
};

/**
 * The role that `request` needs.
 * @param hosts the names of the hosts that are registered
 */
export function roleOf<Name extends OperationName>(
  name: Name,
  request: Request<Name>,
  hosts: readonly string[],
): Role {
  const isMachine: IsMachine = (text) => {
    const slash = text.indexOf('/');
    return slash > 0 && slash < text.length - 1 && hosts.includes(text.slice(0, slash));
  };
  return administratorWhen[name]?.(request, isMachine) ? 'administrator' : operations[name].role;
}
