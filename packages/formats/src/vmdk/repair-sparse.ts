/**
 * Repairs a sparse extent after its check. What is repaired reads as it did or as what a copy still knows; what could
 * make things worse is refused with the reason. A crash on the way leaves a disk that can be repaired again.
 */
import { alignUp } from '@prima/base';
import type { SparseChecked } from './check-sparse.ts';
import type { WritableDiskFile } from './disk-file.ts';
import type { Findings, VmdkFindingCode } from './findings.ts';
import { sectorBytes } from './hosted-header.ts';
import type { SparseTables, TableLayout } from './sparse-tables.ts';
import type { SectorRange } from './table-places.ts';

/** The parts of a header that are checked alike. */
export interface SparseSubject {
  extent: { sectors: number | undefined };
  /** Sectors, as the header says. */
  capacity: number;
  layout: TableLayout;
  grainBytes: number;
  zeroEntries: boolean;
  dataStart: number;
  headEnd: number;
  areas: readonly SectorRange[];
  compressed: boolean;
  unclean: boolean;
  setUnclean: (file: WritableDiskFile) => Promise<void>;
  /** Makes the directory at the sector the only one. */
  keepDirectory?: (file: WritableDiskFile, sector: number) => Promise<void>;
  /** The header names a second directory outside of the file. */
  hasLostDirectory?: boolean;
  free?: { sector: number; offset: number };
}

export interface RepairTask {
  findings: Findings;
  repairs: string[];
  refusals: string[];
  subject: SparseSubject;
  tables: SparseTables;
  checked: SparseChecked;
}

export async function repairSparse(file: WritableDiskFile, task: RepairTask): Promise<void> {
  const repair = new SparseRepair(file, task);
  if (task.subject.compressed) {
    repair.refuseStream();
  } else {
    await repair.growCutGrain();
    await repair.mendCopies();
    await repair.replaceTables();
    await repair.dropDirectory();
    await repair.cutTail();
    await repair.setFree();
  }
  await repair.clearUnclean();
  await file.flush();
}

class SparseRepair {
  readonly #file: WritableDiskFile;
  readonly #task: RepairTask;
  /** Errors that are not mended. */
  readonly #errors: Set<VmdkFindingCode>;
  /** What else is not mended. */
  #isUneven: boolean;

  constructor(file: WritableDiskFile, task: RepairTask) {
    this.#file = file;
    this.#task = task;
    this.#errors = task.findings.errorsOf(file.name);
    const { tables, copies } = task.checked;
    this.#isUneven = tables.differing.size > copies.mendable.length || tables.leftOver > 0;
  }

  #did(text: string): void {
    this.#task.repairs.push(`${this.#file.name}: ${text}`);
  }

  #refuse(text: string): void {
    this.#task.refusals.push(`${this.#file.name}: ${text}`);
  }

  #errorsBut(...mended: VmdkFindingCode[]): VmdkFindingCode[] {
    return [...this.#errors].filter((code) => !mended.includes(code));
  }

  refuseStream(): void {
    const { missing, differing, faults } = this.#task.checked.tables;
    const isWhole =
      missing.size === 0 && differing.size === 0 && faults.every((fault) => fault === undefined);
    this.#isUneven ||= !isWhole;
    if (isWhole && !this.#task.subject.hasLostDirectory) return;
    this.#refuse(
      'a stream is written once from front to end, so its tables are not mended: convert it, which reads it',
    );
  }

  /** A file that ends within its last grain: what is gone reads as zeros. */
  async growCutGrain(): Promise<void> {
    const { cutGrainEnd, firstBeyond } = this.#task.checked;
    const { size } = this.#file;
    if (cutGrainEnd <= size) return;
    const others = this.#errorsBut('grain-cut-off', 'grain-beyond-end');
    if (others.length > 0 || firstBeyond < cutGrainEnd) {
      const why = others.length > 0 ? others.join(', ') : `another grain is said to be at ${firstBeyond}`;
      this.#refuse(
        `its last grain is cut off, but the entry that says so may be what is damaged (${why}): not grown`,
      );
      return;
    }
    await this.#file.resize(cutGrainEnd);
    this.#errors.delete('grain-cut-off');
    this.#did(`grew from ${size} to ${cutGrainEnd} bytes; what was cut off its last grain reads as zeros`);
  }

  /** Makes tables whose copies differ what both know. */
  async mendCopies(): Promise<void> {
    const { tables, checked } = this.#task;
    const { mendable } = checked.copies;
    for (const turn of [1, 0]) {
      // one after the other, so that a crash leaves one of them whole
      for (const index of mendable) {
        const result = await checked.copies.merged(index);
        const sector = (await checked.tables.sectorsOf(index))?.[turn];
        if (!result || !('merged' in result) || !sector) continue;
        await this.#file.write(sector * sectorBytes, tables.bytesOf(result.merged));
      }
      if (mendable.length > 0) await this.#file.flush();
    }
    if (mendable.length > 0) this.#did(`made the copies of ${mendable.length} grain tables equal`);
    const { differing, leftOver } = checked.tables;
    const conflicts = differing.size - mendable.length;
    if (conflicts > 0) {
      this.#refuse(
        `the copies of ${conflicts} grain tables contradict each other, and nothing tells which are right`,
      );
    }
    if (leftOver > 0) this.#refuse(`the copies of ${leftOver} more grain tables differ: repair it once more`);
  }

  /** Gives tables that have lost a copy one at the end of the file. */
  async replaceTables(): Promise<void> {
    const { tables, checked } = this.#task;
    const used = checked.tables.faults.filter((fault) => fault === undefined).length;
    const wanted = [...checked.tables.missing].filter(([, gone]) => gone.length < used);
    if (wanted.length === 0) return;
    const inTheWay = this.#errorsBut('copies-conflict');
    if (inTheWay.length > 0) {
      this.#isUneven = true;
      const why = `what the tables say is not right by itself (${inTheWay.join(', ')})`;
      this.#refuse(
        `${wanted.length} grain tables have lost a copy, and no new one is put at the end: ${why}`,
      );
      return;
    }
    // first no place, then a table, then its place: whoever reads meanwhile takes the other copy
    const entries = wanted.flatMap(([index, gone]) =>
      gone.map((which) => tables.directoryOffset(which, index)),
    );
    for (const offset of entries) await this.#file.write(offset, Buffer.alloc(4));
    await this.#file.flush();
    const places: Buffer[] = [];
    for (const [index, gone] of wanted) {
      const table = await checked.tables.agreed(index);
      for (const _ of gone) places.push(table ? await this.#append(tables.bytesOf(table)) : Buffer.alloc(4));
    }
    await this.#file.flush();
    for (const [at, offset] of entries.entries())
      await this.#file.write(offset, places[at] ?? Buffer.alloc(4));
    await this.#file.flush();
    this.#did(`gave ${wanted.length} grain tables that had lost a copy a new one`);
  }

  /** The directory's entry for what now is at the end. */
  async #append(bytes: Buffer): Promise<Buffer> {
    const at = alignUp(this.#file.size, sectorBytes);
    await this.#file.write(at, bytes);
    const entry = Buffer.alloc(4);
    entry.writeUInt32LE(at / sectorBytes);
    return entry;
  }

  /** Goes on with one directory where the other is none: to write into its place could be to write over data. */
  async dropDirectory(): Promise<void> {
    const { subject, checked, tables } = this.#task;
    const { faults } = checked.tables;
    const kept = faults.findIndex((fault) => fault === undefined);
    const sector = tables.directories[kept];
    const isNeeded = subject.hasLostDirectory === true || faults.some((fault) => fault !== undefined);
    if (!isNeeded || sector === undefined || !subject.keepDirectory) return;
    const others = this.#errorsBut();
    if (others.length > 0) {
      this.#isUneven = true;
      this.#refuse(
        `one grain directory is damaged, and in the other one not all is right (${others.join(', ')}): both are kept`,
      );
      return;
    }
    await subject.keepDirectory(this.#file, sector);
    this.#did(
      `goes on with the grain directory at sector ${sector} alone; the other one is not there any more`,
    );
  }

  async cutTail(): Promise<void> {
    const { checked } = this.#task;
    const { size } = this.#file;
    const end = alignUp(checked.usedEnd, sectorBytes);
    const { missing, differing } = checked.tables;
    // what belongs to nothing may be what broken tables do not name any more
    if (size <= end || this.#errors.size > 0 || this.#isUneven || missing.size > 0 || differing.size > 0)
      return;
    await this.#file.resize(end);
    this.#did(`cut off ${size - end} bytes at its end that belong to nothing`);
  }

  async setFree(): Promise<void> {
    const { subject, checked } = this.#task;
    const { free } = subject;
    if (!free || free.sector * sectorBytes >= checked.usedEnd) return;
    await this.#file.flush();
    // where not all is known, nothing that is in the file is given to anybody
    const end = this.#errors.size > 0 ? Math.max(this.#file.size, checked.usedEnd) : checked.usedEnd;
    const sector = Math.min(2 ** 32 - 1, alignUp(end, sectorBytes) / sectorBytes);
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(sector);
    await this.#file.write(free.offset, bytes);
    this.#did(`set freeSector from ${free.sector} to ${sector}`);
  }

  async clearUnclean(): Promise<void> {
    const { subject } = this.#task;
    if (!subject.unclean) return;
    if (this.#errors.size > 0 || this.#isUneven) {
      this.#refuse('the mark of an unclean shutdown stays, for not all is mended');
      return;
    }
    await this.#file.flush();
    await subject.setUnclean(this.#file);
    this.#did('cleared the mark of an unclean shutdown');
  }
}
