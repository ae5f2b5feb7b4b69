/**
 * Checks a VMDK: descriptor, headers, tables, grains and chain, without reading the disk's data; and repairs what can
 * be repaired without a guess: tables of which a copy is damaged, a directory of two, freeSector, the mark of an unclean
 * shutdown, an end that belongs to nothing, and a file that ends within its last grain (what is gone reads as zeros).
 */
import { realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import { PrimaError, throwIfAborted, toPrimaError } from '@prima/base';
import { checkExtent } from './check-extent.ts';
import type { ExtentDescription } from './descriptor.ts';
import { formatCid } from './descriptor-write.ts';
import type { DiskFolder } from './disk-file.ts';
import { chainLimit, findParent } from './find-parent.ts';
import { Findings, type VmdkFinding, type VmdkFindingCode } from './findings.ts';
import { type LinkText, readLinkText } from './link-text.ts';
import { localFolder } from './local-folder.ts';

export type { VmdkFinding, VmdkFindingCode } from './findings.ts';

export interface CheckVmdkOptions {
  /** Default: the file system, below `roots` and the folder of the disk. */
  folder?: DiskFolder;
  roots?: readonly string[];
  /** Mends what can be mended safely, in this disk alone, and says what it did. Default false. */
  repair?: boolean;
  /** False looks at this disk alone. Default true: at its parents, too. */
  parents?: boolean;
  signal?: AbortSignal;
}

export interface VmdkCheckResult {
  findings: readonly VmdkFinding[];
  /** What a repair did, a line each. */
  repairs: readonly string[];
  /** What it did not do, because it could have made things worse, and why. */
  refusals: readonly string[];
}

/** Raises only what makes a check impossible: `not-found`, `permission`, `cancelled`, `io`. */
export async function checkVmdk(path: string, options: CheckVmdkOptions = {}): Promise<VmdkCheckResult> {
  const findings = new Findings();
  const repairs: string[] = [];
  const refusals: string[] = [];
  const start = options.folder ? path : await real(path);
  const folder = options.folder ?? localFolder([...(options.roots ?? []), dirname(start)]);
  const context = { ...options, folder, findings, repairs, refusals };
  await checkChain(await folder.resolve(start, start), context);
  return { findings: findings.finish(), repairs, refusals };
}

async function real(path: string): Promise<string> {
  return realpath(path).catch((error: unknown) => {
    throw toPrimaError(error, `checking ${path}`);
  });
}

interface Context extends CheckVmdkOptions {
  folder: DiskFolder;
  findings: Findings;
  repairs: string[];
  refusals: string[];
}

async function checkChain(start: string, context: Context): Promise<void> {
  const seen = new Set<string>();
  let child = await checkLink(start, context);
  seen.add(start);
  while (child?.parent && (context.parents ?? true)) {
    const { path, parent } = child;
    const next = await found(context, 'chain-broken', path, () => findParent(path, parent, context.folder));
    if (next === undefined) return;
    if (seen.has(next) || seen.size > chainLimit) {
      context.findings.add('chain-broken', start, `its chain of parents is a circle or too long (${next})`);
      return;
    }
    seen.add(next);
    const above: LinkText = child;
    child = await checkLink(next, { ...context, repair: false });
    if (child) checkParent(above, child, context.findings);
  }
}

function checkParent(child: LinkText, parent: LinkText, findings: Findings): void {
  const { parent: wanted } = child;
  if (wanted?.by === 'generation') {
    if (parent.generation === undefined || parent.generation === wanted.generation) return;
    const text = `it was made over generation ${wanted.generation} of ${parent.path}, which has ${parent.generation}`;
    findings.add('noted', child.path, text);
  } else if (wanted && parent.descriptor?.cid !== wanted.cid) {
    const has = parent.descriptor ? formatCid(parent.descriptor.cid) : 'none';
    const text = `it was made over ${parent.path} with the CID ${formatCid(wanted.cid)}; it has ${has} now`;
    findings.add('parent-changed', child.path, text);
  }
}

/** Undefined when there is nothing by which its parent could be found. */
async function checkLink(path: string, context: Context): Promise<LinkText | undefined> {
  throwIfAborted(context.signal, `checking ${path}`);
  const link = await found(context, 'descriptor-broken', path, () => readLinkText(path, context.folder));
  if (link === undefined) return undefined;
  const { descriptor } = link;
  if (descriptor === undefined) {
    await checkFile(path, { path, format: link.format, sectors: undefined, offset: 0 }, context);
    return link;
  }
  const embedded = link.format !== 'descriptor' && descriptor.extents.length === 1;
  for (const extent of descriptor.extents) await checkDescribed(extent, path, { ...context, embedded });
  return link;
}

const formats: Partial<Record<ExtentDescription['type'], WantedExtent['format']>> = {
  FLAT: 'flat',
  VMFS: 'flat',
  SPARSE: 'hosted',
  VMFSSPARSE: 'cowd',
  SESPARSE: 'seSparse',
};

interface WantedExtent {
  path: string;
  format: LinkText['format'];
  sectors: number | undefined;
  offset: number;
}

async function checkDescribed(
  extent: ExtentDescription,
  descriptor: string,
  context: Context & { embedded: boolean },
): Promise<void> {
  const { file, type, sectors, offset, access } = extent;
  const format = formats[type];
  if (file === undefined || format === undefined || access === 'NOACCESS') return;
  const name = context.embedded ? descriptor : file;
  const path = await found(context, 'extent-missing', descriptor, () =>
    context.folder.resolve(name, descriptor),
  );
  if (path !== undefined) await checkFile(descriptor, { path, format, sectors, offset }, context);
}

async function checkFile(descriptor: string, wanted: WantedExtent, context: Context): Promise<void> {
  const { path } = wanted;
  const { folder, repair = false } = context;
  const isMendable = wanted.format === 'hosted' || wanted.format === 'cowd';
  const open = () => (repair && isMendable ? folder.openForWriting(path) : folder.open(path));
  const file = await found(context, 'extent-missing', descriptor, open);
  if (file === undefined) return;
  try {
    await found(context, 'header-broken', path, () => checkExtent(file, wanted, context));
  } finally {
    await file.close();
  }
}

const expected: readonly string[] = ['format', 'unsupported', 'not-found', 'refused', 'state'];

/** Turns what a broken disk raises into a finding; everything else goes on. */
async function found<T>(
  { findings }: Context,
  code: VmdkFindingCode,
  path: string,
  task: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await task();
  } catch (error) {
    if (!(error instanceof PrimaError) || !expected.includes(error.code)) throw error;
    const { offset } = error.details;
    findings.add(code, path, error.message, typeof offset === 'number' ? offset : undefined);
    return undefined;
  }
}
