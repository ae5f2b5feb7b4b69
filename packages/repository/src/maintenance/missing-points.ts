/** Points that should be listed and are not: taken away, or marked as forgotten by somebody who may not. */
import { PrimaError, toPrimaError } from '@prima/base';
import type { Context } from '../context.ts';
import { verifyForgotten } from '../session/read-outcome.ts';
import { listSessions, readOutcomes, unlessGone } from '../session/sessions.ts';
import { compareLog, trulyMissing } from './survey.ts';

/** What is to be said about points that the log of roots knows and a listing does not show. Reads the whole log. */
export async function missingPoints(context: Context): Promise<string[]> {
  try {
    const { missing, forged } = await findMissing(context);
    return [
      ...(missing.length > 0
        ? [
            `the log of roots knows ${missing.length} restore points that are not there (${someOf(missing)}): somebody removed them, or the store does not list everything; see: prima check`,
          ]
        : []),
      ...(forged.length > 0
        ? [
            `${forged.length} restore points are left out, because somebody who may not has marked them as forgotten (${someOf(forged)}); see: prima check`,
          ]
        : []),
    ];
  } catch (error) {
    return [`${toPrimaError(error, 'reading the log of roots').message}; see: prima check`];
  }
}

async function findMissing(context: Context): Promise<{ missing: string[]; forged: string[] }> {
  const { entries } = await context.log.readAll(); // before the points, as always
  const damaged = new Set<string>();
  const sessions = await listSessions(context, { namesOnly: true });
  const outcomes = await readOutcomes(context, sessions, (id) => void damaged.add(id)); // listing has said these
  const committed = outcomes.filter(({ outcome }) => outcome.state === 'committed' && outcome.point);
  const compared = compareLog(entries, committed);
  const missing = await trulyMissing(context, compared.missing);
  const forged: string[] = [];
  for (const { id } of compared.unloggedForgets) if (await isForgedMark(context, id)) forged.push(id);
  return { missing: missing.filter((id) => !damaged.has(id)), forged };
}

async function isForgedMark(context: Context, id: string): Promise<boolean> {
  try {
    await unlessGone(verifyForgotten(context, id));
    return false;
  } catch (error) {
    if (error instanceof PrimaError && error.code === 'integrity') return true;
    throw error;
  }
}

/** The first few ids, for messages. */
function someOf(ids: readonly string[]): string {
  const first = ids.slice(0, 3).map((id) => id.slice(0, 12));
  return [...first, ...(ids.length > first.length ? ['…'] : [])].join(', ');
}
