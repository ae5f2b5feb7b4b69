/**
 * What lies in a streamOptimized VMDK before its first grain: the header, the descriptor and, with writers that can
 * seek, the tables. All of it is read in passing.
 */
import { FormatError, MiB } from '@prima/base';
import { type HostedHeader, HostedFlags, parseHostedHeader, sectorBytes } from './hosted-header.ts';
import type { StreamBytes } from './stream-bytes.ts';
import { countGrains } from './stream-tables.ts';

export interface StreamFront {
  header: HostedHeader;
  /** The embedded descriptor up to its first NUL; undefined where there is none. */
  descriptor: Uint8Array | undefined;
  /** How many grains the tables in front name; undefined where they are not in front. */
  grainsNamed: number | undefined;
}

/** Table sizes, sectors. */
export interface TableSizes {
  tables: number;
  tableSectors: number;
  directorySectors: number;
}

const mostGrainBytes = 4 * MiB;
const mostDescriptorBytes = MiB;
/** A directory of 16 MiB, which is held while the tables pass; of common tables, a disk of 128 TiB. */
const mostTables = 4 * MiB;
/** What a writer may leave free before the first grain, beyond what has to be there. */
const spareSectors = (64 * MiB) / sectorBytes;

export async function readFront(bytes: StreamBytes): Promise<StreamFront> {
  const sector = new Uint8Array(sectorBytes);
  await bytes.readInto(sector, 'the header of a VMDK');
  const header = parseHostedHeader(sector, bytes.name);
  needStream(header, bytes.name);
  const front = new FrontParts(bytes, header);
  await front.read();
  return { header, descriptor: front.descriptor, grainsNamed: front.grainsNamed };
}

export function tableSizes({ capacity, grainSize, numGTEsPerGT }: HostedHeader): TableSizes {
  const tables = Math.ceil(capacity / grainSize / numGTEsPerGT);
  return {
    tables,
    tableSectors: Math.ceil((numGTEsPerGT * 4) / sectorBytes),
    directorySectors: Math.ceil((tables * 4) / sectorBytes),
  };
}

function needStream(header: HostedHeader, name: string): void {
  const { flags, grainSize, overHead, capacity } = header;
  const broken = (what: string, offset: number) =>
    new FormatError(`${name}: ${what} (offset ${offset})`, { details: { offset } });
  if ((flags & HostedFlags.compressed) === 0 || (flags & HostedFlags.markers) === 0) {
    throw broken(
      `flags are 0x${flags.toString(16)}, without compressed grains and markers: this is no streamOptimized VMDK and ` +
        'can only be read as a file',
      8,
    );
  }
  if (grainSize <= 8 || grainSize * sectorBytes > mostGrainBytes) {
    throw broken(`grainSize is ${grainSize} sectors where 16 to 8192 were wanted`, 20);
  }
  const { tables, tableSectors, directorySectors } = tableSizes(header);
  if (tables > mostTables) {
    throw broken(
      `capacity is ${capacity} sectors, with ${tables} grain tables; ${mostTables} can be read`,
      12,
    );
  }
  const needed = 1 + header.descriptorSize + 2 * (directorySectors + tables * tableSectors);
  if (overHead > needed + spareSectors) {
    throw broken(`overHead is ${overHead} sectors, where tables and descriptor need ${needed} at most`, 64);
  }
}

class FrontParts {
  readonly #bytes: StreamBytes;
  readonly #header: HostedHeader;
  /** Sector of the first marker. */
  readonly #end: number;
  descriptor: Uint8Array | undefined;
  grainsNamed: number | undefined;

  constructor(bytes: StreamBytes, header: HostedHeader) {
    this.#bytes = bytes;
    this.#header = header;
    const { descriptorOffset, descriptorSize, overHead } = header;
    const afterDescriptor = descriptorOffset === 1 ? 1 + descriptorSize : 1;
    this.#end = overHead === 0 ? afterDescriptor : overHead;
  }

  async read(): Promise<void> {
    const { descriptorOffset, rgdOffset, gdOffset } = this.#header;
    // one set of tables is enough, and the redundant one, where there is one, comes first
    const directory = rgdOffset > 0 ? rgdOffset : gdOffset;
    if (directory === undefined || directory > descriptorOffset) {
      await this.#readDescriptor();
      await this.#readTables(directory);
    } else {
      await this.#readTables(directory);
      await this.#readDescriptor();
    }
    await this.#bytes.skip(this.#end * sectorBytes - this.#bytes.position, inFront);
  }

  async #readDescriptor(): Promise<void> {
    const { descriptorOffset, descriptorSize } = this.#header;
    if (descriptorSize * sectorBytes > mostDescriptorBytes) return;
    const content = await this.#take(descriptorOffset, descriptorSize);
    if (!content) return;
    const end = content.indexOf(0);
    const text = content.subarray(0, end < 0 ? content.length : end);
    if (text.length > 0) this.descriptor = text;
  }

  async #readTables(directory: number | undefined): Promise<void> {
    if (directory === undefined) return;
    const { tables, tableSectors, directorySectors } = tableSizes(this.#header);
    const content = await this.#take(directory, directorySectors);
    if (!content) return;
    const entries = new Uint32Array(content.buffer, 0, tables).filter((sector) => sector !== 0).sort();
    let count = 0;
    for (const sector of entries) {
      const table = await this.#take(sector, tableSectors);
      if (!table) return; // elsewhere: what was counted is not all
      count += countGrains(table.subarray(0, this.#header.numGTEsPerGT * 4));
    }
    this.grainsNamed = count;
  }

  /** What lies wholly in front and is still to come; otherwise undefined. */
  async #take(sector: number, sectors: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const start = sector * sectorBytes;
    const { position } = this.#bytes;
    if (start < position || sectors < 1 || sector + sectors > this.#end) return undefined;
    await this.#bytes.skip(start - position, inFront);
    const content = new Uint8Array(sectors * sectorBytes);
    await this.#bytes.readInto(content, inFront);
    return content;
  }
}

const inFront = 'what lies before its first grain';
