/** Restores a point as an OVF package: an OVA file, or an envelope with its disks and manifest beside it. All of it or nothing. */
import { writeFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import {
  type Logger,
  PrimaError,
  type Progress,
  silentLogger,
  throwIfAborted,
  toPrimaError,
} from '@prima/base';
import { openGrowingFile } from '@prima/block';
import {
  type ManifestEntry,
  ManifestDigest,
  type NotCarried,
  pourMember,
  type StreamedMember,
  writeManifest,
  writeOvaFile,
  writeOvf,
  writeVmdkStream,
} from '@prima/formats';
import type { Point, Repository } from '@prima/repository';
import { writeXml, type XmlDocument } from '@prima/xml';
import type { Journal } from '../journal.ts';
import { DamageLog, type DamagedRange } from './damage-log.ts';
import {
  diskFileName,
  type PackageDescription,
  packageDescription,
  type PackagedDisk,
} from './package-description.ts';
import { assertRoom, neededBytes } from './space.ts';
import { assertFree, StagedFiles } from './staged-files.ts';

export const packageFormats = ['ova', 'ovf'] as const;
export type PackageFormat = (typeof packageFormats)[number];

export interface RestoreToPackageOptions {
  format: PackageFormat;
  /** Replace files that are there. */
  force?: boolean;
  /** Go on where the point cannot be read: with zeros, which the result lists. */
  allowDamaged?: boolean;
  journal: Journal;
  signal?: AbortSignal;
  logger?: Logger;
  onProgress?: (subject: string, progress: Progress) => void;
}

export interface PackageRestore {
  files: { disk: string; path: string; size: number }[];
  /** What the package does not have of the machine. */
  notCarried: NotCarried[];
  bytesRead: number;
  bytesWritten: number;
  damaged: DamagedRange[];
}

interface Work {
  repository: Repository;
  point: Point;
  options: RestoreToPackageOptions;
  described: PackageDescription;
  damage: DamageLog;
  result: Pick<PackageRestore, 'files' | 'bytesRead' | 'bytesWritten'>;
}

/**
 * Writes `path`, the OVA or the envelope; disks are streamOptimized VMDKs, converted on their way into the file. Raises `exists`,
 * `no-space`, and what the repository raises; on failure and cancellation nothing is left behind.
 */
export async function restoreToPackage(
  repository: Repository,
  point: Point,
  path: string,
  options: RestoreToPackageOptions,
): Promise<PackageRestore> {
  const { format, force = false, signal, logger = silentLogger } = options;
  const doing = `restoring ${point.machine.name} to ${path}`;
  throwIfAborted(signal, doing);
  const folder = dirname(path);
  const described = await packageDescription(repository, point);
  if (format === 'ovf') nameAfter(described, basename(path).replace(/\.ovf$/i, ''));
  const names = format === 'ova' ? [basename(path)] : namesOf(described);
  if (!force) await assertFree(folder, names, 'another file');
  const damage = new DamageLog(options.allowDamaged ?? false, logger);
  const result = { files: [], bytesRead: 0, bytesWritten: 0 };
  const work: Work = { repository, point, options, described, damage, result };
  const { notCarried } = writeOvf(described.description);
  const entry = await options.journal.begin(doing);
  try {
    const staged = await StagedFiles.begin(folder, entry);
    const disks = described.disks.map(({ disk }) => disk);
    await assertRoom(folder, await neededBytes(work, disks, signal));
    if (format === 'ova') await writeArchive(work, staged, basename(path));
    else await writeFolder(work, staged);
    throwIfAborted(signal, doing);
    await staged.publish(force);
  } catch (error) {
    const failure = toPrimaError(error, doing);
    await entry.undo();
    throw failure;
  }
  return { ...result, notCarried: [...described.notCarried, ...notCarried], damaged: damage.all() };
}

/** The envelope's name is the one that was asked for; its disks follow. */
function nameAfter(described: PackageDescription, base: string): void {
  const { disks, description } = described;
  described.base = base;
  for (const [at, packaged] of disks.entries()) {
    packaged.file = diskFileName(base, at);
    const disk = description.disks[at];
    if (disk?.source) disk.source.location = packaged.file;
  }
}

function namesOf({ base, disks }: PackageDescription): string[] {
  return [`${base}.ovf`, `${base}.mf`, ...disks.map(({ file }) => file)];
}

async function writeArchive(work: Work, staged: StagedFiles, name: string): Promise<void> {
  const { described, result, point } = work;
  const target = await staged.stage(name);
  const file = await openGrowingFile(target.temporary, { create: { size: 0 } });
  try {
    const size = await writeOvaFile(
      {
        name: described.base,
        members: described.disks.map((disk) => memberOf(work, disk)),
        document: (sizes) => envelope(described, sizes),
        modified: Math.floor(Date.parse(point.time) / 1000),
      },
      file,
    );
    await file.flush();
    result.files.push({ disk: point.machine.name, path: target.path, size });
  } finally {
    await file.close();
  }
}

async function writeFolder(work: Work, staged: StagedFiles): Promise<void> {
  const { described, result } = work;
  const sizes = new Map<string, number>();
  const entries: ManifestEntry[] = [];
  for (const packaged of described.disks) {
    const target = await staged.stage(packaged.file);
    const file = await openGrowingFile(target.temporary, { create: { size: 0 } });
    try {
      const { size, digest } = await pourMember(memberOf(work, packaged), file, 0);
      await file.flush();
      sizes.set(packaged.file, size);
      entries.push(digest);
      result.files.push({ disk: packaged.disk.name, path: target.path, size });
    } finally {
      await file.close();
    }
  }
  const text = Buffer.from(writeXml(envelope(described, sizes)));
  const own = new ManifestDigest(['sha256']);
  own.update(text);
  const manifest = Buffer.from(writeManifest([...own.entries(`${described.base}.ovf`), ...entries]));
  for (const [name, bytes] of [
    [`${described.base}.ovf`, text],
    [`${described.base}.mf`, manifest],
  ] as const) {
    const target = await staged.stage(name);
    await writeFile(target.temporary, bytes, { flag: 'wx', mode: 0o600 });
    result.files.push({ disk: '', path: target.path, size: bytes.length });
  }
}

function envelope({ description }: PackageDescription, fileSizes: ReadonlyMap<string, number>): XmlDocument {
  const { document, files } = writeOvf(description, { fileSizes }).result;
  const other = files.find(({ name, location }) => name !== location);
  if (other) {
    throw new PrimaError(
      'internal',
      `${other.location} is called ${other.name} in the envelope of its package`,
    );
  }
  return document;
}

function memberOf(work: Work, { disk, file }: PackagedDisk): StreamedMember {
  const { repository, point, options, damage, result } = work;
  const { signal, onProgress } = options;
  const subject = `${point.machine.name} ${disk.name}`;
  async function* body(): AsyncGenerator<Uint8Array> {
    const device = await repository.openDisk(point, disk.name, damage.opening(disk.name));
    try {
      await using stream = writeVmdkStream(device, {
        fileName: file,
        signal,
        onProgress: (progress) => onProgress?.(subject, progress),
      });
      let step = await stream.next();
      for (; step.done !== true; step = await stream.next()) yield step.value;
      result.bytesRead += step.value.read;
      result.bytesWritten += step.value.written;
    } finally {
      await device.close();
    }
  }
  return { name: file, body };
}
