/** What a policy would do: when it runs, and which of the machines there are it takes. */
import type { PolicyPreview, PolicySettings } from '@prima/api/http';
import { UserError } from '@prima/base';
import { nextRuns } from './schedule.ts';
import { type Choosable, fitsWord, takes } from './standing.ts';
import { nextInWindow } from './window.ts';

const runsShown = 5;
const machinesShown = 100;

export type PreviewRequest = Pick<PolicySettings, 'machines' | 'schedule' | 'timeZone' | 'window'>;

interface Row extends Choosable {
  /** JSON, the names of the policies that take it now. */
  policies: string;
}

export function previewOf(asked: PreviewRequest, rows: readonly Row[], now: Date): PolicyPreview {
  const taken = rows.filter((row) => takes(asked, row));
  return {
    ...plannedRuns(asked, now),
    machines: {
      total: taken.length,
      items: taken.slice(0, machinesShown).map(({ host, name, policies }) => ({
        id: `${host}/${name}`,
        policies: JSON.parse(policies) as string[],
      })),
      unused: unusedWords(asked, rows),
    },
  };
}

function plannedRuns(asked: PreviewRequest, now: Date): Pick<PolicyPreview, 'runs' | 'issues'> {
  try {
    const runs = nextRuns(asked, now, runsShown).map((time) => ({ time, begins: begins(asked, time) }));
    return { runs, issues: [] };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { runs: [], issues: (error.details as { issues: PolicyPreview['issues'] }).issues };
  }
}

function begins({ window, timeZone }: PreviewRequest, time: string): string {
  return window ? nextInWindow(window, timeZone, new Date(time)).toISOString() : time;
}

function unusedWords({ machines }: PreviewRequest, rows: readonly Row[]): string[] {
  const { hosts = [], names = [], except = [] } = machines;
  const known = new Set(rows.map(({ host }) => host));
  return [
    ...hosts.filter((host) => !known.has(host)),
    ...[...names, ...except].filter((word) => !rows.some((row) => fitsWord(word, row))),
  ];
}
