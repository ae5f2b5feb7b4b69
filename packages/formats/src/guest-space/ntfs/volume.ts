/** Reading files of an NTFS volume by their runs: $MFT, and what lies in the file records. */
import { FormatError, type Range } from '@prima/base';
import { type MetadataReader, refuse } from '../metadata-reader.ts';
import { type Attribute, attributeType, parseFileRecord } from './record.ts';
import type { NtfsVolume } from './boot-sector.ts';

export interface Volume {
  reader: MetadataReader;
  shape: NtfsVolume;
  /** $DATA of $MFT. */
  table: Attribute;
}

/** Opens the file table. Raises `format` or `refused`. */
export async function openVolume(reader: MetadataReader, shape: NtfsVolume): Promise<Volume> {
  const bytes = await reader.read(shape.mftCluster * shape.clusterSize, shape.recordBytes);
  const table = theOnly(parseFileRecord(bytes, 0), attributeType.data, '$MFT');
  return { reader, shape, table };
}

/** The attributes of a file record. Raises `refused` where the record is not mapped by $MFT's own record. */
export async function readFileRecord({ reader, shape, table }: Volume, number: number): Promise<Attribute[]> {
  const bytes = await readAttribute({ reader, shape }, table, {
    offset: number * shape.recordBytes,
    length: shape.recordBytes,
  });
  return parseFileRecord(bytes, number);
}

/** The one attribute of a type without a name, of a file that has all its attributes in one record. */
export function theOnly(attributes: readonly Attribute[], type: number, what: string, name = ''): Attribute {
  const found = attributes.filter((attribute) => attribute.type === type && attribute.name === name);
  const [first] = found;
  if (!first || found.length > 1)
    throw new FormatError(`${what} has ${found.length} attributes 0x${type.toString(16)}`);
  return first;
}

/** Bytes of an attribute. Raises `refused` for what is compressed, sparse, not written yet, or mapped elsewhere. */
export async function readAttribute(
  { reader, shape }: Pick<Volume, 'reader' | 'shape'>,
  attribute: Attribute,
  { offset, length }: Range,
): Promise<Buffer> {
  if (attribute.value) {
    if (offset + length > attribute.value.length) throw new FormatError('a resident attribute is too short');
    return attribute.value.subarray(offset, offset + length);
  }
  const pieces: Buffer[] = [];
  for (const place of placesOf(shape, attribute, { offset, length })) {
    pieces.push(await reader.read(place.offset, place.length));
  }
  return pieces.length === 1 && pieces[0] ? pieces[0] : Buffer.concat(pieces);
}

/** Where bytes of an attribute lie in the partition. Raises like `readAttribute`. */
export function placesOf(shape: NtfsVolume, attribute: Attribute, { offset, length }: Range): Range[] {
  const { clusterSize, clusters } = shape;
  if (attribute.flags !== 0) refuse('one of its own files is compressed, sparse or encrypted');
  if (attribute.firstVcn !== 0) refuse('one of its own files has its beginning in another record');
  if (offset + length > attribute.initialized) refuse('one of its own files is not written to its end');
  const places: Range[] = [];
  let start = 0;
  for (const { cluster, length: count } of attribute.runs ?? []) {
    const from = Math.max(offset, start);
    const to = Math.min(offset + length, start + count * clusterSize);
    if (to > from) {
      if (cluster === undefined) refuse('one of its own files has a hole');
      if (cluster + count > clusters) throw new FormatError('a run leaves the volume');
      places.push({ offset: cluster * clusterSize + (from - start), length: to - from });
    }
    start += count * clusterSize;
  }
  if (start < offset + length) refuse('one of its own files is too fragmented to be read from one record');
  return places;
}

/** Where an attribute lies, as far as its record says. */
export function allPlaces({ clusterSize }: NtfsVolume, attribute: Attribute): Range[] {
  return (attribute.runs ?? []).flatMap(({ cluster, length }) =>
    cluster === undefined ? [] : [{ offset: cluster * clusterSize, length: length * clusterSize }],
  );
}
