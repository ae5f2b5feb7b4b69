/** The files of a package: members of an archive, or files of one folder. Their digests are compared before any is used. */
import { createReadStream } from 'node:fs';
import { open, realpath, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import {
  alignUp,
  FormatError,
  IntegrityError,
  PrimaError,
  type Progress,
  systemErrorCode,
  throwIfAborted,
  toPrimaError,
} from '@prima/base';
import { type BlockDevice, openRawFile, sliceDevice } from '@prima/block';
import {
  type DiskFormat,
  envelopeFiles,
  isDiskFormat,
  isMemberName,
  type ManifestFinding,
  ManifestDigest,
  type ManifestEntry,
  compareManifest,
  openOva,
  openVmdk,
  parseManifest,
} from '@prima/formats';
import { imageChain, openImageInFile } from '@prima/qemu';
import { parseXml } from '@prima/xml';
import { formatOf, openDiskFile } from '../disk/open-disk.ts';
import type { FoundConfiguration } from '../machine/configuration.ts';
import type { FileTimes } from './file-times.ts';
import { type Member, memberFolder } from './member-folder.ts';

export interface PackageFiles {
  notes: string[];
  openDisk(location: string, format: string | undefined): Promise<{ device: BlockDevice; format: string }>;
  close(): Promise<void>;
}

interface Reading {
  /** Of all files that are read; the archive, the envelope or the .vmx itself is in it. */
  times: FileTimes;
  signal?: AbortSignal;
  onProgress?: (subject: string, progress: Progress) => void;
}

const noManifest = 'the package has no manifest: that its files are what they were cannot be verified';

/** Reads all of the archive once. */
export async function openArchive(path: string, { signal, onProgress }: Reading): Promise<PackageFiles> {
  const { size } = await stat(path);
  const ova = await openOva(createReadStream(path, { highWaterMark: 1024 * 1024, signal }));
  const members = new Map<string, Member>();
  try {
    for await (const { name, size: bytes, offset } of ova.files()) {
      throwIfAborted(signal, `reading ${path}`);
      if (members.has(name)) throw new FormatError(`${path} has two members ${name}`);
      members.set(name, { name, offset, size: bytes });
      onProgress?.(`verifying ${basename(path)}`, { phase: 'verifying', done: offset + bytes, total: size });
    }
  } finally {
    await ova.close();
  }
  const notes = judge(path, ova.findings());
  const present = (name: string) => members.get(name)?.size;
  checkFiles(path, envelopeFiles(ova.document), present);
  const folder = await memberFolder(path, members);
  return {
    notes,
    openDisk: async (location, format = 'vmdk') => {
      if (format === 'vmdk') {
        const { device, info } = await openVmdk(location, { folder });
        if (info.descriptor || info.extents[0]?.format !== 'flat') return { device, format };
        await device.close();
        throw new FormatError(`${location} in ${path} is no VMDK: neither header nor descriptor is there`);
      }
      const member = members.get(location);
      if (!member || !isDiskFormat(format)) {
        throw new PrimaError('unsupported', `${location}: ${format} is no format of disks that Prima reads`);
      }
      const range = { offset: member.offset, length: alignUp(member.size, 512) }; // as members of archives are padded
      if (format !== 'raw') return { device: await openImageInFile(path, range, { format, signal }), format };
      if (member.size % 512 !== 0)
        throw new FormatError(`${location}: ${member.size} bytes are no whole sectors`);
      return { device: sliceDevice(await openRawFile(path), range), format };
    },
    close: () => folder.close(),
  };
}

/** Of an envelope, or of a .vmx (which need not have a manifest). Where there is a manifest it is verified. */
export async function openFolderFiles(
  path: string,
  { bytes, read }: FoundConfiguration,
  reading: Reading,
): Promise<PackageFiles> {
  const folder = await realpath(dirname(path));
  const notes: string[] = [];
  if (read.dialect === 'ovf') {
    const files = envelopeFiles(parseXml(bytes, path));
    const sizes = new Map<string, number>();
    for (const { href } of files) {
      const found = isMemberName(href) ? await sizeOf(join(folder, href)) : undefined;
      if (found === undefined) continue;
      sizes.set(href, found);
      await reading.times.note(join(folder, href));
    }
    checkFiles(path, files, (name) => sizes.get(name));
    notes.push(...judge(path, await verifyFolder(path, bytes, { ...reading, names: [...sizes.keys()] })));
  } else {
    for (const { name } of (await readManifest(manifestPath(path))) ?? []) {
      if (isMemberName(name) && (await sizeOf(join(folder, name))) !== undefined)
        await reading.times.note(join(folder, name));
    }
    const findings = await verifyFolder(path, bytes, { ...reading, names: [] });
    if (findings) notes.push(...judge(path, findings));
  }
  return {
    notes,
    openDisk: async (location, format) => {
      const place = await inFolder(folder, location, path);
      const option = 'its envelope says which';
      const known = await formatOf(place, { format, option });
      // a VMDK's own files are looked for by our reader, and there only
      if (known.format !== 'vmdk') await assertInFolder(folder, { path: place, format: known.format }, path);
      const opened = await openDiskFile(place, { ...known, option, mappings: false, signal: reading.signal });
      for (const file of opened.files) await reading.times.note(file);
      return { device: opened.device, format: opened.format };
    },
    close: async () => undefined,
  };
}

/** What the envelope names has to be there, whole, and beside it. */
function checkFiles(
  path: string,
  files: ReturnType<typeof envelopeFiles>,
  present: (name: string) => number | undefined,
): void {
  for (const { href, sizeBytes, compression, chunkBytes } of files) {
    const shown = JSON.stringify(href.slice(0, 120));
    if (!isMemberName(href)) {
      throw new PrimaError(
        'refused',
        `${path} names the file ${shown}: only files beside the envelope are taken`,
      );
    }
    if (compression !== undefined || chunkBytes !== undefined) {
      const how = compression === undefined ? 'in pieces' : `compressed (${compression})`;
      throw new PrimaError(
        'unsupported',
        `${path}: ${shown} is ${how}; unpack or join it and say so in the envelope`,
      );
    }
    const size = present(href);
    if (size === undefined) throw new FormatError(`${path} names the file ${shown}, which is not there`);
    if (sizeBytes !== undefined && sizeBytes !== size) {
      throw new FormatError(
        `${path}: ${shown} has ${size} bytes, the envelope says ${sizeBytes}: it is cut or another`,
      );
    }
  }
}

/** Raises `integrity` where the manifest and the files disagree. */
function judge(path: string, findings: readonly ManifestFinding[] | undefined): string[] {
  if (findings === undefined) return [noManifest];
  const bad = findings.filter(({ state }) => state === 'wrong' || state === 'missing');
  if (bad.length > 0) {
    const texts = bad.map(({ text }) => text).join('; ');
    throw new IntegrityError(
      `the package ${path} is not what its manifest says: ${texts}; nothing was made of it`,
    );
  }
  return findings.filter(({ state }) => state === 'unlisted').map(({ text }) => text);
}

const manifestPath = (path: string): string => path.replace(/\.[^./]+$/, '.mf');

const limitManifestBytes = 1024 * 1024;

/** Undefined where there is no manifest beside the envelope. */
async function verifyFolder(
  path: string,
  envelope: Uint8Array,
  { names, signal, onProgress }: Omit<Reading, 'times'> & { names: readonly string[] },
): Promise<ManifestFinding[] | undefined> {
  const manifest = await readManifest(manifestPath(path));
  if (!manifest) return undefined;
  const folder = dirname(path);
  const found: ManifestEntry[] = [];
  const own = new ManifestDigest(algorithmsOf(manifest, basename(path)));
  own.update(envelope);
  found.push(...own.entries(basename(path)));
  const beside = manifest.map(({ name }) => name).filter((name) => isMemberName(name));
  for (const name of new Set([...names, ...beside])) {
    if (name === basename(path)) continue;
    const size = await sizeOf(join(folder, name));
    if (size === undefined) continue;
    const digest = new ManifestDigest(algorithmsOf(manifest, name));
    let done = 0;
    const stream = createReadStream(join(folder, name), { highWaterMark: 1024 * 1024, signal });
    for await (const piece of stream as AsyncIterable<Uint8Array>) {
      digest.update(piece);
      done += piece.length;
      onProgress?.(`verifying ${name}`, { phase: 'verifying', done, total: size });
    }
    found.push(...digest.entries(name));
  }
  return compareManifest(manifest, found);
}

function algorithmsOf(manifest: readonly ManifestEntry[], name: string): ManifestEntry['algorithm'][] {
  return [manifest.find((entry) => entry.name === name)?.algorithm ?? 'sha256'];
}

async function readManifest(path: string): Promise<ManifestEntry[] | undefined> {
  const size = await sizeOf(path);
  if (size === undefined) return undefined;
  if (size > limitManifestBytes) {
    throw new FormatError(
      `${path} has ${size} bytes where a manifest of ${limitManifestBytes} at most was expected`,
    );
  }
  try {
    await using file = await open(path, 'r');
    return parseManifest(await file.readFile());
  } catch (error) {
    throw toPrimaError(error, `reading ${path}`);
  }
}

/** Of a plain file; undefined where there is none. */
async function sizeOf(path: string): Promise<number | undefined> {
  try {
    const found = await stat(path);
    return found.isFile() ? found.size : undefined;
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw toPrimaError(error, `looking at ${path}`);
  }
}

/** All files that an image needs, as far as they say so themselves. */
async function assertInFolder(
  folder: string,
  image: { path: string; format: DiskFormat },
  asker: string,
): Promise<void> {
  for (const { path, dataFile } of await imageChain(image.path, image.format))
    for (const file of [path, ...(dataFile === undefined ? [] : [dataFile])])
      await inFolder(folder, file, asker);
}

/** Raises `refused` where the file is, links followed, not below the folder. */
async function inFolder(folder: string, location: string, asker: string): Promise<string> {
  const real = await realpath(resolve(folder, location)).catch((error: unknown) => {
    throw toPrimaError(error, `looking for ${location}, which ${asker} names`);
  });
  const inside = relative(folder, real);
  if (!isAbsolute(inside) && inside !== '..' && !inside.startsWith(`..${sep}`)) return real;
  throw new PrimaError(
    'refused',
    `${asker} names the disk ${location}, which is ${real}: only files below ${folder} are taken; move it there if it is meant`,
  );
}
