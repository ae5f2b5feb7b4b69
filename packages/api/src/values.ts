/**
 * Schemas of the single values that requests and answers are made of. Those of requests are bounded: whoever sends one
 * cannot make the other side keep more than so much.
 */
import { z } from 'zod';

const notNul = (value: string) => !value.includes('\0');
const nul = 'it must not hold a NUL character';

/** What people call something: a machine, a host, a disk, a pool. Never empty. */
export const name = z.string().min(1).max(255).refine(notNul, nul);

/** A restore point: its id or the beginning of it, `latest`, `MACHINE@latest`, `MACHINE@TIME`. */
export const pointName = z.string().min(1).max(512).refine(notNul, nul).meta({
  description: 'A restore point: its id or the beginning of it, latest, MACHINE@latest or MACHINE@TIME',
});

/** A path, URL or other address. Relative paths begin at the folder that the application runs in. */
export const place = z.string().min(1).max(4096).refine(notNul, nul);

/** Words for people: a label, a line of arguments. */
export const text = z.string().max(4096).refine(notNul, nul);

/** One of the words that something is chosen with, where the operation itself knows which there are. */
export const word = z.string().min(1).max(64);

export const names = z.array(name).max(1000);
export const places = z.array(place).max(1000);
export const pointNames = z.array(pointName).max(10_000);
export const tags = z.array(z.string().min(1).max(128)).max(64);

/** A size, a length or an offset. */
export const bytes = z.int().nonnegative().meta({ description: 'bytes' });

const rate = z.int().min(1024).meta({ description: 'bytes a second, on average' });

/** What may be read of machines and stored in a repository at most. */
export const rateLimits = z.strictObject({ read: rate.optional(), store: rate.optional() });

export const count = z.int().nonnegative();

/** A time span that is asked for. */
export const milliseconds = z.int().nonnegative().meta({ description: 'milliseconds' });

/** A time span that was measured, to parts of a millisecond. */
export const elapsed = z.number().nonnegative().meta({ description: 'milliseconds' });

/** ISO 8601. */
export const isoTime = z.iso.datetime({ offset: true });

/** Of operations that are asked nothing. */
export const Nothing = z.strictObject({});

/** What operations answer that have nothing to say. */
export const Done = z.null();
