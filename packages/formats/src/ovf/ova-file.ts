/**
 * An OVA as a file, written in one pass although tar wants sizes and the manifest wants digests before the bytes: the envelope and
 * the manifest get their room, the members follow as they come, and then what is known by then is put in front of them. The
 * envelope is as long as it is with the largest sizes; what is left of its room is filled with line ends, which XML allows after
 * the root.
 *
 *   header, envelope + line ends | header, manifest | header, member … | 1024 zeros
 */
import { FormatError } from '@prima/base';
import { type XmlDocument, writeXml } from '@prima/xml';
import { ManifestDigest, type ManifestEntry, writeManifest } from './manifest.ts';
import { tarEndBytes, tarMemberHeader } from './tar-writer.ts';
import { tarPadding } from './tar-header.ts';

/** What is written to; anywhere, in any order. */
export interface OvaTarget {
  write(offset: number, bytes: Uint8Array): Promise<void>;
}

export interface StreamedMember {
  name: string;
  body: () => AsyncIterable<Uint8Array>;
}

export interface PouredMember {
  size: number;
  digest: ManifestEntry;
}

export interface StreamedOva {
  /** The name of the machine's files: `web` gives `web.ovf` and `web.mf`. */
  name: string;
  /** In the order of the envelope's references. */
  members: readonly StreamedMember[];
  /** The envelope with the members' sizes, by name; asked for before they are known, too. */
  document: (sizes: ReadonlyMap<string, number>) => XmlDocument;
  /** Seconds since 1970, for all members. */
  modified?: number;
}

/** Writes a member's bytes from `offset` on. */
export async function pourMember(
  { name, body }: StreamedMember,
  target: OvaTarget,
  offset: number,
): Promise<PouredMember> {
  const digest = new ManifestDigest(['sha256']);
  let size = 0;
  for await (const piece of body()) {
    digest.update(piece);
    await target.write(offset + size, piece);
    size += piece.length;
  }
  return { size, digest: onlyEntry(digest, name) };
}

function onlyEntry(digest: ManifestDigest, name: string): ManifestEntry {
  return digest.entries(name)[0] ?? { name, algorithm: 'sha256', digest: '' };
}

/** Returns the archive's size. Raises what the bodies and the target raise, `usage` for names that are paths. */
export async function writeOvaFile(ova: StreamedOva, target: OvaTarget): Promise<number> {
  const { name, members, document, modified = 0 } = ova;
  const largest = new Map(members.map((member) => [member.name, Number.MAX_SAFE_INTEGER]));
  const envelopeBytes = Buffer.byteLength(writeXml(document(largest)));
  const [envelopeName, manifestName] = [`${name}.ovf`, `${name}.mf`];
  const names = [envelopeName, ...members.map((member) => member.name)];
  const blank = names.map(
    (listed): ManifestEntry => ({ name: listed, algorithm: 'sha256', digest: '0'.repeat(64) }),
  );
  const manifestBytes = Buffer.byteLength(writeManifest(blank));
  const header = (member: string, size: number) => tarMemberHeader(member, size, modified);
  const placeOf = (member: string, size: number) => header(member, size).length + size + tarPadding(size);

  const front = placeOf(envelopeName, envelopeBytes) + placeOf(manifestName, manifestBytes);
  const sizes = new Map<string, number>();
  const entries: ManifestEntry[] = [];
  let at = front;
  for (const member of members) {
    const start = at + header(member.name, 0).length;
    const { size, digest } = await pourMember(member, target, start);
    await target.write(at, header(member.name, size));
    await target.write(start + size, Buffer.alloc(tarPadding(size)));
    at = start + size + tarPadding(size);
    sizes.set(member.name, size);
    entries.push(digest);
  }
  await target.write(at, Buffer.alloc(tarEndBytes));
  const envelope = padded(Buffer.from(writeXml(document(sizes))), envelopeBytes);
  const digest = new ManifestDigest(['sha256']);
  digest.update(envelope);
  const manifest = Buffer.from(writeManifest([onlyEntry(digest, envelopeName), ...entries]));
  await target.write(0, memberBytes(header(envelopeName, envelope.length), envelope));
  await target.write(
    placeOf(envelopeName, envelopeBytes),
    memberBytes(header(manifestName, manifest.length), manifest),
  );
  return at + tarEndBytes;
}

function padded(envelope: Buffer, length: number): Buffer {
  if (envelope.length > length) {
    throw new FormatError(`the envelope has ${envelope.length} bytes where ${length} were kept for it`);
  }
  return Buffer.concat([envelope, Buffer.alloc(length - envelope.length, '\n')]);
}

function memberBytes(header: Buffer, body: Buffer): Buffer {
  return Buffer.concat([header, body, Buffer.alloc(tarPadding(body.length))]);
}
