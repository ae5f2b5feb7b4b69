/**
 * Whether Windows is hibernated: whether there is a hiberfil.sys in the root folder that begins with anything but "wake"
 * or zeros. Read through the root folder's index (the Linux-NTFS documentation, "$INDEX_ROOT", "$INDEX_ALLOCATION"),
 * little-endian. An index header: 0 first entry, 4 bytes in use; an entry: 0 file reference u64, 8 length, 10 length of
 * the key, 12 flags (2: the last), 16 the key, a $FILE_NAME: 64 its length in characters, 66 the name.
 */
import { FormatError, KiB } from '@prima/base';
import { refuse } from '../metadata-reader.ts';
import { applyFixups, attributeType } from './record.ts';
import { allPlaces, readAttribute, readFileRecord, theOnly, type Volume } from './volume.ts';

const rootFolder = 5;
const hibernationFile = 'hiberfil.sys';
const mostIndexBlocks = 65_536;
const lastEntry = 2;

/** Raises `refused` when it is hibernated, or when that cannot be told. */
export async function assertNotHibernated(volume: Volume): Promise<void> {
  const number = await findInRoot(volume, hibernationFile);
  if (number === undefined) return;
  const data = theOnly(await readFileRecord(volume, number), attributeType.data, hibernationFile);
  if (data.size === 0) return;
  const length = Math.min(4 * KiB, data.size);
  if (data.initialized < length) return; // never written
  const head = await readAttribute(volume, data, { offset: 0, length });
  const isAwake = /^wake/i.test(head.toString('latin1', 0, 4)) || head.every((byte) => byte === 0);
  if (!isAwake) refuse('Windows is hibernated on it (hiberfil.sys), or was shut down with fast start-up');
}

/** The number of the file record of a file in the root folder, whatever case its name has. */
async function findInRoot(volume: Volume, name: string): Promise<number | undefined> {
  const attributes = await readFileRecord(volume, rootFolder);
  const root = theOnly(attributes, attributeType.indexRoot, 'the root folder', '$I30').value;
  if (!root || root.length < 32) throw new FormatError('the index of the root folder is broken');
  const found = findInIndex(root.subarray(16), name);
  if (found !== undefined) return found;
  if (!attributes.some(({ type }) => type === attributeType.indexAllocation)) {
    if (attributes.some(({ type }) => type === attributeType.attributeList))
      refuse('its root folder cannot be searched');
    return undefined;
  }
  const blocks = theOnly(attributes, attributeType.indexAllocation, 'the root folder', '$I30');
  const { indexBytes } = volume.shape;
  const count = Math.floor(blocks.size / indexBytes);
  const mapped = allPlaces(volume.shape, blocks).reduce((sum, { length }) => sum + length, 0);
  if (count > mostIndexBlocks || mapped < count * indexBytes)
    refuse('its root folder is too large to be searched');
  for (let i = 0; i < count; i += 1) {
    const bytes = await readAttribute(volume, blocks, { offset: i * indexBytes, length: indexBytes });
    if (bytes.readUInt32LE(0) === 0) continue; // not in use
    const number = findInIndex(
      applyFixups(bytes, 'INDX', 'an index block of the root folder').subarray(24),
      name,
    );
    if (number !== undefined) return number;
  }
  return undefined;
}

/** @param bytes from the index header on. Raises `format`. */
export function findInIndex(bytes: Buffer, name: string): number | undefined {
  if (bytes.length < 16) throw new FormatError('an index is too short');
  const end = Math.min(bytes.length, bytes.readUInt32LE(4));
  for (let at = bytes.readUInt32LE(0); at + 16 <= end; ) {
    const [length, keyLength] = [bytes.readUInt16LE(at + 8), bytes.readUInt16LE(at + 10)];
    if ((bytes.readUInt16LE(at + 12) & lastEntry) !== 0) return undefined;
    if (length < 16 || at + length > end || 16 + keyLength > length) {
      throw new FormatError('an entry of an index is broken', { details: { offset: at } });
    }
    const key = bytes.subarray(at + 16, at + 16 + keyLength);
    const characters = key.length > 66 ? key.readUInt8(64) : 0;
    const text = key.toString('utf16le', Math.min(66, key.length), Math.min(66 + characters * 2, key.length));
    if (text.toLowerCase() === name) return bytes.readUIntLE(at, 6);
    at += length;
  }
  throw new FormatError('an index does not end');
}
