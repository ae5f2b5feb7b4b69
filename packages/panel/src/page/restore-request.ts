/** What the wizard asks the server, and how it says that before. */

export type WhereTo = 'new' | 'original' | 'folder';

export interface Target {
  whereTo: WhereTo;
  host: string;
  as: string;
  folder: string;
  start: boolean;
}

/** @param machine `HOST/MACHINE`, whose point it is */
export function requestOf(
  target: Target,
  point: string,
  machine: string,
): { operation: string; request: object } {
  const [host = '', name = ''] = machine.split('/');
  const start = target.start ? { start: true } : {};
  if (target.whereTo === 'folder')
    return { operation: 'restoreToFolder', request: { point, folder: target.folder } };
  if (target.whereTo === 'original')
    return { operation: 'restoreToHost', request: { point, host, as: name, replace: true, ...start } };
  return { operation: 'restoreToHost', request: { point, host: target.host, as: target.as, ...start } };
}

export function summaryOf(target: Target, machine: string): string {
  const started = target.start ? ', and it is started' : '; it stays off';
  if (target.whereTo === 'folder')
    return `The disks of ${machine} are written as files into ${target.folder || 'the folder'}. No machine is changed.`;
  if (target.whereTo === 'original')
    return `${machine} becomes what it was at that point${started}. What was written to it since is lost.`;
  return `A new machine ${target.host}/${target.as} is made of the point${started}. ${machine} is not touched.`;
}
