/**
 * An OVA: an OVF package as one tar archive (DSP0243 section 5.3): the envelope first, then its manifest and certificate, then the
 * files in the order of the envelope's references. OVF 2 lets the manifest be last; both are read, the first is written.
 *
 * Reading takes one pass and no seeking. Writing needs each file's size before its bytes (tar) and its digest before any file (the
 * manifest comes second). A file whose size is not known, as when a disk is converted on the way, is measured first, in one of two ways:
 *
 *   twice    `measureMember` reads it once for size and digest, `writeOva` reads it again; it has to give the same bytes
 *            both times, which is checked. Costs the conversion twice, and no room.
 *   spooled  `spoolMember` writes it to a temporary file. Costs room for the largest package.
 *
 * Where the archive is a file, neither is needed: see ova-file.ts.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { FormatError, IntegrityError, toPrimaError } from '@prima/base';
import { parseXml, type XmlDocument, writeXml } from '@prima/xml';
import {
  compareManifest,
  type ManifestAlgorithm,
  ManifestDigest,
  type ManifestEntry,
  type ManifestFinding,
  manifestAlgorithms,
  parseManifest,
  writeManifest,
} from './manifest.ts';
import { readTar } from './tar-reader.ts';
import { type NewTarMember, writeTar } from './tar-writer.ts';

/** A file of a package, which can be opened as often as needed. */
export interface OvaMember {
  name: string;
  open: () => AsyncIterable<Uint8Array>;
}

export interface MeasuredMember extends OvaMember {
  size: number;
  digest: ManifestEntry;
}

export interface OvaContents {
  /** The name of the machine's files: `web` gives `web.ovf` and `web.mf`. */
  name: string;
  document: XmlDocument;
  /** In the order of the envelope's references. */
  members: readonly MeasuredMember[];
  /** Seconds since 1970, for all members. */
  modified?: number;
}

const algorithm: ManifestAlgorithm = 'sha256';

/** Reads a member once to know its size and digest. */
export async function measureMember({ name, open }: OvaMember): Promise<MeasuredMember> {
  const digest = new ManifestDigest([algorithm]);
  let size = 0;
  for await (const piece of open()) {
    size += piece.length;
    digest.update(piece);
  }
  return { name, open, size, digest: onlyEntry(digest, name) };
}

/** Writes `body` to a file in `folder`, which the caller removes, and gives a member that reads it from there. */
export async function spoolMember(
  name: string,
  body: AsyncIterable<Uint8Array>,
  folder: string,
): Promise<MeasuredMember> {
  const path = join(folder, `${Date.now().toString(36)}-${process.pid}-${name}`);
  try {
    await pipeline(body, createWriteStream(path, { flags: 'wx', mode: 0o600 }));
  } catch (error) {
    throw toPrimaError(error, `writing ${path} on the way to an OVA`);
  }
  return measureMember({ name, open: () => createReadStream(path, { highWaterMark: 1024 * 1024 }) });
}

function onlyEntry(digest: ManifestDigest, name: string): ManifestEntry {
  const [entry] = digest.entries(name);
  if (!entry) throw new IntegrityError(`${name} has no digest`);
  return entry;
}

/**
 * The archive's bytes. Raises `integrity` where a member gives other bytes than it was measured with; `usage` for names
 * that are no file's beside the envelope.
 */
export async function* writeOva(contents: OvaContents): AsyncGenerator<Uint8Array> {
  const { name, document, members, modified } = contents;
  const descriptor = Buffer.from(writeXml(document));
  const first = new ManifestDigest([algorithm]);
  first.update(descriptor);
  const entries = [onlyEntry(first, `${name}.ovf`), ...members.map(({ digest }) => digest)];
  const manifest = Buffer.from(writeManifest(entries));
  const files: NewTarMember[] = [
    { name: `${name}.ovf`, size: descriptor.length, body: [descriptor] },
    { name: `${name}.mf`, size: manifest.length, body: [manifest] },
    ...members.map((member) => ({ name: member.name, size: member.size, body: checked(member) })),
  ];
  yield* writeTar(files, modified);
}

async function* checked({ name, open, digest: wanted }: MeasuredMember): AsyncGenerator<Uint8Array> {
  const digest = new ManifestDigest([algorithm]);
  for await (const piece of open()) {
    digest.update(piece);
    yield piece;
  }
  if (onlyEntry(digest, name).digest !== wanted.digest) {
    throw new IntegrityError(`writing an OVA: ${name} gave other bytes the second time; spool it instead`);
  }
}

export interface OvaFile {
  name: string;
  size: number;
  /** Of its first byte in the archive. */
  offset: number;
  body: AsyncIterable<Uint8Array>;
}

/** Of envelopes, manifests and certificates, which are held in memory. */
const limitTextBytes = 4 * 1024 * 1024;

/** An OVA being read. */
export class OvaReading {
  readonly name: string;
  readonly document: XmlDocument;
  /** As they are in the archive; it is kept, not verified. */
  certificate: Uint8Array | undefined;
  #manifest: ManifestEntry[] | undefined;
  readonly #found: ManifestEntry[];
  readonly #members: AsyncGenerator<OvaFile>;

  constructor(
    first: { name: string; document: XmlDocument; found: ManifestEntry[] },
    members: AsyncGenerator<OvaFile>,
  ) {
    this.name = first.name;
    this.document = first.document;
    this.#found = first.found;
    this.#members = members;
  }

  /** The files, in the archive's order; each is read before the next is asked for, or skipped. */
  async *files(): AsyncGenerator<OvaFile> {
    for await (const member of this.#members) {
      const { name, size, offset } = member;
      if (/\.mf$/i.test(name)) this.#manifest = parseManifest(await wholeText(member));
      else if (/\.cert$/i.test(name)) this.certificate = await wholeText(member);
      else {
        const digest = new ManifestDigest(this.#algorithms(name));
        const pieces = digested(member.body, digest);
        // Without a way to end it early: what the caller leaves belongs to the digest, too.
        yield { name, size, offset, body: { [Symbol.asyncIterator]: () => ({ next: () => pieces.next() }) } };
        while (!(await pieces.next()).done);
        this.#found.push(...digest.entries(name));
      }
    }
  }

  /** What the manifest says of the files that were read; undefined where the archive has none. After the last file only. */
  findings(): ManifestFinding[] | undefined {
    return this.#manifest && compareManifest(this.#manifest, this.#found);
  }

  async close(): Promise<void> {
    await this.#members.return(undefined);
  }

  /** All, while the manifest may still come. */
  #algorithms(name: string): readonly ManifestAlgorithm[] {
    const listed = this.#manifest?.find((entry) => entry.name === name);
    return listed ? [listed.algorithm] : this.#manifest ? [algorithm] : manifestAlgorithms;
  }
}

/** Begins to read an archive; `close` it, or read it to its end. Raises `format`, also where the first member is no envelope. */
export async function openOva(source: AsyncIterable<Uint8Array>): Promise<OvaReading> {
  const members = readTar(source);
  try {
    const { value: first } = await members.next();
    if (!first || !/\.ovf$/i.test(first.name)) {
      const found = first ? JSON.stringify(first.name) : 'an empty archive';
      throw new FormatError(`OVA: ${found} where the .ovf file was expected to be first`);
    }
    const bytes = await wholeText(first);
    const digest = new ManifestDigest(manifestAlgorithms);
    digest.update(bytes);
    const { name } = first;
    return new OvaReading({ name, document: parseXml(bytes, name), found: digest.entries(name) }, members);
  } catch (error) {
    await members.return(undefined);
    throw error;
  }
}

async function wholeText({ name, size, body }: OvaFile): Promise<Uint8Array> {
  if (size > limitTextBytes) {
    throw new FormatError(`OVA: ${name} has ${size} bytes where at most ${limitTextBytes} were expected`);
  }
  const pieces: Uint8Array[] = [];
  for await (const piece of body) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

async function* digested(
  body: AsyncIterable<Uint8Array>,
  digest: ManifestDigest,
): AsyncGenerator<Uint8Array> {
  for await (const piece of body) {
    digest.update(piece);
    yield piece;
  }
}
