/** Two configurations of hosts compared, item by item. Pure. */
import type { HostItem } from '@prima/platforms';
import { type DiffLine, diffLines } from './line-diff.ts';

export interface HostItemChange {
  item: string;
  change: 'added' | 'removed' | 'changed';
  /** Empty where the item is on one side only. */
  lines: DiffLine[];
}

/** What libvirt makes up by itself, differently each time: nothing refers to it. */
const noise = /^\s*<(?:uuid>|(?:capacity|allocation|available)\b)/;
/** What is set on such a line is nobody's to read from a screen. */
const confidential = /^(.*?(?:passw(?:or)?d|passphrase|psk|secret[-_]?key|private[-_]?key)[^=:>]*[=:>]).*$/i;
const notShown = '(not shown)';

/** What differs from `a` to `b`, by name. */
export function compareItems(a: readonly HostItem[], b: readonly HostItem[]): HostItemChange[] {
  const before = new Map(a.map((item) => [item.name, item]));
  const after = new Map(b.map((item) => [item.name, item]));
  const names = [...new Set([...before.keys(), ...after.keys()])].sort();
  return names.flatMap((item): HostItemChange[] => {
    const [old, now] = [before.get(item), after.get(item)];
    if (!old) return [{ item, change: 'added', lines: [] }];
    if (!now) return [{ item, change: 'removed', lines: [] }];
    const lines = itemChanges(old, now);
    return lines.length > 0 ? [{ item, change: 'changed', lines }] : [];
  });
}

/** Empty where they are the same to everything but libvirt's own bookkeeping. */
export function itemChanges(a: HostItem, b: HostItem): DiffLine[] {
  const lines = diffLines(linesOf(a), linesOf(b)).map((line) => ({ ...line, text: masked(line.text) }));
  return [...valueChange(a.value, b.value), ...lines];
}

function linesOf({ name, content, state }: HostItem): string[] {
  const facts = Object.entries(state).map(([key, value]) => `${key}: ${factText(value)}`);
  if (name === 'host') return facts;
  const text = Buffer.from(content).toString().replace(/\n$/, '').split('\n');
  const isFile = name.startsWith('etc/');
  // a secret is known by its UUID
  const isKnownByUuid = name.startsWith('secrets/');
  return [...facts, ...text.filter((line) => isFile || isKnownByUuid || !noise.test(line))];
}

const factText = (value: string | boolean): string =>
  typeof value === 'string' ? value : value ? 'yes' : 'no';

const masked = (line: string): string => line.replace(confidential, `$1 ${notShown}`);

function valueChange(a: Uint8Array | undefined, b: Uint8Array | undefined): DiffLine[] {
  if (a && b ? Buffer.from(a).equals(b) : a === b) return [];
  const text = (value: Uint8Array | undefined) => (value ? `value: set ${notShown}` : 'value: none');
  return [
    { kind: 'removed', text: text(a) },
    { kind: 'added', text: text(b) },
  ];
}
