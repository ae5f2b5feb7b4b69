/** Shapes that several resources share. */
import { z } from 'zod';
import { roles } from './endpoint.ts';

export const id = z.string().min(1).max(128);
export const name = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/)
  .meta({ description: 'Letters, digits, ".", "_", "-"; at most 64' });
export const time = z.iso.datetime().meta({ description: 'UTC, ISO 8601' });
export const bytes = z.number().int().nonnegative().meta({ description: 'bytes' });
export const count = z.number().int().nonnegative();
export const role = z.enum(roles);
export const text = (most = 1000) => z.string().max(most);

/** A page of a list: at most `limit` items after `cursor`, which is the `next` of the page before. */
export const pageQuery = {
  limit: z.coerce.number().int().min(1).max(500).default(100),
  cursor: z.string().max(500).optional(),
};

export const pageOf = <T extends z.ZodType>(item: T) =>
  z.object({
    items: z.array(item),
    next: z.string().optional().meta({ description: 'The cursor of the next page; absent on the last one' }),
    total: count.optional().meta({ description: 'Of all pages, where it is known' }),
  });

export const problem = z.object({
  code: z.string(),
  message: z.string(),
  exitStatus: z.number().int(),
  retryable: z.boolean().optional(),
  details: z.record(z.string(), z.unknown()).optional(),
});
