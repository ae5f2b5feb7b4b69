/**
 * Gives a disk another name, in its folder or another one of the same file system: all of its files, what it says of them and
 * of its parent, and what its children in its old folder say of it.
 *
 * First every extent gets its new name besides the old one; this is taken back when anything fails. Then the rest is
 * committed: the new descriptor, the children's changes, and the end of the old names. Before, the disk is whole under its
 * old name; after, under its new one; after a crash the next command takes it to one of the two.
 */
import { lstat, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { PrimaError, throwIfAborted, toPrimaError, UserError } from '@prima/base';
import {
  changeDescriptor,
  explainFormat,
  type LinkText,
  replaceExtents,
  type VmdkDescriptor,
  writeDescriptor,
} from '@prima/formats';
import { addName, type FileStep, identityAt, identityOf } from '../file-steps.ts';
import type { JournalEntry } from '../journal.ts';
import { changeDisk, type ChangeOptions } from './change-disk.ts';
import { type Dependent, dependentsOf } from './dependents.ts';
import { assertUnused, assertUsable, type DiskParts } from './disk-parts.ts';
import type { NamedDisk } from './inspect-disk.ts';
import { descriptorStep, parentNameStep, temporaryFile } from './text-steps.ts';

export interface RenamedDisk {
  path: string;
  files: { from: string; to: string }[];
  /** Disks whose account of their parent was changed. */
  children: string[];
}

/** Raises `exists`, `busy`, `refused`, `unsupported` (another file system), `usage`. */
export async function renameDisk(
  disk: NamedDisk,
  target: string,
  options: ChangeOptions,
): Promise<RenamedDisk> {
  const doing = `renaming ${disk.path} to ${target}`;
  return changeDisk(disk, { ...options, doing }, async (parts, entry) => {
    await assertUsable(parts, doing);
    const to = await targetOf(target);
    await assertFormatStays(parts, to, disk.format);
    const files = await planNames(parts, to);
    const children = (await dependentsOf(parts)).map((one) => childOf(one, parts, doing));
    for (const { path } of children) await assertUnused([{ path, isMissing: false }], doing);
    await assertTargets(parts, files, doing);
    const names = new Map(files.map(({ from, to: name }) => [from, name]));
    const steps = await textSteps(parts, { names, to, children, entry });
    throwIfAborted(options.signal, doing);
    for (const { from, to: name } of files) {
      if (isDescriptorFile(parts, from)) continue;
      await entry.intend({ kind: 'move', path: name, to: from, file: await identityOf(from) });
      await addName(from, name);
    }
    await entry.commit([...steps, ...(await endings(parts, files))]);
    return { path: to, files, children: children.map(({ path }) => path) };
  });
}

async function targetOf(target: string): Promise<string> {
  const path = resolve(target);
  const folder = await realpath(dirname(path)).catch((error: unknown) => {
    throw toPrimaError(error, `looking for the folder of ${target}`);
  });
  return join(folder, basename(path));
}

/** A disk that is known by its name must be known by the new one. */
async function assertFormatStays({ path, format }: DiskParts, to: string, told?: string): Promise<void> {
  if (told !== undefined) return;
  const found = await explainFormat(path, basename(to)).catch((error: unknown) =>
    toPrimaError(error, `looking at ${path}`),
  );
  if (!(found instanceof PrimaError) && found.format === format) return;
  const why = found instanceof PrimaError ? found.message : `it would be taken for ${found.format}`;
  throw new UserError('usage', `${path} is ${format}, and could not be opened by the name ${to}: ${why}`);
}

const stemOf = (path: string) => basename(path).replace(/\.vmdk$/i, '');

/** Where each file goes: what begins with the disk's name begins with the new one. */
async function planNames(parts: DiskParts, to: string): Promise<RenamedDisk['files']> {
  if (parts.format === 'qcow2') assertMovable(parts, to);
  const [oldStem, newStem] = [stemOf(parts.path), stemOf(to)];
  return parts.files.map(({ path }) => {
    if (path === parts.path) return { from: path, to };
    const name = basename(path);
    const isNamedSo = name.startsWith(oldStem) && /^[-.]/.test(name.slice(oldStem.length));
    return { from: path, to: join(dirname(to), isNamedSo ? newStem + name.slice(oldStem.length) : name) };
  });
}

function assertMovable({ path, files, parent }: DiskParts, to: string): void {
  if (files.length > 1) {
    throw new PrimaError(
      'unsupported',
      `${path} keeps its data in ${files[1]?.path}, which it names; convert it`,
    );
  }
  if (parent === undefined || dirname(path) === dirname(to)) return;
  throw new PrimaError(
    'unsupported',
    `${path} is based on ${parent} and may name it from its own folder; clone it to ${dirname(to)}, or rename it where it is`,
  );
}

/** What needs the disk, if it can be told the new name. */
function childOf({ path, how, format, text }: Dependent, disk: DiskParts, doing: string): LinkText {
  if (how === 'child' && format === 'vmdk' && text) return text;
  const why = {
    child:
      'is a qcow2 file based on it; rebase it afterwards with qemu-img rebase -u, after you have renamed the disk by hand',
    log: 'is its redo log by its name; commit or discard that first',
    shares: 'uses the same files; delete that descriptor, or give it files of its own',
  }[how];
  throw new PrimaError('refused', `${doing}: ${path} ${why}`, {
    details: { path: disk.path, dependent: path },
  });
}

async function assertTargets(parts: DiskParts, files: RenamedDisk['files'], doing: string): Promise<void> {
  const names = new Set<string>();
  for (const { from, to } of files) {
    if (names.has(to)) throw new UserError('usage', `${doing}: two of its files would be called ${to}`);
    names.add(to);
    if ((await identityAt(to)) !== undefined) {
      throw new UserError('exists', `${doing}: ${to} is there already; nothing was renamed`);
    }
    if ((await lstat(from)).dev === (await stat(dirname(to))).dev) continue;
    throw new PrimaError(
      'unsupported',
      `${doing}: ${dirname(to)} is on another file system; clone ${parts.path} there and delete it here`,
    );
  }
}

const isDescriptorFile = ({ path, text }: DiskParts, file: string) =>
  file === path && text?.format === 'descriptor';

interface TextChange {
  names: ReadonlyMap<string, string>;
  to: string;
  children: readonly LinkText[];
  entry: JournalEntry;
}

/** What the disk, and its children, say afterwards. The disk's own file has both its names when these are done. */
async function textSteps(parts: DiskParts, { names, to, children, entry }: TextChange): Promise<FileStep[]> {
  const steps: FileStep[] = [];
  const { descriptor, text, path } = parts;
  const moved = dirname(path) !== dirname(to);
  if (descriptor && text) {
    const changed = await ownDescriptor(parts, descriptor, { names, to });
    if (parts.isEmbedded) steps.push({ ...(await descriptorStep(text, changed, entry)), path: to });
    else {
      const mode = (await stat(path)).mode % 0o1000;
      steps.push({
        kind: 'move',
        ...(await temporaryFile(to, writeDescriptor(changed), { entry, mode })),
        to,
      });
    }
  } else if (moved && text?.parent) {
    const step = await parentNameStep(path, await movedHint(text.parent.hint, path, to));
    steps.push({ ...step, path: to });
  }
  for (const child of children) steps.push(await childStep(child, { names, to, entry }));
  return steps;
}

async function ownDescriptor(
  { path, isEmbedded }: DiskParts,
  descriptor: VmdkDescriptor,
  { names, to }: Pick<TextChange, 'names' | 'to'>,
): Promise<VmdkDescriptor> {
  const named = (file: string) => names.get(resolve(dirname(path), file));
  const extents = descriptor.extents.map((extent) => {
    const name = isEmbedded ? to : extent.file === undefined ? undefined : named(extent.file);
    return name === undefined ? extent : { ...extent, file: basename(name) };
  });
  const changes: Record<string, string> = {};
  const { changeTrackPath, parentFileNameHint } = descriptor;
  const tracking = changeTrackPath === undefined ? undefined : named(changeTrackPath);
  if (tracking !== undefined) changes['changeTrackPath'] = basename(tracking);
  if (parentFileNameHint !== undefined)
    changes['parentFileNameHint'] = await movedHint(parentFileNameHint, path, to);
  return changeDescriptor(replaceExtents(descriptor, extents), changes);
}

/** The same file, seen from another folder; a hint that leads nowhere stays as it is. */
async function movedHint(hint: string, path: string, to: string): Promise<string> {
  const [from, folder] = [dirname(path), dirname(to)];
  if (from === folder || hint.startsWith('/') || hint.includes('\\')) return hint;
  const parent = resolve(from, hint);
  return (await identityAt(parent)) === undefined ? hint : relative(folder, parent);
}

async function childStep(
  child: LinkText,
  { names, to, entry }: Omit<TextChange, 'children'>,
): Promise<FileStep> {
  const { path, descriptor, parent } = child;
  // a redo log of ESX 2 may name the data file of a disk in place of its descriptor
  const old = parent === undefined ? undefined : names.get(resolve(dirname(path), parent.hint));
  const name = old ?? to;
  const hint = parent?.hint.startsWith('/') ? name : relative(dirname(path), name);
  if (descriptor === undefined) return parentNameStep(path, hint);
  return descriptorStep(child, changeDescriptor(descriptor, { parentFileNameHint: hint }), entry);
}

async function endings(parts: DiskParts, files: RenamedDisk['files']): Promise<FileStep[]> {
  const steps: FileStep[] = [];
  for (const { from, to } of files) {
    const file = (await identityAt(from)) ?? (await identityOf(to));
    if (isDescriptorFile(parts, from)) steps.unshift({ kind: 'remove', path: from, file });
    else steps.push({ kind: 'move', path: from, to, file });
  }
  return steps;
}
