/**
 * Builds the tiny guest's files from Debian's packages: busybox, Debian's cloud kernel with a few modules,
 * the QEMU guest agent, and the programs in ../../guest.
 */
import { chmod, copyFile, cp, mkdir, readdir, readFile, rename, symlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type Logger, runProgram, UserError } from '@prima/base';
import { extractKernel } from './kernel.ts';
import { moduleOrder } from './modules.ts';

/** The guest's own programs and configuration, as files. */
export const guestFiles = join(import.meta.dirname, '../../guest');

/** What the guest can drive; what these need comes along. */
const moduleNames =
  'virtio_pci virtio_blk virtio_scsi sd_mod sr_mod isofs ext4 virtio_net virtio_console virtio_rng evdev button';

export interface BuildOptions {
  /** Where downloaded packages are kept. */
  downloads: string;
  /** An empty folder for the result; a folder `work` in it is scratch and may be removed afterwards. */
  target: string;
  log: Logger;
}

/** What was built; written beside it as `manifest.json`. */
export interface GuestManifest {
  kernelVersion: string;
  /** Files of the packages it was made from, with their versions in their names. */
  packages: string[];
  /** Module files in the order in which they are inserted. */
  modules: string[];
}

/** Makes `kernel`, `initrd`, the folder `root` (what a root disk is filled with) and `manifest.json`. */
export async function buildGuestFiles(options: BuildOptions): Promise<void> {
  const { downloads, target, log } = options;
  const unpacked = join(target, 'work');
  await mkdir(unpacked);
  const packages = await download(downloads, unpacked, log);
  for (const file of packages) await runProgram('dpkg-deb', ['-x', join(downloads, file), unpacked]);
  const [kernelVersion] = await readdir(join(unpacked, 'lib/modules'));
  if (kernelVersion === undefined) throw new UserError('not-found', 'the kernel package holds no modules');
  await extractKernel(join(unpacked, 'boot', `vmlinuz-${kernelVersion}`), join(target, 'kernel'));
  const root = join(target, 'root');
  await cp(guestFiles, root, { recursive: true, mode: 0 });
  const folders = 'dev proc sys run tmp data mnt newroot root var/log usr/bin usr/sbin lib/modules';
  for (const folder of folders.split(' ')) await mkdir(join(root, folder), { recursive: true });
  await symlink('../run', join(root, 'var/run'));
  await addBusybox(root);
  await addProgram(root, join(unpacked, 'usr/sbin/qemu-ga'), 'usr/sbin/qemu-ga');
  const modules = await addModules(root, unpacked, kernelVersion);
  await packInitrd(root, join(target, 'initrd'));
  await writeFile(join(root, 'etc/on-disk'), '');
  const manifest: GuestManifest = { kernelVersion, packages, modules };
  await writeFile(join(target, 'manifest.json'), JSON.stringify(manifest, null, 2));
}

/** Fetches the packages that are not in `downloads` yet (whole ones only appear there); returns their names. */
async function download(downloads: string, scratch: string, log: Logger): Promise<string[]> {
  const { stdout } = await runProgram('apt-cache', ['depends', 'linux-image-cloud-amd64'], {
    accept: [0, 100],
  });
  const kernel = /Depends: (linux-image-\S+)/.exec(stdout)?.[1];
  if (kernel === undefined) {
    throw new UserError(
      'missing-program',
      'Debian’s package lists have no linux-image-cloud-amd64; as root run: apt-get update',
    );
  }
  const asRoot = process.getuid?.() === 0 ? ['-o', 'APT::Sandbox::User=root'] : [];
  const names = [kernel, 'qemu-guest-agent'];
  const urls = await runProgram('apt-get', ['download', '--print-uris', ...asRoot, ...names]);
  const files = [...urls.stdout.matchAll(/^'[^']+' (\S+\.deb) /gm)].map((match) => match[1] ?? '');
  const present = new Set(await readdir(downloads));
  if (files.length === names.length && files.every((file) => present.has(file))) return files;
  log.info(`downloading ${names.join(', ')} from Debian`);
  await runProgram('apt-get', ['-qq', 'download', ...asRoot, ...names], { cwd: scratch, timeoutMs: 600_000 });
  for (const file of files) await rename(join(scratch, file), join(downloads, file));
  return files;
}

async function addBusybox(root: string): Promise<void> {
  await copyFile('/bin/busybox', join(root, 'bin/busybox'));
  const { stdout } = await runProgram('/bin/busybox', ['--list']);
  const own = new Set([...(await readdir(join(root, 'bin'))), ...(await readdir(join(root, 'sbin')))]);
  for (const name of stdout.split('\n')) {
    if (name !== '' && !own.has(name)) await symlink('busybox', join(root, 'bin', name));
  }
}

/** Copies a program and the libraries that the loader finds for it on this machine. */
async function addProgram(root: string, source: string, path: string): Promise<void> {
  await copyFile(source, join(root, path));
  await chmod(join(root, path), 0o755);
  const { stdout } = await runProgram('ldd', [source]);
  const absent = [...stdout.matchAll(/(\S+) => not found/g)].map((match) => match[1]);
  if (absent.length > 0) {
    throw new UserError(
      'missing-program',
      `${basename(source)} needs libraries not here: ${absent.join(' ')}`,
    );
  }
  for (const [, library = ''] of stdout.matchAll(/(\/\S+) \(0x/g)) {
    await mkdir(join(root, dirname(library)), { recursive: true });
    await copyFile(library, join(root, library));
  }
}

async function addModules(root: string, unpacked: string, version: string): Promise<string[]> {
  const folder = join(unpacked, 'lib/modules', version);
  await runProgram('/sbin/depmod', ['-b', unpacked, version]);
  const text = (name: string) => readFile(join(folder, name), 'utf8');
  const order = moduleOrder(moduleNames.split(' '), await text('modules.dep'), await text('modules.builtin'));
  const files = order.map((path) => basename(path));
  for (const path of order) await copyFile(join(folder, path), join(root, 'lib/modules', basename(path)));
  await writeFile(join(root, 'lib/modules/order'), `${files.join('\n')}\n`);
  return files;
}

async function packInitrd(root: string, target: string): Promise<void> {
  const names = await readdir(root, { recursive: true });
  await runProgram('cpio', ['-o', '-H', 'newc', '--quiet', '-R', '0:0', '-O', target], {
    cwd: root,
    input: `${['.', ...names.sort()].join('\n')}\n`,
  });
}
