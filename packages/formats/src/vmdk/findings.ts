/** What a check finds: each kind counted, and the first of each in full, so that a ruined disk makes no endless list. */

export type FindingSeverity = 'error' | 'warning' | 'info';

/** `error`: data is lost or in doubt; `warning`: something is wrong, and all data is there; `info`: odd, harmless. */
export interface VmdkFinding {
  code: VmdkFindingCode;
  severity: FindingSeverity;
  path: string;
  /** Bytes in the file at `path`, where it is a place. */
  offset?: number;
  message: string;
  /** True when `repair` mends it. */
  repairable: boolean;
}

/** Each kind with its severity, and whether a repair mends it without changing what the disk is read as. */
const vmdkFindings = {
  'descriptor-broken': { severity: 'error', repairable: false },
  'header-broken': { severity: 'error', repairable: false },
  'extent-missing': { severity: 'error', repairable: false },
  'extent-short': { severity: 'error', repairable: false },
  'capacity-differs': { severity: 'warning', repairable: false },
  'directory-entry-broken': { severity: 'error', repairable: false },
  'grain-beyond-end': { severity: 'error', repairable: false },
  'grain-cut-off': { severity: 'error', repairable: true },
  'grain-in-tables': { severity: 'error', repairable: false },
  'grain-used-twice': { severity: 'error', repairable: false },
  'directory-broken': { severity: 'warning', repairable: true },
  'copies-conflict': { severity: 'error', repairable: false },
  'copies-differ': { severity: 'warning', repairable: true },
  'copy-broken': { severity: 'warning', repairable: true },
  'free-sector-wrong': { severity: 'warning', repairable: true },
  unclean: { severity: 'warning', repairable: true },
  'grains-lost': { severity: 'info', repairable: false },
  'tail-unused': { severity: 'info', repairable: true },
  'chain-broken': { severity: 'error', repairable: false },
  'parent-changed': { severity: 'error', repairable: false },
  noted: { severity: 'info', repairable: false },
} as const satisfies Record<string, { severity: FindingSeverity; repairable: boolean }>;

export type VmdkFindingCode = keyof typeof vmdkFindings;

/** How many of a kind are listed for one file. */
const listedOfAKind = 16;

export class Findings {
  readonly list: VmdkFinding[] = [];
  readonly #counts = new Map<string, number>();

  add(code: VmdkFindingCode, path: string, message: string, offset?: number): void {
    const key = `${code} ${path}`;
    const count = (this.#counts.get(key) ?? 0) + 1;
    this.#counts.set(key, count);
    if (count > listedOfAKind) return;
    this.list.push({
      code,
      ...vmdkFindings[code],
      path,
      message,
      ...(offset === undefined ? {} : { offset }),
    });
  }

  /** The kinds of errors in a file. */
  errorsOf(path: string): Set<VmdkFindingCode> {
    const errors = this.list.filter((finding) => finding.path === path && finding.severity === 'error');
    return new Set(errors.map(({ code }) => code));
  }

  /** All that is listed, and one line for what is not. */
  finish(): VmdkFinding[] {
    for (const [key, count] of this.#counts) {
      if (count <= listedOfAKind) continue;
      const space = key.indexOf(' ');
      const [code, path] = [key.slice(0, space) as VmdkFindingCode, key.slice(space + 1)];
      this.list.push({
        code,
        ...vmdkFindings[code],
        path,
        message: `… and ${count - listedOfAKind} more of the kind ${code}`,
      });
    }
    return this.list;
  }
}
