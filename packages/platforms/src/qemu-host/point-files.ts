/** The small files of a machine that go into every point: configuration, nvram, what it ran on. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { formatBytes, MiB } from '@prima/base';
import type { ConfigFile } from '../platform.ts';
import type { MachineConfig } from './machine-config.ts';
import { fileExists, type MachinePaths, memoryLaunchName } from './machine-folder.ts';

const wanted = /\.(vmx|nvram|vmxf|vmsd)$/i;
const mostBytes = 64 * MiB;

/** @param launch the run record that belongs to the point: of the present run, or of the saved memory */
export async function pointFiles(
  paths: MachinePaths,
  config: MachineConfig,
  launch: string,
): Promise<{ files: ConfigFile[]; notes: string[] }> {
  const notes: string[] = [];
  const names = new Map<string, string>();
  for (const name of await readdir(paths.folder)) {
    if (wanted.test(name) && !name.startsWith('.')) names.set(name, join(paths.folder, name));
  }
  for (const path of [config.kernel, config.initrd, config.nvram]) {
    if (path === undefined) continue;
    if (dirname(path) === paths.folder) names.set(basename(path), path);
    else notes.push(`${path} lies outside the machine's folder and is not in the point`);
  }
  if (await fileExists(launch)) names.set(memoryLaunchName, launch);
  const files: ConfigFile[] = [];
  for (const [name, path] of [...names].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (!(await fileExists(path))) continue;
    const { size } = await stat(path);
    if (size > mostBytes)
      notes.push(`${path} (${formatBytes(size)}) is too large for a configuration file and left out`);
    else files.push({ name, bytes: await readFile(path) });
  }
  return { files, notes };
}
