/** Finds what must never be logged: values whose schema has `secret: true`. */
import { z } from 'zod';

const hidden = '…';

/** `value` with every secret replaced, for logs and audits. `value` fits `schema`. */
export function withoutSecrets(schema: z.core.$ZodType, value: unknown): unknown {
  if (z.globalRegistry.get(schema)?.['secret'] === true) return value === undefined ? undefined : hidden;
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodReadonly)
    return withoutSecrets(schema.def.innerType, value);
  if (schema instanceof z.ZodArray && Array.isArray(value))
    return value.map((item) => withoutSecrets(schema.def.element, item));
  if (schema instanceof z.ZodUnion) {
    const fitting = schema.def.options.find((option) => z.safeParse(option, value).success);
    return fitting ? withoutSecrets(fitting, value) : hidden;
  }
  if (!(schema instanceof z.ZodObject) || typeof value !== 'object' || value === null) return value;
  const shape: Record<string, z.core.$ZodType> = schema.def.shape;
  const entries = Object.entries(value).map(([key, item]) => {
    const inner = shape[key];
    return [key, inner ? withoutSecrets(inner, item) : item];
  });
  return Object.fromEntries(entries);
}
