/** What a request for an operation is about: for people, and for what may run beside what. */
import type { Role } from '@prima/api/http';
import { type OperationName, operations } from '@prima/api/schemas';

/** Of a job, in a few words. */
export function summaryOf(name: OperationName, request: unknown): string {
  const about = aboutOf(request as Record<string, unknown>);
  const { summary } = operations[name];
  return about === '' ? summary : `${summary}: ${about}`;
}

function aboutOf(request: Record<string, unknown>): string {
  const { sources, points } = request;
  const list = Array.isArray(sources) ? sources : Array.isArray(points) ? points : [];
  const named = ['machine', 'point', 'name', 'source', 'path', 'host', 'as', 'folder']
    .map((key) => request[key])
    .filter((value) => typeof value === 'string');
  const words = [
    ...list.slice(0, 3).map(String),
    ...(list.length > 3 ? [`and ${list.length - 3} more`] : []),
    ...named,
  ];
  return words.slice(0, 4).join(' ').slice(0, 300);
}

/** `HOST/MACHINE`: nothing else is done to them meanwhile. */
export function machinesOf(name: OperationName, request: unknown): string[] {
  if (operations[name].reads) return [];
  const { sources, machine, host, as } = request as Record<string, unknown>;
  const named = [...(Array.isArray(sources) ? sources : []), machine].filter(
    (text) => typeof text === 'string',
  );
  if (typeof host === 'string' && typeof as === 'string') named.push(`${host}/${as}`);
  return named.filter((text) => /^[^/\s]+\/[^/]+$/.test(text));
}

export function hostOfRequest(request: unknown): string | undefined {
  const { host, sources, machine } = request as Record<string, unknown>;
  if (typeof host === 'string') return host;
  const [source] = Array.isArray(sources) ? (sources as unknown[]) : [machine];
  return typeof source === 'string' ? /^([^/\s]+)\/[^/]+$/.exec(source)?.[1] : undefined;
}

/** Of an administrator's operations, those on the repository and its points: the others name paths or addresses. */
const ofRepository: ReadonlySet<OperationName> = new Set<OperationName>([
  'check',
  'collect',
  'forget',
  'keyAdd',
  'keyList',
  'keyRemove',
  'keyRotate',
  'keyRotateRoot',
  'lock',
  'status',
  'hostList',
  'hostRemove',
  'machineDelete',
]);

/** @param role what this request needs */
export function namesPaths(name: OperationName, role: Role): boolean {
  return role === 'administrator' && !ofRepository.has(name);
}
