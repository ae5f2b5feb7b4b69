/**
 * `vmsnap`, `vmsnap_all` and `vmres`, as on the service console of ESX 2.5: hot exports of running machines to folders,
 * and the way back. Each is said in terms of `prima`. Their exact letters are known from descriptions only (Haletky, VMware
 * ESX Server in the Enterprise), so these are aliases, and what has no place today is refused with what to use.
 */
import { UserError } from '@prima/base';
import { basename, join } from 'node:path';

export interface Translation {
  /** Arguments of `prima`. */
  argv: string[];
  /** Where what is printed goes besides, as `-l` asks. */
  log?: string;
}

interface Given {
  options: Map<string, string>;
  flags: Set<string>;
  rest: string[];
}

const refusals: Record<string, string> = {
  '-R':
    'archive servers are not written to any more: export to a folder (-d) and copy that, or back up to a repository over SFTP or S3 ' +
    '(prima backup)',
};

const usage = {
  vmsnap: 'vmsnap [-c VMX] [HOST/MACHINE…] -d FOLDER [-l LOG] [-f]',
  vmsnap_all: 'vmsnap_all -d FOLDER [-l LOG] [-f]',
  vmres: 'vmres -H HOST -d FOLDER MACHINE [-n NEWNAME] [-s] [-l LOG]',
} as const;

export type SnapFront = keyof typeof usage;

/** Raises `usage` with how it is called, `unsupported` for what has no place today. */
export function translate(front: SnapFront, argv: readonly string[]): Translation {
  if (argv.length === 0 || argv.includes('--help') || argv.includes('-h'))
    throw new UserError('usage', `usage: ${usage[front]}`);
  const values = { vmsnap: '-c -d -l', vmsnap_all: '-d -l', vmres: '-H -d -n -l' }[front].split(' ');
  const flags = { vmsnap: '-f', vmsnap_all: '-f', vmres: '-s' }[front].split(' ');
  const given = parse(front, argv, { values, flags });
  const folder = given.options.get('-d');
  if (folder === undefined) throw wrong(front, 'name the folder of the exports (-d)');
  const log = given.options.get('-l');
  return { argv: commands[front](given, folder), ...(log !== undefined && { log }) };
}

const commands: Record<SnapFront, (given: Given, folder: string) => string[]> = {
  vmsnap: ({ options, flags, rest }, folder) => {
    const vmx = options.get('-c');
    const machines = [...(vmx === undefined ? [] : [vmx]), ...rest];
    if (machines.length === 0) throw wrong('vmsnap', 'name a machine (-c VMX, or HOST/MACHINE)');
    return ['machine', 'export', ...machines, ...exportOptions(flags, folder)];
  },
  vmsnap_all: ({ flags, rest }, folder) => {
    if (rest.length > 0) throw wrong('vmsnap_all', 'it takes all running machines; for some use vmsnap');
    return ['machine', 'export', '--running', ...exportOptions(flags, folder)];
  },
  vmres: ({ options, flags, rest }, folder) => {
    const [name, ...more] = rest;
    const host = options.get('-H');
    if (name === undefined || more.length > 0) throw wrong('vmres', 'name one machine of the folder');
    if (host === undefined) throw wrong('vmres', 'name the host to restore to (-H; prima host list)');
    const plain = basename(name);
    const rename = options.get('-n');
    return [
      'machine',
      'import',
      host,
      join(folder, plain, `${plain}.vmx`),
      ...(rename === undefined ? [] : ['--name', rename]),
      ...(flags.has('-s') ? ['--start'] : []),
    ];
  },
};

/** By redo logs, as ESX did it. */
function exportOptions(flags: ReadonlySet<string>, folder: string): string[] {
  return ['--to', folder, '--method', 'redo', ...(flags.has('-f') ? ['--force'] : [])];
}

function parse(
  front: SnapFront,
  argv: readonly string[],
  known: { values: readonly string[]; flags: readonly string[] },
): Given {
  const given: Given = { options: new Map(), flags: new Set(), rest: [] };
  for (let at = 0; at < argv.length; at += 1) {
    const word = argv[at] ?? '';
    const refused = refusals[word];
    if (refused !== undefined) throw new UserError('unsupported', `${front} ${word}: ${refused}`);
    if (!word.startsWith('-')) given.rest.push(word);
    else if (known.flags.includes(word)) given.flags.add(word);
    else if (known.values.includes(word)) {
      const value = argv[(at += 1)];
      if (value === undefined) throw wrong(front, `${word} needs a value`);
      given.options.set(word, value);
    } else throw wrong(front, `it has no option ${word}`);
  }
  return given;
}

function wrong(front: SnapFront, what: string): UserError {
  return new UserError('usage', `${front}: ${what}\nusage: ${usage[front]}`);
}
