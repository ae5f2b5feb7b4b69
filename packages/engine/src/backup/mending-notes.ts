/** What a backup says about damage that it met in the repository. Pure. */
import { formatBytes, totalLength } from '@prima/base';
import type { WriteDiskResult } from '@prima/repository';

/** Notes for the point and the log; none where nothing was damaged. */
export function mendingNotes(disk: string, written: WriteDiskResult): string[] {
  const { mended, unmended = [], hidden = [] } = written;
  const notes: string[] = [];
  if (mended) {
    const { chunks, pages, bytes } = mended;
    notes.push(
      `${disk}: mended the repository: ${chunks} chunks (${formatBytes(bytes)}) and ${pages} pages that it had lost were stored again, for all points that use them`,
    );
  }
  const [first] = unmended;
  if (first) {
    notes.push(
      `${disk}: ${formatBytes(totalLength(unmended))} that cannot be read in earlier points have changed since, so they stay damaged there, first at ${first.offset}+${first.length}`,
    );
  }
  const [lost] = hidden;
  if (lost) {
    notes.push(
      `${disk}: the map of the point before could not be read for ${formatBytes(totalLength(hidden))}, which were read in full, first at ${lost.offset}+${lost.length}`,
    );
  }
  return notes;
}
