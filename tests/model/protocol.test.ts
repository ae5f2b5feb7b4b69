/**
 * The protocol of sessions and collections keeps what it promises in every interleaving, and every rule of it is
 * needed. PRIMA_MODEL=large looks at bigger casts (minutes, and some gigabytes of memory).
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explore } from './explore.ts';
import { listingLag } from './listing-lag.ts';
import { protocol } from './protocol.ts';
import { blob, type Setup, type Variant } from './protocol-state.ts';

const isLarge = process.env['PRIMA_MODEL'] === 'large';
/** A blob that nobody has stored before. */
const fresh = 4;

const safe: Record<string, Setup> = {
  'a writer that wants what is being forgotten': { wants: [blob.a], collectors: 1, shared: false },
  'a writer beside packs that are rewritten': { wants: [blob.a], collectors: 1, shared: true, aborts: true },
  'two writers, one of which is forgotten': {
    wants: [blob.a, blob.a | fresh],
    collectors: 1,
    shared: true,
    forgets: true,
  },
  'a reader and a writer': { wants: [blob.a], collectors: 1, shared: true, reader: true, aborts: true },
  'two collectors, a reader and the copy of a dead collection': {
    wants: [],
    collectors: 2,
    shared: true,
    reader: true,
    leftCopy: true,
  },
  'a writer that builds on what is being forgotten': {
    wants: [blob.a | fresh],
    collectors: 1,
    shared: true,
    tracked: true,
    aborts: true,
  },
  'two collectors and a writer': { wants: [blob.a], collectors: 2, shared: false },
  'a checkpoint': { wants: [fresh], collectors: 1, shared: false, checkpoint: true, aborts: true },
  'a checkpoint and a writer that shares it': {
    wants: [fresh, fresh],
    collectors: 1,
    shared: false,
    checkpoint: true,
  },
};

const large: Record<string, Setup> = {
  'two collectors and a writer that builds on what is being forgotten': {
    wants: [blob.a],
    collectors: 2,
    shared: false,
    tracked: true,
  },
  'two collectors, a writer and rewriting': { wants: [blob.a], collectors: 2, shared: true },
  'three writers': { wants: [blob.a, blob.a, blob.a | blob.b], collectors: 1, shared: true, forgets: true },
  'a checkpoint and two collectors': { wants: [fresh], collectors: 2, shared: false, checkpoint: true },
  'a checkpoint, a writer that shares it, a reader': {
    wants: [fresh, fresh | blob.a],
    collectors: 1,
    shared: true,
    checkpoint: true,
    reader: true,
  },
};

for (const [name, setup] of Object.entries(isLarge ? { ...safe, ...large } : safe)) {
  test(`nothing is lost: ${name}`, (t) => {
    const { states, violation, isCut } = explore(protocol(setup), 12_000_000);
    assert.equal(violation, undefined, `${violation?.fault}\n  ${violation?.steps.join('\n  ')}`);
    assert.ok(!isCut, `all states were looked at (${states})`);
    t.diagnostic(`${states} states`);
  });
}

const one: Setup = { wants: [blob.a], collectors: 1, shared: true };
const checkpoint: Setup = { wants: [fresh], collectors: 1, shared: false, checkpoint: true };
const readers: Setup = { wants: [], collectors: 2, shared: true, reader: true, leftCopy: true };

/** What goes wrong without each rule, in the smallest cast that shows it. */
const wrong: { rule: keyof Variant; setup: Setup }[] = [
  { rule: 'indexBeforeMarker', setup: one },
  { rule: 'ignoresCondemned', setup: one },
  { rule: 'outcomeBeforePack', setup: one },
  { rule: 'noWait', setup: one },
  { rule: 'noFence', setup: one },
  { rule: 'noSecondMark', setup: one },
  { rule: 'deletesBeforeOutcome', setup: one },
  { rule: 'condemnsAfterListing', setup: one },
  { rule: 'removesAbortedOutcomes', setup: one },
  { rule: 'noEmptySegment', setup: { wants: [blob.a], collectors: 2, shared: false } },
  { rule: 'pinAfterLook', setup: { ...readers, collectors: 1 } },
  { rule: 'removesNewlyForgotten', setup: { ...readers, leftCopy: false } },
  { rule: 'copiesShareNames', setup: readers },
  { rule: 'parentNotLookedAt', setup: { ...one, tracked: true } },
  { rule: 'parentLookedAtBeforeMarker', setup: { ...one, tracked: true } },
  { rule: 'marksRemovedFirst', setup: { ...one, tracked: true } },
  { rule: 'childUnchecked', setup: checkpoint },
  { rule: 'childCheckedBeforeMarker', setup: checkpoint },
  { rule: 'noRelisting', setup: checkpoint },
  { rule: 'abortDiscardsCheckpoint', setup: { ...checkpoint, aborts: true } },
];
if (isLarge) wrong.push({ rule: 'oneCleanListing', setup: { ...checkpoint, collectors: 2 } });

for (const { rule, setup } of wrong) {
  test(`the rule is needed: ${rule}`, (t) => {
    const { states, violation } = explore(protocol({ ...setup, variant: { [rule]: true } }), 12_000_000);
    assert.ok(violation, `${states} states without a loss`);
    t.diagnostic(`${violation.fault} after ${violation.steps.length} steps, ${states} states`);
  });
}

test('where listings lag, a collector waits twice the settling time, and once more before it marks again', () => {
  assert.equal(explore(listingLag({ waitHalves: 4, markWaitHalves: 2 })).violation, undefined);
  assert.ok(explore(listingLag({ waitHalves: 2, markWaitHalves: 2 })).violation, 'once is not enough');
  assert.ok(explore(listingLag({ waitHalves: 4, markWaitHalves: 1 })).violation, 'the mark lags, too');
});
