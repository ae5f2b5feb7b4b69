/**
 * The command line of `vmkfstools`, as the command line of `prima disk` that does the same: the options of ESXi 6 to 8, and
 * those of ESX 2 where they are not the same letters. What Prima does not do is refused with a sentence that says what to use.
 */
import { parseArgs } from 'node:util';
import { UserError } from '@prima/base';

export interface FrontAction {
  /** For `prima`. */
  argv: string[];
  /** Printed when it ends well, in place of what it prints itself. */
  done?: string;
}

/** Long name, letter, and whether a value follows. */
const disks = {
  createvirtualdisk: { short: 'c', type: 'string' },
  diskformat: { short: 'd', type: 'string' },
  adaptertype: { short: 'a', type: 'string' },
  writezeros: { short: 'w', type: 'boolean' },
  inflatedisk: { short: 'j', type: 'boolean' },
  eagerzero: { short: 'k', type: 'boolean' },
  punchzero: { short: 'K', type: 'boolean' },
  clonevirtualdisk: { short: 'i', type: 'string' },
  avoidnativeclone: { short: 'N', type: 'boolean' },
  renamevirtualdisk: { short: 'E', type: 'string' },
  deletevirtualdisk: { short: 'U', type: 'boolean' },
  migratevirtualdisk: { short: 'M', type: 'boolean' },
  extendvirtualdisk: { short: 'X', type: 'string' },
  createrdm: { short: 'r', type: 'string' },
  createrdmpassthru: { short: 'z', type: 'string' },
  queryrdm: { short: 'q', type: 'boolean' },
  fix: { short: 'x', type: 'string' },
  chainConsistent: { short: 'e', type: 'boolean' },
  geometry: { short: 'g', type: 'boolean' },
  objecttype: { short: 'Q', type: 'boolean' },
  commit: { short: 'm', type: 'boolean' },
  verbose: { short: 'v', type: 'string' },
} as const;

const volumes = {
  createfs: { short: 'C', type: 'string' },
  blocksize: { short: 'b', type: 'string' },
  numfiles: { short: 'n', type: 'string' },
  setfsname: { short: 'S', type: 'string' },
  spanfs: { short: 'Z', type: 'string' },
  growfs: { short: 'G', type: 'boolean' },
  queryfs: { short: 'P', type: 'boolean' },
  humanreadable: { short: 'h', type: 'boolean' },
  upgradevmfs: { short: 'T', type: 'boolean' },
  upgradefinish: { short: 'u', type: 'boolean' },
  reclaimBlocks: { short: 'y', type: 'boolean' },
  config: { short: 'F', type: 'string' },
  scan: { short: 's', type: 'boolean' },
  list: { short: 'l', type: 'boolean' },
  lock: { short: 'L', type: 'string' },
  lockinfo: { short: 'D', type: 'boolean' },
  breaklock: { short: 'B', type: 'boolean' },
  objecttarget: { short: 'W', type: 'string' },
  policyFile: { type: 'string' },
} as const;

type Name = keyof typeof disks | keyof typeof volumes;

const onTheHost = 'that is done on an ESXi host, with its own vmkfstools';
const onModern = 'VMFS volumes are made and changed on an ESXi host of today, with its own vmkfstools';
const mapping =
  'make the mapping with -r or -z DEVICE FILE, and copy to its device with dd or qemu-img convert';

/** Why an option is refused, and what to use instead. */
const refused: Partial<Record<Name, string>> = {
  createfs: onModern,
  blocksize: onModern,
  numfiles: onModern,
  setfsname: onModern,
  spanfs: onModern,
  growfs: onModern,
  upgradevmfs: onModern,
  upgradefinish: onModern,
  reclaimBlocks: `${onModern}; prima disk punch gives back the zeros of one disk`,
  config: 'the modes of VMFS-1 and VMFS-2 volumes were a matter of ESX 2; every file system here is shared',
  scan: `adapters are scanned by the host they are in; ${onTheHost}`,
  list: 'ls lists the files of a folder; prima disk info says what a disk is',
  lock: `reservations are a host's; ${onTheHost}`,
  lockinfo: `locks of VMFS files are a host's; ${onTheHost}`,
  breaklock: `locks of VMFS files are a host's; ${onTheHost}`,
  objecttarget: 'Prima makes disks as files; vSAN and vVol objects are made by their host',
  policyFile: 'storage policies are those of vSAN and vVol hosts; Prima makes disks as files',
  writezeros: 'nothing is written over a whole disk; delete it, and create it with -d eagerzeroedthick',
  migratevirtualdisk:
    'a disk of ESX 2 stays as it is: prima disk convert reads it and writes a new one beside it',
};

const usage = `vmkfstools works on disk files as the tool of ESX does, through Prima:
  -c SIZE [-d zeroedthick|thin|eagerzeroedthick] [-a ADAPTER] FILE   create a disk
  -i SOURCE [-d …|2gbsparse] FILE                                    clone
  -E OLD FILE       rename                 -U FILE      delete
  -X SIZE FILE      extend to SIZE         -j, -k FILE  inflate        -K FILE  punch zeros
  -x check|repair FILE                     -e FILE      is the chain consistent?
  -g, -Q FILE       geometry, kind         -m FILE      merge its redo log
  -r, -z DEVICE FILE   map a device (virtual, physical)     -q FILE   which device?
  -P FOLDER         what a datastore holds
Everything else is refused with what to use instead. prima disk --help has more.`;

/** Raises `usage`, and `unsupported` for what is refused. */
export function translateVmkfstools(argv: readonly string[]): FrontAction {
  if (argv.length === 0 || argv.includes('--help')) throw new UserError('usage', usage);
  const { values, positionals } = parsed(argv);
  const names = Object.keys(values) as Name[];
  const [no] = names.filter((name) => refused[name] !== undefined);
  if (no !== undefined) {
    const { short } = { ...disks, ...volumes }[no] as { short?: string };
    throw new UserError('unsupported', `vmkfstools ${short ? `-${short}` : `--${no}`}: ${refused[no]}`);
  }
  return actionOf(values, positionals);
}

function parsed(argv: readonly string[]) {
  try {
    const options = { ...disks, ...volumes };
    return parseArgs({ args: [...argv], options, allowPositionals: true, strict: true });
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    throw new UserError('usage', `vmkfstools: ${text}`, { cause: error });
  }
}

type Values = ReturnType<typeof parsed>['values'];

function actionOf(values: Values, files: readonly string[]): FrontAction {
  const [file, second] = files.map(assertPath);
  if (file === undefined) throw new UserError('usage', 'vmkfstools: name the file of a disk');
  const { clonevirtualdisk: source, renamevirtualdisk: old, fix } = values;
  const [create, extend] = [values.createvirtualdisk, values.extendvirtualdisk];
  if (create !== undefined) return { argv: ['disk', 'create', file, ...size(create, 1), ...target(values)] };
  if (source !== undefined) return { argv: ['disk', 'clone', assertPath(source), file, ...target(values)] };
  if (old !== undefined) return { argv: ['disk', 'rename', assertPath(old), file] };
  if (extend !== undefined) {
    const eager = values.diskformat === 'eagerzeroedthick' ? ['--eager-zero'] : [];
    return { argv: ['disk', 'extend', file, ...size(extend, 1024), ...eager] };
  }
  if (fix !== undefined) return { argv: fixing(fix, file) };
  if (values.chainConsistent && second !== undefined) {
    // on ESX 2 this was "export": where to, then what
    return { argv: ['disk', 'convert', second, file, '--kind', 'twoGbMaxExtentSparse'] };
  }
  if (values.chainConsistent) return { argv: ['disk', 'check', file], done: 'Disk chain is consistent.' };
  const [virtual, physical] = [values.createrdm, values.createrdmpassthru];
  if (virtual !== undefined) return { argv: mapped(file, virtual, 'virtual') };
  if (physical !== undefined) return { argv: mapped(file, physical, 'physical') };
  if (values.queryrdm) return { argv: ['disk', 'rdm', 'query', file] };
  if (values.queryfs) return { argv: ['datastore', 'show', file] };
  if (values.commit) return { argv: ['disk', 'redo', 'commit', file] };
  if (values.inflatedisk || values.eagerzero) return { argv: ['disk', 'inflate', file] };
  if (values.punchzero) return { argv: ['disk', 'punch', file] };
  if (values.deletevirtualdisk) return { argv: ['disk', 'delete', file, '--yes'] };
  if (values.geometry || values.objecttype) return { argv: ['disk', 'info', file] };
  throw new UserError(
    'usage',
    'vmkfstools: say what to do, such as -c 10G, -i SOURCE, -X 20G, -E OLD, -U, -e',
  );
}

function mapped(file: string, device: string, mode: string): string[] {
  return ['disk', 'rdm', 'create', file, '--device', device, '--mode', mode];
}

function fixing(how: string, file: string): string[] {
  if (how === 'check') return ['disk', 'check', file];
  if (how === 'repair') return ['disk', 'repair', file, '--yes'];
  throw new UserError('usage', `vmkfstools -x: "${how}" is neither check nor repair`);
}

/** ESX 2 names files by their volume: vmhba0:0:0:5:web.vmdk, or LABEL:web.vmdk. */
function assertPath(name: string): string {
  if (!/^vmhba\d/.test(name)) return name;
  throw new UserError(
    'usage',
    `vmkfstools: ${name} names a file by its adapter and partition; name it by its path where that volume can be read`,
  );
}

const kinds: Partial<Record<string, string>> = {
  zeroedthick: 'vmfs',
  thin: 'vmfsThin',
  eagerzeroedthick: 'vmfsEagerZeroedThick',
  '2gbsparse': 'twoGbMaxExtentSparse',
};

function target({ diskformat = 'zeroedthick', adaptertype }: Values): string[] {
  if (/^rdmp?:/.test(diskformat))
    throw new UserError('unsupported', `vmkfstools -d ${diskformat}: ${mapping}`);
  const kind = kinds[diskformat];
  if (kind === undefined) {
    throw new UserError(
      'usage',
      `vmkfstools -d: "${diskformat}" is none of ${Object.keys(kinds).join(', ')}`,
    );
  }
  return [
    '--format',
    'vmdk',
    '--kind',
    kind,
    ...(adaptertype === undefined ? [] : ['--adapter', adaptertype]),
  ];
}

const units: Partial<Record<string, number>> = {
  b: 1,
  s: 512,
  k: 1024,
  m: 1024 ** 2,
  g: 1024 ** 3,
  t: 1024 ** 4,
};

/** @param plain what a number without a letter counts: bytes when a disk is made, KiB when it is extended */
function size(text: string, plain: number): string[] {
  const [, digits, letter = ''] = /^(\d+)([bskmgt]?)$/i.exec(text) ?? [];
  const unit = letter === '' ? plain : units[letter.toLowerCase()];
  const bytes = Number(digits) * (unit ?? 0);
  if (digits !== undefined && Number.isSafeInteger(bytes) && bytes > 0) return ['--size', String(bytes)];
  throw new UserError(
    'usage',
    `vmkfstools: "${text}" is no size; write a number and one of b, s, k, m, g, t`,
  );
}
