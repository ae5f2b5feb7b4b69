/**
 * Whether $LogFile is clean (the Linux-NTFS documentation, "$LogFile"; log version 1.1). Two restart pages, little-endian:
 *
 *   0 "RSTR"   4, 6 update sequence   16 system page size   20 log page size   24 offset of the restart area
 *   26 minor, 28 major version, i16
 *
 * The restart area: 0 current LSN u64, 12 first client in use u16 (FFFF: none), 14 flags (2: clean). A log that is all FF was
 * emptied, and is clean. Windows 8 and later write version 2.0 while they run, and put back 1.1 when they shut down in
 * full; with fast start-up they do not.
 */
import { KiB, MiB } from '@prima/base';
import { refuse } from '../metadata-reader.ts';
import { applyFixups, type Attribute } from './record.ts';
import { readAttribute, type Volume } from './volume.ts';

const mostBytes = 256 * MiB;
const pageBytes = 4 * KiB;
const noClient = 0xffff;
const isClean = 2;

/** Raises `refused` unless the log is clean. */
export async function assertCleanLogFile(volume: Volume, log: Attribute): Promise<void> {
  if (log.size > mostBytes || log.size < 4 * pageBytes) refuse(`its log has ${log.size} bytes`);
  const first = await readAttribute(volume, log, { offset: 0, length: pageBytes });
  if (first.readUInt32LE(0) === 0xffff_ffff) return await assertEmpty(volume, log);
  const pages: RestartPage[] = [];
  for (const offset of [0, pageBytes]) {
    const bytes = await readAttribute(volume, log, { offset, length: pageBytes });
    if (bytes.toString('latin1', 0, 4) === 'CHKD') refuse('its log was changed by a check of the disk');
    pages.push(parseRestartPage(bytes));
  }
  if (pages.some(({ version }) => version !== '1.1')) {
    refuse('its log is of a Windows that is hibernated, or was shut down with fast start-up');
  }
  if (!pages.every(({ clean }) => clean)) refuse('its log has to be replayed: it was in use');
}

async function assertEmpty(volume: Volume, log: Attribute): Promise<void> {
  for (let offset = 0; offset < log.size; offset += MiB) {
    const length = Math.min(MiB, log.size - offset);
    const bytes = await readAttribute(volume, log, { offset, length });
    if (!bytes.every((byte) => byte === 0xff)) refuse('its log is neither empty nor readable');
  }
}

export interface RestartPage {
  /** `1.1`. */
  version: string;
  clean: boolean;
}

/** @param bytes 4096; changes them (fixups). Raises `format`, or `refused` for page sizes that are not read. */
export function parseRestartPage(bytes: Buffer): RestartPage {
  applyFixups(bytes, 'RSTR', 'a restart page of the log');
  const [systemPage, offset] = [bytes.readUInt32LE(16), bytes.readUInt16LE(24)];
  if (systemPage !== pageBytes || offset + 48 > pageBytes) refuse(`its log has pages of ${systemPage} bytes`);
  const [client, flags] = [bytes.readUInt16LE(offset + 12), bytes.readUInt16LE(offset + 14)];
  return {
    version: `${bytes.readInt16LE(28)}.${bytes.readInt16LE(26)}`,
    clean: client === noClient || (flags & isClean) !== 0,
  };
}
