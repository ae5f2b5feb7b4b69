/** Where the network cards of a machine that is being restored are plugged in on this host. */
import { UserError } from '@prima/base';
import {
  elementAt,
  elementMaker,
  elementsOf,
  insertChild,
  removeChild,
  setAttribute,
  valueOf,
  type XmlElement,
} from '@prima/xml';

const make = elementMaker({});

/** The card stays, with nothing plugged in. */
const unplugged = 'none';

export interface NetworkChoices {
  /** From the network or bridge that a card was on to a network of this host, to a bridge, or to `none`. */
  map: Readonly<Record<string, string>>;
  /** The networks of this host. */
  present: readonly string[];
}

/** Changes `devices` in place; answers what was changed. Raises `not-found` for a network that this host does not have. */
export function mapNetworks(devices: XmlElement | undefined, { map, present }: NetworkChoices): string[] {
  const notes: string[] = [];
  const used = new Set<string>();
  for (const card of elementsOf(devices).filter(({ local }) => local === 'interface')) {
    const source = elementAt(card, 'source');
    const network = valueOf(source, 'network');
    const from = network ?? valueOf(source, 'bridge');
    if (from === undefined) continue;
    const to = map[from];
    if (to === undefined) {
      if (network !== undefined && !present.includes(network)) throw absent(network, present);
      continue;
    }
    used.add(from);
    plug(card, source, to === unplugged ? undefined : { to, isNetwork: present.includes(to) });
    notes.push(`the network card on ${from} is ${to === unplugged ? 'plugged in nowhere' : `on ${to} now`}`);
  }
  const unused = Object.keys(map).filter((from) => !used.has(from));
  if (unused.length > 0) {
    throw new UserError('usage', `no network card of the machine is on ${unused.join(', ')}; see --network`);
  }
  return notes;
}

function absent(network: string, present: readonly string[]): UserError {
  const choices = [...present, unplugged].map((to) => `--network ${network}=${to}`).join(', ');
  return new UserError(
    'not-found',
    `this host has no network ${network}, which a card of the machine is on; say where it goes: ${choices}`,
  );
}

function plug(
  card: XmlElement,
  source: XmlElement | undefined,
  place: { to: string; isNetwork: boolean } | undefined,
): void {
  if (source) removeChild(card, source);
  const link = elementAt(card, 'link');
  if (place) {
    setAttribute(card, 'type', place.isNetwork ? 'network' : 'bridge');
    const attribute = place.isNetwork ? 'network' : 'bridge';
    insertChild(card, make('source', { [attribute]: place.to }), elementAt(card, 'mac'));
    return;
  }
  setAttribute(card, 'type', 'user');
  if (link) setAttribute(link, 'state', 'down');
  else insertChild(card, make('link', { state: 'down' }));
}
