/** Streams in the forms that writers give them, made piece by piece so that each can be made wrong. */
import { deflateRawSync, deflateSync } from 'node:zlib';
import { HostedFlags, type HostedHeader, sectorBytes, writeHostedHeader } from './hosted-header.ts';
import { grainRecordBytes, type MarkerType, markerType, writeGrain, writeMarker } from './stream-markers.ts';

export const grainSectors = 16;
export const grainBytes = grainSectors * sectorBytes;
/** Few, so that small disks have several tables. */
const entriesPerTable = 4;
const tableSectors = 1;

export interface FixtureGrain {
  /** Number of the grain on the disk. */
  number: number;
  plain: Uint8Array;
  /** Sector that the marker says; default: where the grain belongs. */
  lba?: number;
  /** What stands for the data; default: what zlib makes of `plain`. */
  data?: Uint8Array;
  /** Size that the marker says; default: that of the data. */
  size?: number;
}

/**
 * `full`: tables behind their grains, directory, footer, end. `front`: two sets of tables in front and no marker but
 * the grains', as qemu-img writes. `end`: tables in front, and an end-of-stream marker, as open-vmdk writes.
 * `bare`: grains and the end alone.
 */
export type FixtureForm = 'full' | 'front' | 'end' | 'bare';
export const fixtureForms: readonly FixtureForm[] = ['full', 'front', 'end', 'bare'];

export interface Fixture {
  form: FixtureForm;
  /** Of the disk, sectors. */
  capacity: number;
  grains: readonly FixtureGrain[];
  header?: Partial<HostedHeader>;
  /** Put before the end-of-stream marker, or the end. */
  extra?: readonly Uint8Array[];
  descriptor?: string;
  /** Changes a table before it is written. */
  changeTable?: (entries: number[], table: number) => void;
}

export function noise(grain: number): Uint8Array {
  return Uint8Array.from({ length: grainBytes }, (_, i) => (i * (grain + 3)) % 251);
}

export const packed = (plain: Uint8Array): Buffer => deflateSync(plain);
export const packedRaw = (plain: Uint8Array): Buffer => deflateRawSync(plain);

export function makeStream(fixture: Fixture): Buffer {
  return new StreamMaker(fixture).make();
}

class StreamMaker {
  readonly #fixture: Fixture;
  readonly #tables: number;
  readonly #directorySectors: number;
  readonly #entries = new Map<number, number[]>();

  constructor(fixture: Fixture) {
    this.#fixture = fixture;
    this.#tables = Math.ceil(fixture.capacity / grainSectors / entriesPerTable);
    this.#directorySectors = Math.ceil((this.#tables * 4) / sectorBytes);
  }

  make(): Buffer {
    const { form, grains, extra = [] } = this.#fixture;
    const set = this.#directorySectors + this.#tables * tableSectors;
    const sets = form === 'front' ? 2 : form === 'end' ? 1 : 0;
    const overHead = 4 + sets * set;
    const parts: Uint8Array[] = [];
    let sector = overHead;
    const add = (bytes: Uint8Array) => {
      parts.push(bytes);
      sector += bytes.length / sectorBytes;
    };
    const behind = (type: MarkerType, content: Uint8Array) => {
      add(writeMarker(type, content.length / sectorBytes));
      add(content);
      return sector - content.length / sectorBytes;
    };
    const directory: number[] = Array.from({ length: this.#tables }, () => 0);
    for (const [index, grain] of grains.entries()) {
      const table = Math.floor(grain.number / entriesPerTable);
      this.#entry(table)[grain.number % entriesPerTable] = sector;
      add(recordOf(grain));
      const next = grains[index + 1];
      const isLast = next === undefined || Math.floor(next.number / entriesPerTable) !== table;
      if (form === 'full' && isLast) directory[table] = behind(markerType.grainTable, this.#table(table));
    }
    for (const bytes of extra) add(bytes);
    if (form === 'full') {
      const gdOffset = behind(markerType.grainDirectory, words(directory, this.#directorySectors));
      behind(markerType.footer, writeHostedHeader(this.#header({ overHead, gdOffset })));
    }
    if (form !== 'front') add(writeMarker(markerType.endOfStream, 0));
    return Buffer.concat([...this.#front(overHead, { sets, set }), ...parts]);
  }

  #front(overHead: number, { sets, set }: { sets: number; set: number }): Uint8Array[] {
    const { descriptor = '# Disk DescriptorFile\n', form } = this.#fixture;
    const text = Buffer.alloc(3 * sectorBytes);
    text.write(descriptor);
    const offsets =
      form === 'front' ? { rgdOffset: 4, gdOffset: 4 + set } : form === 'end' ? { gdOffset: 4 } : {};
    const header = writeHostedHeader(this.#header({ overHead, ...offsets, ...this.#fixture.header }));
    const tables = Array.from({ length: sets }, (_, i) => this.#set(4 + i * set));
    return [header, text, ...tables.flat()];
  }

  #set(sector: number): Uint8Array[] {
    const first = sector + this.#directorySectors;
    const numbers = Array.from({ length: this.#tables }, (_, table) => table);
    const directory = numbers.map((table) => first + table * tableSectors);
    return [words(directory, this.#directorySectors), ...numbers.map((table) => this.#table(table))];
  }

  #table(table: number): Uint8Array {
    const entries = [...this.#entry(table)];
    this.#fixture.changeTable?.(entries, table);
    return words(entries, tableSectors);
  }

  #entry(table: number): number[] {
    const entries = this.#entries.get(table) ?? Array.from({ length: entriesPerTable }, () => 0);
    this.#entries.set(table, entries);
    return entries;
  }

  #header(fields: Partial<HostedHeader>): HostedHeader {
    return {
      version: 3,
      flags: HostedFlags.validNewLine | HostedFlags.compressed | HostedFlags.markers,
      capacity: this.#fixture.capacity,
      grainSize: grainSectors,
      descriptorOffset: 1,
      descriptorSize: 3,
      numGTEsPerGT: entriesPerTable,
      rgdOffset: 0,
      overHead: 0,
      uncleanShutdown: false,
      compressAlgorithm: 1,
      ...fields,
    };
  }
}

function recordOf(grain: FixtureGrain): Uint8Array {
  const data = grain.data ?? packed(grain.plain);
  const record = new Uint8Array(grainRecordBytes(data.length));
  writeGrain(record, grain.lba ?? grain.number * grainSectors, data);
  if (grain.size !== undefined) new DataView(record.buffer).setUint32(8, grain.size, true);
  return record;
}

function words(values: readonly number[], sectors: number): Uint8Array {
  const bytes = new Uint8Array(sectors * sectorBytes);
  const view = new DataView(bytes.buffer);
  for (const [index, value] of values.entries()) view.setUint32(index * 4, value, true);
  return bytes;
}
