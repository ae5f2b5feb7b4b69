/** Checks: that everything is there and fits together, and on demand that every byte is as it was written. */
import { PrimaError, toPrimaError } from '@prima/base';
import { type Context, idFromHex } from '../context.ts';
import type { CheckFault, CheckOptions, CheckReport } from '../contract.ts';
import type { Point } from '../point.ts';
import { readDamagedLists, type StoredLists, writeDamagedLists } from '../damage/lists.ts';
import { type DamageEntry, DamageSet } from '../damage/register.ts';
import { packKey, parsePackKey } from '../format/pack.ts';
import { type IndexedPack, RepositoryIndex } from '../index/repository-index.ts';
import type { LogEntry } from '../session/log-chain.ts';
import { isOfSignerInForce, readOutcome, verifyForgotten } from '../session/read-outcome.ts';
import {
  type CommittedSession,
  deleteUnlessKept,
  listSessions,
  lockStates,
  type Outcome,
  outcomeKey,
  unlessGone,
} from '../session/sessions.ts';
import { type Examination, examine, packIsGone, readPacks } from './check-packs.ts';
import { nameAffected, type Reach, reachOf } from './check-reach.ts';
import { checkingStore } from './checking-store.ts';
import { checkKeySlots } from './key-slots.ts';
import { Ledger } from './ledger.ts';
import { rebuildIndex } from './rebuild-index.ts';
import { compareLog, trulyMissing } from './survey.ts';

/** Faults are collected up to this many; a repository with more is beyond counting. */
const maxFaults = 10_000;

/** A collection may take away what is being checked; then all is looked at again, this often at most. */
const maxRuns = 3;

export async function check(original: Context, options: CheckOptions): Promise<CheckReport> {
  const context: Context = { ...original, store: checkingStore(original.store) };
  const rebuilt = options.rebuildIndex ? await rebuildIndex(context, options) : [];
  for (let run = 1; ; run += 1) {
    const before = await segmentKeys(context);
    const checking = new Check(context, options);
    const report = await checking.run();
    const isOver = report.faults.length === 0 || run === maxRuns;
    if (isOver || before.isSubsetOf(await segmentKeys(context))) {
      if (options.record ?? true) await checking.record();
      return { ...report, notes: [...rebuilt, ...report.notes] };
    }
    context.logger.info('a collection ran during the check, which therefore begins again');
  }
}

/** Segments vanish only in collections, and before anything else that counts does. */
async function segmentKeys(context: Context): Promise<Set<string>> {
  const keys = new Set<string>();
  for await (const { key } of context.store.list('index/')) keys.add(key);
  return keys;
}

class Check {
  readonly #context: Context;
  readonly #options: CheckOptions;
  readonly #faults: CheckFault[] = [];
  readonly #leftovers: string[] = [];
  readonly #notes: string[] = [];
  #index: RepositoryIndex | undefined;
  #ledger: Ledger | undefined;
  #lists: StoredLists = { lists: [], unreadable: [] };
  #damage: DamageEntry[] = [];

  constructor(context: Context, options: CheckOptions) {
    this.#context = context;
    this.#options = options;
  }

  async run(): Promise<CheckReport> {
    const context = this.#context;
    this.#faults.push(...(await checkKeySlots(context)));
    const points = this.#chosen(await this.#points());
    this.#lists = await readDamagedLists(context);
    for (const { key, error } of this.#lists.unreadable) this.#fault('damaged-list', key, error);
    const index = await RepositoryIndex.load(context, {
      onBadSegment: (key, error) => void this.#fault('damaged-segment', key, error),
    });
    this.#index = index;
    const ledger = await Ledger.load(context);
    this.#ledger = ledger;
    for (const { key, error } of ledger.unreadable) {
      this.#leftovers.push(`${key} cannot be read, its packs count as never verified: ${error.message}`);
    }
    const reach = await reachOf({ context, index, points }, this.#options.signal);
    const bytesRead = await this.#packs(index, { ledger, reach });
    await this.#nameLost({ context, index, points }, reach);
    return {
      points: points.length,
      packs: index.packs.length,
      blobs: index.size,
      bytesRead,
      faults: this.#faults,
      leftovers: this.#leftovers,
      notes: this.#notes,
      verification: ledger.figures(index.packs),
    };
  }

  /** Writes down what was found. A store that cannot be written is no fault; it is said in the notes. */
  async record(): Promise<void> {
    if (!this.#index || !this.#ledger) return;
    try {
      if (await this.#recordDamage()) {
        this.#notes.push(
          'the damage is recorded: the next backups read these ranges again and mend what they can',
        );
      }
      await this.#ledger.save(this.#index.packs);
    } catch (error) {
      const { message } = toPrimaError(error, 'recording what the check found');
      this.#notes.push(`what was found could not be written down: ${message}`);
    }
  }

  #chosen(points: Point[]): Point[] {
    const ids = this.#options.points && new Set(this.#options.points);
    return ids ? points.filter(({ id }) => ids.has(id)) : points;
  }

  /** Reads every outcome and holds them against the log. */
  async #points(): Promise<Point[]> {
    const log = await this.#readLog(); // before the points: whoever logs one has committed it
    const committed: CommittedSession[] = [];
    const listed = await listSessions(this.#context);
    const stateOf = lockStates(this.#context, listed);
    for (const entry of listed) {
      const { id, hasOutcome } = entry;
      if (!hasOutcome) {
        this.#leftovers.push(`session ${id} has not ended (a running backup or reader, or one that died)`);
        continue;
      }
      try {
        const read = await unlessGone(readOutcome(this.#context, id));
        if (read?.outcome.state === 'committed' && read.outcome.point) committed.push(stateOf(entry, read));
        if (read?.outcome.state === 'lost') this.#notes.push(givenUp(read.outcome));
      } catch (error) {
        const { message } = toPrimaError(error, 'reading an outcome');
        this.#fault('damaged-outcome', outcomeKey(id), `${message}; collections refuse until: prima repair`);
      }
    }
    const cameBack = await this.#compareLog(log, committed);
    return committed
      .filter(({ id, isForgotten }) => !isForgotten && !cameBack.has(id))
      .flatMap(({ outcome }) => (outcome.point ? [outcome.point] : []));
  }

  async #readLog(): Promise<LogEntry[] | undefined> {
    try {
      const { log } = this.#context;
      if (this.#options.acceptHead) await log.accept();
      const { entries, fault, runs } = await log.readAll();
      if (fault !== undefined) this.#fault('rolled-back', 'log/', fault);
      for (const { from, seq } of runs) {
        const what = from === seq ? `entry ${from}` : `the entries ${from} to ${seq}`;
        this.#notes.push(`${what} of the log of roots cannot be read; a repair stands for what is lost`);
      }
      return entries;
    } catch (error) {
      const { message } = toPrimaError(error, 'reading the log of roots');
      const [object = 'log/'] = /log\/\d{10}/.exec(message) ?? [];
      const advice = message.includes('prima repair') ? '' : '; collections refuse until: prima repair';
      this.#fault('log-gap', object, `${message}${advice}`);
      return undefined;
    }
  }

  /** Answers which points are none, because they came back after they were removed. */
  async #compareLog(
    entries: LogEntry[] | undefined,
    committed: readonly CommittedSession[],
  ): Promise<Set<string>> {
    const cameBack = new Set<string>();
    if (entries === undefined) return cameBack;
    try {
      const { changed, unlogged, ...compared } = compareLog(entries, committed);
      const missing = await trulyMissing(this.#context, compared.missing);
      for (const { id } of unlogged) await this.#checkUnlogged(id);
      for (const id of missing) {
        if (this.#faults.some((fault) => fault.object.includes(id))) continue;
        this.#fault(
          'missing-point',
          `sessions/${id}/outcome`,
          'the log of roots knows this restore point, but it is not there; collections refuse until it is again, or: prima repair',
        );
      }
      for (const { id } of compared.cameBack) {
        cameBack.add(id);
        this.#leftovers.push(
          `point ${id} was forgotten and removed, and came back (a crash undid it); the next collection removes it`,
        );
      }
      for (const { id } of compared.unloggedForgets) await this.#checkForgotten(id);
      for (const id of changed) {
        this.#fault(
          'changed-point',
          `sessions/${id}/outcome`,
          'the restore point is not the one that the log of roots names',
        );
      }
    } catch (error) {
      this.#fault('log-gap', 'log/', error);
    }
    return cameBack;
  }

  async #checkUnlogged(id: string): Promise<void> {
    if (await isOfSignerInForce(this.#context, id)) {
      this.#leftovers.push(
        `the log of roots lacks point ${id} (its writer died, or the log was cut); the next collection adds it`,
      );
    } else {
      this.#fault(
        'unlogged-point',
        outcomeKey(id),
        'the log of roots does not know this restore point, and it is signed with a key that was replaced: it may be forged; if it is yours: prima repair',
      );
    }
  }

  /** A mark that the log does not know may be of a writer that died before it wrote to the log, or forged. */
  async #checkForgotten(id: string): Promise<void> {
    try {
      await unlessGone(verifyForgotten(this.#context, id));
    } catch (error) {
      this.#fault('forged-forget', `sessions/${id}/forgotten`, error);
    }
  }

  /** Every pack of the index is there, has its size and, on demand, its bytes; how many were read. */
  async #packs(index: RepositoryIndex, found: { ledger: Ledger; reach: Reach }): Promise<number> {
    const { ledger, reach } = found;
    const context = this.#context;
    const suspects = new Set(context.damage.all().packs.keys());
    const listed = await this.#listed(index);
    for (const { name, size } of index.packs) if (listed.get(name) !== size) suspects.add(name);
    const toRead = this.#chosenPacks(index, found).filter(({ name }) => !suspects.has(name));
    const { signal, onProgress } = this.#options;
    const reading = await readPacks(context, toRead, { signal, onProgress });
    for (const name of reading.suspects) suspects.add(name);
    for (const name of reading.good) ledger.add(name, true);
    const examined = await examine(context, {
      segments: index.segments,
      suspects: index.packs.filter(({ name }) => suspects.has(name)),
    });
    for (const { pack, error } of [...reading.unreachable, ...examined.unreachable]) {
      this.#fault('unreadable-pack', packKey(pack.kind, pack.name), error);
    }
    for (const { name } of examined.good) {
      ledger.add(name, true);
      if (reading.suspects.has(name))
        this.#notes.push(`pack ${name} was read wrong once, but is as it was written`);
    }
    for (const { pack = '' } of examined.damage) ledger.add(pack, false);
    this.#damage = [...examined.damage, ...this.#missing(index, reach), ...this.#unexamined(index, examined)];
    context.damage.replace(this.#damage);
    return reading.bytesRead;
  }

  /** Sizes of all packs in the store, by name. */
  async #listed(index: RepositoryIndex): Promise<Map<string, number>> {
    const listed = new Map<string, number>();
    for await (const { key, size } of this.#context.store.list('packs/')) {
      const pack = parsePackKey(key);
      if (pack) listed.set(pack.name, size);
      if (pack && !index.hasPack(pack.name)) this.#leftovers.push(`${key} belongs to no finished session`);
    }
    return listed;
  }

  /** The packs that this check reads, in order: those first that were not read for longest. */
  #chosenPacks(index: RepositoryIndex, { ledger, reach }: { ledger: Ledger; reach: Reach }): IndexedPack[] {
    const { readData, budgetBytes, points } = this.#options;
    if (!readData && budgetBytes === undefined) return [];
    const reached = points ? [...reach.packs].flatMap((number) => index.packs[number] ?? []) : index.packs;
    if (budgetBytes === undefined) return [...reached];
    let left = budgetBytes;
    return reached
      .toSorted((a, b) => ledger.verified(a.name) - ledger.verified(b.name))
      .filter(({ size }) => {
        const fits = left > 0;
        left -= size;
        return fits;
      });
  }

  /** Blobs that are in no pack: those that were met now, and of those that were known the ones still missing. */
  #missing(index: RepositoryIndex, reach: Reach): DamageEntry[] {
    const ids = new Set(reach.missing);
    const known = this.#options.points ? this.#context.damage.all().missing.keys() : [];
    for (const hex of known) if (!index.find(idFromHex(hex))) ids.add(hex);
    if (ids.size === 0) return [];
    return [{ ids: [...ids], why: 'no pack of the index holds it' }];
  }

  /** What was known of packs that could not be looked at now. */
  #unexamined(index: RepositoryIndex, { unreachable }: Examination): DamageEntry[] {
    const names = new Set(unreachable.map(({ pack }) => pack.name));
    return this.#context.damage
      .all()
      .entries()
      .filter(({ pack }) => pack !== undefined && index.hasPack(pack) && names.has(pack));
  }

  /** A fault for each damaged pack and for missing blobs, with what is affected. */
  async #nameLost(where: { context: Context; index: RepositoryIndex; points: Point[] }, reach: Reach) {
    if (this.#damage.length === 0) return;
    if (reach.missing.size > 0) {
      this.#notes.push(
        'blobs may be missing because their index segment is: prima check --rebuild-index looks in the packs',
      );
    }
    const faults = new Map<string, CheckFault>();
    for (const { pack, kind = 'data', ids, why } of this.#damage) {
      const isGone = ids === 'all' && why === packIsGone;
      const object = pack === undefined ? (ids[0] ?? '') : packKey(kind, pack);
      const what = pack === undefined ? 'missing-chunk' : isGone ? 'missing-pack' : 'damaged-pack';
      const count = pack === undefined ? ` (${reach.missing.size} blobs in all)` : '';
      faults.set(pack ?? '', { kind: what, object, message: `${why}${count}`, affected: [] });
    }
    await nameAffected(where, (id) => {
      const place = where.index.find(id);
      if (!place) return faults.get('');
      return place.isDamaged ? faults.get(place.in.name) : undefined;
    });
    for (const fault of faults.values()) this.#addLost(fault);
  }

  /** Damage that costs no point anything is a leftover; but of part of the points that cannot be told. */
  #addLost(fault: CheckFault): void {
    const isLeftover = fault.affected.length === 0 && !this.#options.points;
    if (!isLeftover) this.#addFault(fault);
    else
      this.#leftovers.push(`${fault.object} is damaged (${fault.message}), but no point needs what is lost`);
  }

  /** Brings the damaged lists up to date; true when there is damage. */
  async #recordDamage(): Promise<boolean> {
    const { lists, unreadable } = this.#lists;
    const known = new DamageSet();
    for (const entry of lists.flatMap(({ list }) => list.entries)) known.add(entry);
    const found = new DamageSet();
    for (const entry of this.#damage) found.add(entry);
    const isFull = this.#options.readData && this.#options.points === undefined;
    const spent = isFull ? unreadable.map(({ key }) => key) : [];
    if (!known.equals(found)) {
      await writeDamagedLists(this.#context, 'check', found.entries());
      spent.push(...lists.map(({ key }) => key));
    }
    this.#context.damage.setRecorded(found.entries());
    for (const key of spent) await deleteUnlessKept(this.#context, key);
    return !found.isEmpty;
  }

  #fault(kind: string, object: string, cause: unknown): CheckFault {
    const message = typeof cause === 'string' ? cause : toPrimaError(cause, 'checking').message;
    const fault: CheckFault = { kind, object, message, affected: [] };
    this.#addFault(fault);
    return fault;
  }

  #addFault(fault: CheckFault): void {
    if (this.#faults.length >= maxFaults)
      throw new PrimaError('integrity', `more than ${maxFaults} faults; the last: ${fault.message}`);
    this.#faults.push(fault);
  }
}

function givenUp({ session, mended, keptUntil }: Outcome): string {
  const kept = keptUntil === undefined ? '' : `, its data is kept until ${keptUntil}`;
  return `session ${session} cannot be read and was given up on ${mended?.time ?? 'an unknown day'}${kept}`;
}
