/** What the contract says of copies in other repositories. */
import type { CallOptions, ErrorDto } from './call.ts';
import type { SecretSource } from './keys.ts';
import type { PointDto } from './points.ts';
import type { NewRepositoryDto } from './repository.ts';

/** The repository to copy to: a folder's path or a URL, and what opens it. */
export interface CopyTarget {
  url: string;
  secret: SecretSource;
}

export interface CopyRequest {
  /** Exactly one of: these points, all of a machine (its name or id), everything. */
  points?: string[];
  machine?: string;
  all?: boolean;
  to: CopyTarget;
  /** Read both afterwards and compare them, those that had been copied before too. */
  verify?: boolean;
  dryRun?: boolean;
  /** Nobody can forget the copies for so long. */
  lockMs?: number;
  readBack?: boolean;
}

export interface CopyResult {
  dryRun: boolean;
  to: { id: string; url: string };
  /** One entry a point, the oldest first; a failed one does not stop the others. */
  results: {
    point: PointDto;
    /** `present`: it had been copied before; `planned`: it would be copied. */
    state: 'copied' | 'present' | 'planned' | 'failed';
    /** As it is in the other repository. */
    copy?: PointDto;
    /** Bytes read of the point; of a planned copy those that would be, at most. */
    bytes: number;
    verified: boolean;
    error?: ErrorDto;
    elapsedMs: number;
  }[];
}

export interface CopyApi {
  /**
   * Makes the repository that points are to be copied to, with the chunk size of this one, and with `recovery` a recovery
   * key besides. Raises `exists` unless the place is empty.
   */
  copyCreate(
    request: { to: CopyTarget; recovery?: boolean },
    options?: CallOptions,
  ): Promise<NewRepositoryDto>;
  /** Copies points to another repository. */
  copy(request: CopyRequest, options?: CallOptions): Promise<CopyResult>;
}
