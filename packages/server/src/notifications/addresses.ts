/** Which addresses a channel may reach: those of other organisations than the first must not reach what only the server can. */
import { lookup as resolve } from 'node:dns';
import { lookup as resolveAll } from 'node:dns/promises';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { networkInterfaces } from 'node:os';
import { PrimaError } from '@prima/base';

const notPublic: readonly (readonly [network: string, bits: number])[] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['224.0.0.0', 3],
  ['::', 127],
  ['64:ff9b::', 96],
  ['64:ff9b:1::', 48],
  ['2001::', 32],
  ['2002::', 16],
  ['fc00::', 7],
  ['fe80::', 9],
  ['ff00::', 8],
];

/** Also what IPv6 carries of IPv4 is refused: translated and tunnelled addresses; mapped ones are held to the rules of IPv4 by `BlockList` itself. */
const closed = new BlockList();
for (const [network, bits] of notPublic)
  closed.addSubnet(network, bits, network.includes(':') ? 'ipv6' : 'ipv4');

/** Whether it is loopback, link-local, private, not for single hosts, or one of this computer's own. */
function isClosed(address: string): boolean {
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
  const [plain = address] = address.split('%');
  if (closed.check(plain, family)) return true;
  return Object.values(networkInterfaces()).some((found) => found?.some((one) => one.address === plain));
}

function refusal(host: string): PrimaError {
  return new PrimaError(
    'forbidden',
    `${host} is an address of the server's own network, which only channels of the first organisation reach; name a public one`,
  );
}

/**
 * For sockets: answers only addresses that may be reached, and the socket connects to just these.
 * A literal address is not looked up: `checkLiteral` first.
 */
export const openLookup: LookupFunction = (host, options, done) => {
  resolve(host, { ...options, all: true }, (error, found) => {
    if (error) return done(error, '');
    if (found.some(({ address }) => isClosed(address))) return done(refusal(host), '');
    if (options.all) return done(null, found);
    const [first] = found;
    return done(null, first?.address ?? '', first?.family);
  });
};

/** Raises `forbidden`. */
export function checkLiteral(host: string): void {
  const plain = host.replace(/^\[|\]$/g, '');
  if (isIP(plain) !== 0 && isClosed(plain)) throw refusal(plain);
}

/** The address to connect to. Raises `forbidden`, and what the resolver raises. */
export async function addressOf(host: string, reachesAll: boolean): Promise<string> {
  const found = await resolveAll(host, { all: true });
  if (!reachesAll && found.some(({ address }) => isClosed(address))) throw refusal(host);
  const [first] = found;
  if (!first) throw new PrimaError('remote', `the name ${host} has no address`, { retryable: true });
  return first.address;
}
