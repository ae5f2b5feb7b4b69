/** Fuzzing: bytes that are nearly right, from a seed that can be given again. */
import { type Random, seededRandom, toPrimaError } from '@prima/base';

export interface FuzzRun {
  seed: number;
  rounds: number;
  random: Random;
}

/**
 * A run of `rounds`, which PRIMA_FUZZ_ROUNDS replaces; PRIMA_SEED repeats an earlier one. Say the seed in every
 * message.
 */
export function fuzzRun(rounds: number): FuzzRun {
  const seed = Number(process.env['PRIMA_SEED'] ?? Date.now() % 1e9);
  return { seed, rounds: Number(process.env['PRIMA_FUZZ_ROUNDS'] ?? rounds), random: seededRandom(seed) };
}

const telling = [0, 1, 0x7f, 0x80, 0xff];
const tellingWords = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x0100_0000];

/** A copy of `bytes` with one to four things changed: bits, bytes, numbers, its end, pieces of it or of others. */
export function mutate(random: Random, bytes: Uint8Array, others: readonly Uint8Array[] = []): Buffer {
  let result: Buffer = Buffer.from(bytes);
  for (let left = 1 + random.below(4); left > 0; left -= 1) result = mutateOnce(random, result, others);
  return result;
}

function mutateOnce(random: Random, bytes: Buffer, others: readonly Uint8Array[]): Buffer {
  const at = random.below(Math.max(1, bytes.length));
  const end = Math.min(bytes.length, at + 1 + random.below(32));
  const [head, piece, tail] = [bytes.subarray(0, at), bytes.subarray(at, end), bytes.subarray(end)];
  switch (random.below(9)) {
    case 0: // a bit
      return Buffer.concat([
        head,
        Buffer.of((bytes[at] ?? 0) ^ (1 << random.below(8))),
        bytes.subarray(at + 1),
      ]);
    case 1: // a byte that often matters
      return Buffer.concat([
        head,
        Buffer.of(telling[random.below(telling.length)] ?? 0),
        bytes.subarray(at + 1),
      ]);
    case 2: {
      const word = Buffer.alloc(4);
      const value = tellingWords[random.below(tellingWords.length)] ?? 0;
      if (random.below(2) === 0) word.writeUInt32LE(value);
      else word.writeUInt32BE(value);
      return Buffer.concat([head, word, bytes.subarray(Math.min(bytes.length, at + 4))]);
    }
    case 3: // cut
      return head;
    case 4: // a piece is missing
      return Buffer.concat([head, tail]);
    case 5: // a piece comes twice
      return Buffer.concat([head, piece, piece, tail]);
    case 6: // noise in between
      return Buffer.concat([head, random.bytes(new Uint8Array(1 + random.below(16))), tail]);
    case 7: // noise at the end
      return Buffer.concat([bytes, random.bytes(new Uint8Array(1 + random.below(64)))]);
    default: {
      const other = others[random.below(Math.max(1, others.length))] ?? bytes;
      return Buffer.concat([head, other.subarray(random.below(Math.max(1, other.length)))]);
    }
  }
}

/**
 * Changes a JSON text as text or, half of the time, as a value: a member is removed, or becomes something else.
 */
export function mutateJson(random: Random, text: string): string {
  if (random.below(2) === 0) return mutate(random, Buffer.from(text)).toString('utf8');
  const value = JSON.parse(text) as Record<string, unknown>;
  const places = placesIn(value);
  const place = places[random.below(places.length)];
  if (!place) return text;
  const { holder, key } = place;
  if (random.below(4) === 0) delete holder[key];
  else holder[key] = strange[random.below(strange.length)];
  return JSON.stringify(value);
}

const strange = [
  null,
  true,
  0,
  -1,
  1.5,
  2 ** 31,
  2 ** 53,
  1e308,
  '',
  'x',
  '0',
  '\u0000\u001b[2J',
  [],
  [1],
  {},
  { a: 1 },
];

function placesIn(value: unknown): { holder: Record<string, unknown>; key: string }[] {
  if (typeof value !== 'object' || value === null) return [];
  const holder = value as Record<string, unknown>;
  return Object.keys(holder).flatMap((key) => [{ holder, key }, ...placesIn(holder[key])]);
}

/**
 * What `task` gives, or undefined when it raised what it may: a PrimaError that is no mistake of ours. Raises
 * everything else, with `where`.
 */
export async function answerOf<T>(task: () => T | Promise<T>, where: string): Promise<T | undefined> {
  try {
    return await task();
  } catch (error) {
    const found = toPrimaError(error, 'fuzzing');
    if (found.code !== 'internal') return undefined;
    throw new Error(`${where}: ${found.message}`, { cause: error });
  }
}
