import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { IntegrityError, type Random, seededRandom } from '@prima/base';
import {
  chainOf,
  compare,
  emptyHead,
  follow,
  type LogEntry,
  type LogHead,
  loggedSessions,
  type LogRoot,
  type LogSlots,
  lostRuns,
  missingEntry,
  noDigest,
  pointsBy,
  type ReadEntry,
} from './log-chain.ts';

const signers = ['a', 'b', 'c'];

function entryAfter(head: LogHead, more: Partial<LogEntry> & Pick<LogEntry, 'event'>): ReadEntry {
  const seq = head.seq + 1;
  const points = head.points + pointsBy(more.event);
  const entry: LogEntry = { seq, previous: head.digest, points, time: '', ...more };
  const digest = createHash('sha256').update(JSON.stringify(entry)).digest('hex');
  return { entry, signer: head.signer, digest };
}

function headAfter(head: LogHead, next: ReadEntry): LogHead {
  const after = follow(head, next, signers);
  assert.ok(after);
  return after;
}

/** A log of some entries, now and then with a new signer. */
function randomLog(random: Random, length: number): ReadEntry[] {
  const log: ReadEntry[] = [];
  const there: string[] = [];
  let head = emptyHead(signers);
  for (let i = 0; i < length; i += 1) {
    const next = signers[signers.indexOf(head.signer) + 1];
    const what = random.below(8);
    let entry: ReadEntry;
    if (what === 0 && next !== undefined) entry = entryAfter(head, { event: 'signer', signer: next });
    else if (what < 3 && there.length > 0) {
      const [session = ''] = there.splice(random.below(there.length), 1);
      entry = entryAfter(head, { event: 'forgotten', session, outcome: session });
    } else {
      const session = `s${i}`;
      there.push(session);
      entry = entryAfter(head, { event: 'committed', session, outcome: session });
    }
    log.push(entry);
    head = headAfter(head, entry);
  }
  return log;
}

function damaged(random: Random, slots: LogSlots, share: number): LogSlots {
  return slots.map((slot, index) => {
    if (random.below(100) >= share) return slot;
    return random.below(2) === 0 ? missingEntry(index + 1) : new IntegrityError('flipped');
  });
}

/** The slots with the entry that a repair appends. */
function repaired(slots: LogSlots, roots: LogRoot[] = []): LogSlots {
  const lost = lostRuns(slots, signers);
  const { head } = chainOf(slots, signers, lost);
  return [...slots, entryAfter(head, { event: 'repaired', points: head.points, lost, roots })];
}

const seed = Date.now() % 1e6;

test('whatever is lost, a repair stands for it, and the log goes on; what comes later is noticed', () => {
  const random = seededRandom(seed);
  for (let round = 0; round < 400; round += 1) {
    const where = `seed ${seed}, round ${round}`;
    const log = randomLog(random, 2 + random.below(12));
    const end = chainOf(log, signers).head;
    let slots: LogSlots = log;
    for (let times = 1 + random.below(3); times > 0; times -= 1) {
      slots = damaged(random, slots, 10 + random.below(60));
      const runs = lostRuns(slots, signers);
      if (runs.length === 0) assert.doesNotThrow(() => chainOf(slots, signers), where);
      else assert.throws(() => chainOf(slots, signers), { code: 'integrity' }, where);
      slots = repaired(slots);
      const { head } = chainOf(slots, signers);
      assert.deepEqual(lostRuns(slots, signers), [], where);
      slots = [...slots, entryAfter(head, { event: 'committed', session: `after ${times}`, outcome: '' })];
    }
    const chain = chainOf(slots, signers);
    assert.ok(
      signers.indexOf(chain.head.signer) >= signers.indexOf(end.signer) || chain.runs.length > 0,
      where,
    );
    // any other entry that is lost, or brought back from elsewhere, is a fault again
    const whole = slots.findIndex(
      (slot, i) => 'entry' in slot && i < slots.length - 1 && !inRun(chain.runs, i + 1),
    );
    if (whole < 0) continue;
    assert.throws(() => chainOf(slots.with(whole, new IntegrityError('flipped')), signers), where);
    const other = slots[whole];
    assert.ok(other && 'entry' in other);
    const forged = { ...other, digest: 'f'.repeat(64) };
    if (whole < slots.length - 1) assert.throws(() => chainOf(slots.with(whole, forged), signers), where);
  }
});

function inRun(runs: readonly { from: number; seq: number }[], seq: number): boolean {
  return runs.some((run) => run.from <= seq && seq <= run.seq);
}

test('a gap that somebody filled who did not see what comes after is one entry too many', () => {
  const log = randomLog(seededRandom(3), 6);
  const before = chainOf(log.slice(0, 2), signers).head;
  const blind = entryAfter(before, { event: 'committed', session: 'blind', outcome: '' });
  const slots = log.with(2, blind);
  assert.throws(() => chainOf(slots, signers), /log\/0000000004 does not follow/);
  assert.deepEqual(
    lostRuns(slots, signers).map(({ from, seq, digest }) => [from, seq, digest]),
    [[3, 3, log[2]?.digest]],
  );
  const roots: LogRoot[] = [{ event: 'committed', session: 'blind', outcome: '' }];
  const { entries } = chainOf(repaired(slots, roots), signers);
  assert.equal(loggedSessions(entries).get('blind')?.event, 'committed');
});

test('an entry of a signer whose time is over is not believed', () => {
  let head = emptyHead(signers);
  const first = entryAfter(head, { event: 'committed', session: 's', outcome: '' });
  head = headAfter(head, first);
  const second = entryAfter(head, { event: 'signer', signer: 'b' });
  head = headAfter(head, second);
  const stale = { ...entryAfter(head, { event: 'forgotten', session: 's', outcome: '' }), signer: 'a' };
  const slots: LogSlots = [first, second, stale];
  assert.throws(() => chainOf(slots, signers), /log\/0000000003 does not follow/);
  const { entries } = chainOf(repaired(slots), signers);
  assert.equal(loggedSessions(entries).get('s')?.event, 'committed');
  // a signer may be announced by itself or any later one, in the order of the key set
  for (const by of signers) {
    const announced = {
      ...entryAfter(chainOf([first], signers).head, { event: 'signer', signer: 'b' }),
      signer: by,
    };
    assert.doesNotThrow(() => chainOf([first, announced], signers));
  }
  const skipped = entryAfter(chainOf([first], signers).head, { event: 'signer', signer: 'c' });
  assert.throws(() => chainOf([first, skipped], signers));
});

test('a computer believes a run only at its end, and with the digest that it remembers', () => {
  const log = randomLog(seededRandom(5), 6);
  const slots = repaired((log as LogSlots).with(2, missingEntry(3)).with(3, new IntegrityError('flipped')));
  const { runs } = chainOf(slots, signers);
  const seen = (seq: number, digest = log[seq - 1]?.digest ?? '') => compare({ seq, digest }, slots, runs);
  for (const seq of [1, 2, 4, 5, 6]) assert.equal(seen(seq), undefined, String(seq));
  assert.match(seen(3) ?? '', /is lost/);
  assert.match(seen(4, noDigest) ?? '', /is lost/);
  assert.match(seen(5, noDigest) ?? '', /is not the one/);
  assert.match(seen(9, noDigest) ?? '', /was cut/);
});
