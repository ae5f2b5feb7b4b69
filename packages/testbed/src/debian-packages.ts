/**
 * The Debian packages (named as in bookworm) that the test bed, the tests and the benchmark need, and their
 * installation. Only what is missing is installed, only as root, without recommends and without starting
 * any service; elsewhere the one command to run is told.
 */
import { type Logger, PrimaError, runProgram, silentLogger, toPrimaError, UserError } from '@prima/base';

/** What the packages are for; see `packagesFor`. */
export type Purpose =
  | 'libvirt'
  | 'luns'
  | 'guest'
  | 'objects'
  | 'rbd'
  | 'machines'
  | 'interop'
  | 'file-systems'
  | 'browser'
  | 'postgres'
  | 'systemd'
  | 'bench';

const packages: Record<Purpose, readonly string[]> = {
  // building the tiny guest
  guest: [
    'busybox-static',
    'kmod',
    'cpio',
    'e2fsprogs',
    'lz4',
    'xz-utils',
    'libglib2.0-0',
    'libnuma1',
    'liburing2',
  ],
  // running machines and reading their disk formats
  machines: ['qemu-system-x86', 'qemu-utils', 'seabios', 'ipxe-qemu'],
  // the field's own tools that the interoperability tests talk to
  interop: [
    'libnbd-bin',
    'nbdkit',
    'qemu-utils',
    'openssl',
    'e2fsprogs',
    'openssh-server',
    'openssh-client',
    'libxml2-utils',
    'libvirt-clients',
    'libvirt0',
    'ovmf',
    'libarchive-tools',
    'python3-minimal',
  ],
  // making, looking into and checking partition tables and file systems
  'file-systems': ['e2fsprogs', 'xfsprogs', 'ntfs-3g', 'dosfstools', 'fdisk', 'gdisk', 'util-linux'],
  // a browser for the panel, with one font
  browser: ['chromium', 'fonts-dejavu-core'],
  // an iSCSI target, and what reads LUNs without an initiator in the kernel
  luns: ['tgt', 'libiscsi-bin', 'qemu-block-extra'],
  // a libvirt daemon with QEMU's driver, networks and pools, and machines with a TPM
  libvirt: [
    'libvirt-daemon',
    'libvirt-daemon-driver-qemu',
    'libvirt-daemon-driver-storage-rbd',
    'libvirt-clients',
    'qemu-system-x86',
    'qemu-utils',
    'seabios',
    'ipxe-qemu',
    'ovmf',
    'swtpm',
    'swtpm-tools',
    'dnsmasq-base',
    'netcat-openbsd',
    'sasl2-bin',
    'libsasl2-modules',
    'libsasl2-modules-db',
    'util-linux',
  ],
  // a cluster for disks of machines, and QEMU's driver for them
  rbd: ['ceph-mon', 'ceph-osd', 'ceph-common', 'qemu-block-extra', 'util-linux'],
  // an S3 server: Ceph's object gateway
  objects: ['ceph-mon', 'ceph-osd', 'ceph-common', 'radosgw', 'util-linux'],
  // the state of a server
  postgres: ['postgresql-15', 'util-linux'],
  systemd: ['systemd'],
  // the peers that the benchmark measures
  bench: ['restic', 'borgbackup', 'zstd', 'libnbd-bin', 'nbdkit', 'qemu-utils', 'e2fsprogs', 'virtnbdbackup'],
};

/** The packages for one or more purposes, each once, sorted. */
export function packagesFor(...purposes: readonly Purpose[]): string[] {
  return [...new Set(purposes.flatMap((purpose) => packages[purpose]))].sort();
}

export interface InstallOptions {
  log?: Logger;
  signal?: AbortSignal;
}

/**
 * Makes sure that `names` are installed; returns those that had to be. May be called by several processes
 * at once (one installs, the others wait and find the work done). Raises `missing-program` with the command
 * to run when packages are missing and this is not root on Debian, or with apt-get's message when it fails.
 */
export async function ensureDebianPackages(
  names: readonly string[],
  options: InstallOptions = {},
): Promise<string[]> {
  const { log = silentLogger, signal } = options;
  const missing = await missingPackages(names, signal);
  if (missing.length === 0) return [];
  const command = `apt-get install -y --no-install-recommends ${missing.join(' ')}`;
  if (process.getuid?.() !== 0) {
    throw new UserError('missing-program', `Debian packages are missing; run: sudo ${command}`, {
      details: { packages: missing },
    });
  }
  log.info(`installing Debian packages: ${missing.join(' ')}`, { packages: missing });
  const started = performance.now();
  await runProgram('flock', [lockPath, 'sh', '-c', installScript, 'install', ...missing], {
    timeoutMs: installTimeoutMs,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    ...(signal && { signal }),
  }).catch((error: unknown) => {
    const cause = toPrimaError(error, 'installing Debian packages');
    if (cause.code === 'cancelled') throw cause;
    throw new PrimaError('missing-program', `${command}: ${cause.message}`, { cause });
  });
  const left = await missingPackages(missing, signal);
  if (left.length > 0) {
    throw new PrimaError('missing-program', `apt-get ended well but did not install: ${left.join(' ')}`);
  }
  log.info(`installed in ${((performance.now() - started) / 1000).toFixed(0)} s`);
  return missing;
}

const lockPath = '/run/lock/prima-packages.lock';
const installTimeoutMs = 15 * 60_000;

/**
 * Runs as one shell program so that it cleans up even when we are gone: where there is no policy-rc.d, one
 * that forbids starting services is there while apt-get works. The lists are updated only when the install
 * fails without that (none there yet, or too old). Whoever waited for the lock finds nothing left to do.
 */
const installScript = `
set -u
policy=/usr/sbin/policy-rc.d
mark='# put here by prima while it installs packages'
install() { apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install -y --no-install-recommends "$@" </dev/null; }
installed() { dpkg-query -W -f '\${db:Status-Abbrev}\\n' "$@" 2>/dev/null | grep -c '^.i ' ; }
[ "$(installed "$@")" = $# ] && exit 0
clean() { if grep -qsF "$mark" "$policy"; then rm -f "$policy"; fi; }
trap clean EXIT
trap 'exit 130' INT TERM HUP
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\\n%s\\nexit 101\\n' "$mark" >"$policy"
  chmod 755 "$policy"
fi
install "$@" >/dev/null 2>&1 && exit 0
apt-get -qq -o DPkg::Lock::Timeout=300 update </dev/null && install "$@"
`;

async function missingPackages(names: readonly string[], signal?: AbortSignal): Promise<string[]> {
  if (names.length === 0) return [];
  const query = ['-W', '-f', '${binary:Package} ${db:Status-Abbrev}\n', ...names];
  const { stdout } = await runProgram('dpkg-query', query, {
    accept: [0, 1],
    timeoutMs: 30_000,
    ...(signal && { signal }),
  }).catch((error: unknown) => {
    if (!(error instanceof PrimaError) || error.code !== 'missing-program') throw error;
    throw new UserError(
      'missing-program',
      `this is not Debian; install by hand what these packages hold: ${names.join(' ')}`,
      { cause: error, details: { packages: names } },
    );
  });
  const installed = new Set(
    stdout
      .split('\n')
      .filter((line) => /^\S+ .i/.test(line))
      .map((line) => line.replace(/[: ].*$/, '')),
  );
  return names.filter((name) => !installed.has(name));
}
