/** How commands on disk files are told which file is meant. */
import type { DiskFileRequest } from '@prima/api';

export const formatHelp = 'its format, where name and content do not tell it; raw takes any file as it is';
export const allowHelp =
  "the files of a VMDK may be in this folder, too, not only in the disk's; may be given several times";

export interface FileOptions {
  format?: string | undefined;
  allowFolder?: string[] | undefined;
}

export function named(path: string, { format, allowFolder }: FileOptions): DiskFileRequest {
  return { path, ...(format !== undefined && { format }), ...(allowFolder && { allowed: allowFolder }) };
}
