/** Randomness: the operating system's, or a seeded stream for tests and samples that must repeat. */
import { randomBytes } from 'node:crypto';

export interface Random {
  /** Uniform in [0, 2^32). */
  uint32(): number;
  /** Uniform integer in [0, limit); limit 1 … 2^32. */
  below(limit: number): number;
  /** Fills `into` and returns it. */
  bytes(into: Uint8Array): Uint8Array;
}

/** A repeatable stream (xoshiro128**, Blackman and Vigna); not for secrets. */
export function seededRandom(seed: number): Random {
  const state = new Uint32Array(4);
  let mixer = seed >>> 0;
  for (let i = 0; i < 4; i += 1) {
    mixer = (mixer + 0x9e3779b9) >>> 0;
    let z = mixer;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    state[i] = z ^ (z >>> 16);
  }
  return fromUint32(() => {
    const [s0 = 0, s1 = 0, s2 = 0, s3 = 0] = state;
    const result = Math.imul(rotateLeft(Math.imul(s1, 5), 7), 9) >>> 0;
    state[2] = s2 ^ s0;
    state[3] = s3 ^ s1;
    state[1] = s1 ^ (s2 ^ s0);
    state[0] = s0 ^ (s3 ^ s1);
    state[2] = s2 ^ s0 ^ (s1 << 9);
    state[3] = rotateLeft(s3 ^ s1, 11);
    return result;
  });
}

/** The operating system's generator. */
export const systemRandom: Random = fromUint32(() => randomBytes(4).readUInt32LE(0));

function rotateLeft(x: number, bits: number): number {
  return ((x << bits) | (x >>> (32 - bits))) >>> 0;
}

function fromUint32(uint32: () => number): Random {
  return {
    uint32,
    below: (limit) => Math.floor((uint32() / 2 ** 32) * limit),
    bytes: (into) => {
      for (let i = 0; i < into.length; i += 4) {
        const word = uint32();
        for (let j = 0; j < 4 && i + j < into.length; j += 1) into[i + j] = (word >>> (8 * j)) & 0xff;
      }
      return into;
    },
  };
}
