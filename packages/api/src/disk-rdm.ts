/** Raw device mappings. See docs/format/raw-device-mapping.md. */
import type { CallOptions } from './call.ts';

export interface RdmCreateRequest {
  target: string;
  /** `/dev/…`, or `iscsi://HOST[:PORT]/TARGET/LUN`. */
  device: string;
  /** `virtual` (default) or `physical`. */
  mode?: string;
}

export interface RdmRemapRequest {
  path: string;
  device: string;
  /** Although nothing says that it is the same device. */
  force?: boolean;
}

export interface RdmDto {
  path: string;
  mode: string;
  /** Bytes. */
  size: number;
  /** Where the device was when it was mapped, and who it is. */
  device: string;
  identities: readonly string[];
  /** Where it is now; absent where it cannot be found. */
  found?: string;
  notes: string[];
}

export interface RdmApi {
  rdmCreate(request: RdmCreateRequest, options?: CallOptions): Promise<RdmDto>;
  rdmQuery(request: { path: string }, options?: CallOptions): Promise<RdmDto>;
  rdmRemap(request: RdmRemapRequest, options?: CallOptions): Promise<RdmDto>;
}
