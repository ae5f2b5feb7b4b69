/** Which kernel modules must be inserted, in which order; reads what depmod(8) wrote. */
import { FormatError } from '@prima/base';

/**
 * The files of `names` and of all that they need, in the order in which insmod takes them. Names that are
 * built into the kernel need no file.
 * @param dependencies the text of modules.dep: "path: needed needed…", paths relative to it
 * @param builtin the text of modules.builtin: one path a line
 */
export function moduleOrder(names: readonly string[], dependencies: string, builtin: string): string[] {
  const byName = new Map<string, string>();
  const needs = new Map<string, string[]>();
  for (const line of dependencies.split('\n')) {
    const [path, rest] = line.split(':');
    if (path === undefined || rest === undefined) continue;
    byName.set(nameOf(path), path);
    // modules.dep lists the nearest first: what must be inserted first comes last
    needs.set(path, rest.split(' ').filter(Boolean).toReversed());
  }
  const inKernel = new Set(builtin.split('\n').filter(Boolean).map(nameOf));
  const order = new Set<string>();
  for (const name of names) {
    const path = byName.get(nameOf(name));
    if (path === undefined) {
      if (inKernel.has(nameOf(name))) continue;
      throw new FormatError(`the kernel has no module ${name}, neither as a file nor built in`);
    }
    for (const needed of needs.get(path) ?? []) order.add(needed);
    order.add(path);
  }
  return [...order];
}

/** `kernel/drivers/char/hw_random/virtio-rng.ko.xz` → `virtio_rng`. */
function nameOf(path: string): string {
  return path
    .replace(/^.*\//, '')
    .replace(/\.ko(\..*)?$/, '')
    .replaceAll('-', '_');
}
