/**
 * A host's configuration in a restore point: a file for each item, and `host.json`, which lists them:
 * `{version, platform, items: [{name, file, state, value?}]}`; `file` and `value` name files of the point. The point is of a
 * "machine" that stands for the host and has no disks.
 */
import { FormatError, PrimaError } from '@prima/base';
import type { ConfigFile, HostItem, HostItemState } from '@prima/platforms';
import type { Point, Repository } from '@prima/repository';

const indexName = 'host.json';
const version = 1;
const longestName = 200;

interface Index {
  version: number;
  platform: string;
  items: { name: string; file: string; state: HostItemState; value?: string }[];
}

export interface StoredConfiguration {
  /** The kind of host: `libvirt`. */
  platform: string;
  items: HostItem[];
}

/** Whether a point is of a host, not of a machine or disk. */
export function isHostPoint({ machine }: Pick<Point, 'machine'>): boolean {
  return machine.id.startsWith('host:');
}

/** Who the point is of; the same for the same host under the same name. */
export function hostIdentity(host: string, items: readonly HostItem[]): Point['machine'] {
  const hostname = items.find(({ name }) => name === 'host')?.state['hostname'] ?? '';
  return { id: `host:${host}:${String(hostname)}`, name: `host:${host}`, host };
}

export function filesOf({ platform, items }: StoredConfiguration): ConfigFile[] {
  const index: Index = { version, platform, items: [] };
  const files: ConfigFile[] = [];
  const taken = new Set([indexName]);
  const add = (text: string, bytes: Uint8Array): string => {
    const name = plainName(text, taken);
    files.push({ name, bytes });
    return name;
  };
  for (const { name, content, state, value } of items) {
    const file = add(
      name.startsWith('etc/') ? name : `${name}.${name === 'host' ? 'facts' : 'xml'}`,
      content,
    );
    index.items.push({ name, file, state, ...(value ? { value: add(`${name}.value`, value) } : {}) });
  }
  const bytes = Buffer.from(`${JSON.stringify(index, undefined, 2)}\n`);
  return [{ name: indexName, bytes }, ...files];
}

/** Files of points lie in one folder when they are restored: a name without slashes, and no name twice. */
function plainName(text: string, taken: Set<string>): string {
  const plain = text.replaceAll('/', '-').slice(0, longestName);
  let name = plain;
  for (let count = 2; taken.has(name); count += 1) name = `${plain}-${count}`;
  taken.add(name);
  return name;
}

/** Raises `unsupported` for the point of a machine or disk, `newer-version`, `format`, and what reading raises. */
export async function storedConfiguration(
  repository: Repository,
  point: Point,
): Promise<StoredConfiguration> {
  if (!isHostPoint(point)) {
    throw new PrimaError(
      'unsupported',
      `the point ${point.id.slice(0, 12)} is of ${point.machine.name}, not of a host's configuration (prima host backup makes such points)`,
    );
  }
  const index = parseIndex(await repository.readFile(point, indexName), point);
  const items: HostItem[] = [];
  for (const { name, file, state, value } of index.items) {
    const content = await repository.readFile(point, file);
    const secret = value === undefined ? undefined : await repository.readFile(point, value);
    items.push({ name, content, state, ...(secret ? { value: secret } : {}) });
  }
  return { platform: index.platform, items };
}

function parseIndex(bytes: Uint8Array, point: Point): Index {
  const what = `${indexName} of the point ${point.id.slice(0, 12)}`;
  let index: Partial<Index> | null;
  try {
    index = JSON.parse(Buffer.from(bytes).toString()) as Partial<Index> | null;
  } catch (error) {
    throw new FormatError(`${what} is no JSON`, { cause: error });
  }
  const { version: found, platform, items } = index ?? {};
  if (typeof found === 'number' && found > version) {
    throw new PrimaError('newer-version', `${what} has version ${found}, this Prima knows ${version}`);
  }
  const isSound =
    typeof platform === 'string' &&
    Array.isArray(items) &&
    items.every(
      (item) => typeof item.name === 'string' && typeof item.file === 'string' && item.state !== undefined,
    );
  if (!isSound) throw new FormatError(`${what}: a platform and a list of items were expected`);
  return { version, platform, items };
}
