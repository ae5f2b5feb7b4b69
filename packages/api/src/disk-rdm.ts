/** Raw device mappings. See docs/format/raw-device-mapping.md. */
import { z } from 'zod';
import type { CallOptions } from './call.ts';
import { bytes, place, word } from './values.ts';

export const RdmCreateRequest = z.strictObject({
  target: place,
  /** `/dev/…`, or `iscsi://HOST[:PORT]/TARGET/LUN`. */
  device: place,
  /** `virtual` (default) or `physical`. */
  mode: word.optional(),
});
export type RdmCreateRequest = z.infer<typeof RdmCreateRequest>;

export const RdmQueryRequest = z.strictObject({ path: place });
export type RdmQueryRequest = z.infer<typeof RdmQueryRequest>;

export const RdmRemapRequest = z.strictObject({
  path: place,
  device: place,
  /** Although nothing says that it is the same device. */
  force: z.boolean().optional(),
});
export type RdmRemapRequest = z.infer<typeof RdmRemapRequest>;

export const RdmDto = z.object({
  path: z.string(),
  mode: z.string(),
  /** Bytes. */
  size: bytes,
  /** Where the device was when it was mapped, and who it is. */
  device: z.string(),
  identities: z.array(z.string()).readonly(),
  /** Where it is now; absent where it cannot be found. */
  found: z.string().optional(),
  notes: z.array(z.string()),
});
export type RdmDto = z.infer<typeof RdmDto>;

export interface RdmApi {
  rdmCreate(request: RdmCreateRequest, options?: CallOptions): Promise<RdmDto>;
  rdmQuery(request: RdmQueryRequest, options?: CallOptions): Promise<RdmDto>;
  rdmRemap(request: RdmRemapRequest, options?: CallOptions): Promise<RdmDto>;
}
