/** Reading how a session ended, also where a repair stands for what is lost. See "Sessions" and "Repair" of the format. */
import { IntegrityError, PrimaError } from '@prima/base';
import { type Context, getSigned } from '../context.ts';
import { blobType } from '../format/blob.ts';
import type { Decided } from './outcome-catalogue.ts';
import { digestOf, forgottenKey, mendedKey, type Outcome, outcomeKey } from './sessions.ts';

/**
 * Reads the outcome from the store, whatever the catalogue knows; where it does not open, what the last repair has put in its place.
 * Raises `not-found`, `integrity`.
 */
export async function readOutcome(context: Context, id: string): Promise<Decided> {
  try {
    const own = await readDecision(context, id, outcomeKey(id));
    if (!own.outcome.mended) return own;
    return (await readMended(context, id)) ?? own;
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    const mended = await readMended(context, id);
    if (mended) return mended;
    throw error;
  }
}

/** The newest record of a repair that opens. */
async function readMended(context: Context, id: string): Promise<Decided | undefined> {
  for (const number of (await mendedNumbers(context, id)).reverse()) {
    try {
      return await readDecision(context, id, mendedKey(id, number));
    } catch (error) {
      if (!isUnreadable(error)) throw error;
    }
  }
  return undefined;
}

const unreadable = ['not-found', 'integrity', 'format', 'newer-version', 'wrong-key'];

/** Whether an object is not there or does not open, rather than that it cannot be reached. */
export function isUnreadable(error: unknown): error is PrimaError {
  return error instanceof PrimaError && unreadable.includes(error.code);
}

/** What repairs have put in the place of the outcome, the oldest first. */
export async function mendedNumbers(context: Context, id: string): Promise<number[]> {
  const numbers: number[] = [];
  for await (const { key } of context.store.list(`sessions/${id}/mended-`, { namesOnly: true }))
    numbers.push(Number(key.slice(mendedKey(id, 0).length - 1)));
  return numbers.sort((a, b) => a - b);
}

async function readDecision(context: Context, id: string, key: string): Promise<Decided> {
  const { record, stored } = await getSigned(context, key, blobType.outcome);
  const outcome = record as Outcome;
  if (outcome.session !== id) throw new IntegrityError(`${key} holds the outcome of another session`);
  return { outcome, digest: digestOf(stored) };
}

/**
 * Raises `integrity` when the mark, which the log does not know, was not made by who may sign now: then the point is not
 * forgotten. An old signing key may be in other hands.
 */
export async function verifyForgotten(context: Context, id: string): Promise<true> {
  await getSigned(context, forgottenKey(id), blobType.forgotten, inForce(context));
  return true;
}

/** Whether who may sign now has signed the outcome, or what stands for it. An old signing key may be in other hands. */
export async function isOfSignerInForce(context: Context, id: string): Promise<boolean> {
  const numbers = await mendedNumbers(context, id);
  for (const key of [...numbers.reverse().map((number) => mendedKey(id, number)), outcomeKey(id)]) {
    try {
      await getSigned(context, key, blobType.outcome, inForce(context));
      return true;
    } catch (error) {
      if (!isUnreadable(error)) throw error;
    }
  }
  return false;
}

const inForce = ({ keyring }: Context) => keyring.keySet.signers.slice(-1);
