/** Files of a description that are named from its own folder, for dialects that want paths from the root. */
import { isAbsolute, resolve } from 'node:path';
import type { DriveSource, MachineDescription } from './description.ts';
import { defined, type Losses } from './translation.ts';

/** The description with absolute paths; each that had to be changed, or without `folder` cannot be, is listed. */
export function withAbsolutePaths(
  description: MachineDescription,
  folder: string | undefined,
  losses: Losses,
): MachineDescription {
  const path = (text: string | undefined, where: string): string | undefined => {
    if (text === undefined || isAbsolute(text)) return text;
    const whole = folder === undefined ? undefined : resolve(folder, text);
    losses.add(
      where,
      text,
      whole === undefined ? 'it has to be named from the root' : `it is written as ${whole}`,
    );
    return whole ?? text;
  };
  const source = (drive: { source?: DriveSource }, where: string) =>
    drive.source && drive.source.kind !== 'network'
      ? { source: { ...drive.source, location: path(drive.source.location, where) ?? '' } }
      : {};
  const { firmware, kernel, disks, cdroms } = description;
  return {
    ...description,
    firmware: defined({
      ...firmware,
      loader: path(firmware.loader, 'firmware.loader'),
      nvram: path(firmware.nvram, 'firmware.nvram'),
    }),
    ...(kernel && {
      kernel: defined({
        ...kernel,
        image: path(kernel.image, 'kernel.image') ?? '',
        initrd: path(kernel.initrd, 'kernel.initrd'),
      }),
    }),
    disks: disks.map((disk, i) => ({ ...disk, ...source(disk, `disks[${i}].source.location`) })),
    cdroms: cdroms.map((cdrom, i) => ({ ...cdrom, ...source(cdrom, `cdroms[${i}].source.location`) })),
  };
}
