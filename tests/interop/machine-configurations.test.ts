/** Configurations that Prima writes, before those who have to take them: libvirt's schemas, QEMU itself. */
import assert from 'node:assert/strict';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { test } from 'node:test';
import { MiB, runProgram, seededRandom } from '@prima/base';
import {
  type MachineDescription,
  measureMember,
  openOva,
  readOvf,
  readQemuArguments,
  writeDomain,
  writeOva,
  writeOvf,
  writeQemuArguments,
} from '@prima/formats';
import { temporaryFolder } from '@prima/testbed';
import { writeXml } from '@prima/xml';
import { writeTar } from '../../packages/formats/src/ovf/tar-writer.ts';
import { randomDescription } from '../../packages/formats/src/machine/description-fixture.ts';

const seed = Number(process.env['PRIMA_SEED'] ?? Date.now() % 1e9);

/** Names that hosts accept: the schema wants names of interfaces without spaces. */
function usable(description: MachineDescription): MachineDescription {
  const nics = description.nics.map((nic) =>
    nic.network.name === undefined ? nic : { ...nic, network: { ...nic.network, name: 'net0' } },
  );
  return { ...description, nics };
}

test('libvirt’s schema accepts the domains that we write', { timeout: 120_000 }, async (t) => {
  const folder = await temporaryFolder(t);
  const random = seededRandom(seed);
  const files: string[] = [];
  for (let round = 0; round < 60; round += 1) {
    const description = usable(randomDescription(random));
    const file = join(folder, `${round}.xml`);
    await writeFile(file, writeXml(writeDomain(description, { folder: '/srv/web' }).result));
    files.push(file);
  }
  const schema = '/usr/share/libvirt/schemas/domain.rng';
  const { status, stderr } = await runProgram('xmllint', ['--noout', '--relaxng', schema, ...files], {
    accept: [0, 3],
  });
  assert.equal(
    status,
    0,
    `seed ${seed}: ${stderr
      .split('\n')
      .filter((line) => !line.endsWith(' validates'))
      .join('\n')}`,
  );
  const [first = ''] = files;
  await runProgram('virt-xml-validate', [first, 'domain']);
});

/** The description on files that are there, without what needs a network or a device of the host. */
async function runnable(description: MachineDescription, folder: string): Promise<MachineDescription> {
  const file = async (name: string): Promise<string> => {
    const path = join(folder, name);
    await writeFile(path, '');
    await truncate(path, MiB);
    return path;
  };
  const { kernel: _, ...rest } = description;
  const disks = description.disks.map(async (disk, at) => ({
    ...disk,
    source: { kind: 'file' as const, location: await file(`disk, ${at}.raw`) },
    format: 'raw',
  }));
  const cdroms = description.cdroms.map(async (cdrom, at) => ({
    ...cdrom,
    source: { kind: 'file' as const, location: await file(`cd${at}.iso`) },
  }));
  return {
    ...rest,
    name: description.name,
    memoryBytes: 128 * MiB,
    cpus: { ...description.cpus, model: 'max' },
    firmware:
      description.firmware.kind === 'uefi'
        ? { kind: 'uefi', loader: '/usr/share/OVMF/OVMF_CODE.fd' }
        : { kind: 'bios' },
    disks: await Promise.all(disks),
    cdroms: await Promise.all(cdroms),
    nics: description.nics.map((nic) => ({ ...nic, network: { kind: 'nat' } })),
    displays: [],
    serialPorts: description.serialPorts.map(({ kind }, at) =>
      kind === 'unix'
        ? { kind, target: join(folder, `s,${at}`), server: true }
        : kind === 'file'
          ? { kind, target: join(folder, `log ${at}`) }
          : { kind: 'null' },
    ),
  };
}

test('QEMU starts with the arguments that we write', { timeout: 240_000 }, async (t) => {
  const random = seededRandom(seed);
  for (let round = 0; round < 12; round += 1) {
    const folder = await temporaryFolder(t);
    const description = await runnable(randomDescription(random), folder);
    const { result } = writeQemuArguments(description, { accelerator: 'tcg' });
    const read = readQemuArguments(result, 'x').result;
    assert.equal(read.disks.length, description.disks.length);
    const input = '{"execute":"qmp_capabilities"}\n{"execute":"query-block"}\n{"execute":"quit"}\n';
    const { stdout } = await runProgram(
      'qemu-system-x86_64',
      [...result, '-S', '-display', 'none', '-qmp', 'stdio'],
      { input, timeoutMs: 60_000 },
    ).catch((error: unknown) => {
      throw new Error(`seed ${seed}, round ${round}: ${result.join(' ')}`, { cause: error });
    });
    const answers = stdout.split('\n').filter((line) => line.startsWith('{"return": ['));
    const { return: blocks } = JSON.parse(answers[0] ?? '{}') as {
      return: { inserted?: { file: string } }[];
    };
    for (const { source } of description.disks) {
      const isThere = blocks.some(({ inserted }) =>
        JSON.stringify(inserted).includes(source?.location ?? '-'),
      );
      assert.ok(isThere, `seed ${seed}, round ${round}: ${source?.location} in ${stdout}`);
    }
  }
});

test('other programs read our OVA, and we read theirs', { timeout: 120_000 }, async (t) => {
  const folder = await temporaryFolder(t);
  const raw = join(folder, 'disk.raw');
  await writeFile(raw, Buffer.alloc(3 * MiB, 'content '));
  await runProgram('qemu-img', [
    'convert',
    '-O',
    'vmdk',
    '-o',
    'subformat=streamOptimized',
    raw,
    join(folder, 'd.vmdk'),
  ]);
  const description = {
    ...randomDescription(seededRandom(seed)),
    name: 'web',
    disks: [
      {
        slot: { bus: 'scsi' as const, controller: 0, unit: 0 },
        source: { kind: 'file' as const, location: join(folder, 'd.vmdk') },
        format: 'vmdk',
        capacityBytes: 3 * MiB,
      },
    ],
    cdroms: [],
  };
  const { document, files } = writeOvf(description).result;
  const members = files.map(({ name, location }) =>
    measureMember({ name, open: () => createReadStream(location) }),
  );
  const ova = join(folder, 'web.ova');
  await pipeline(
    writeOva({ name: 'web', document, members: await Promise.all(members) }),
    createWriteStream(ova),
  );
  for (const program of ['tar', 'bsdtar']) {
    const into = join(folder, program);
    await mkdir(into);
    const { stdout } = await runProgram(program, ['-tf', ova]);
    assert.deepEqual(stdout.trim().split('\n'), ['web.ovf', 'web.mf', 'd.vmdk']);
    await runProgram(program, ['-xf', ova, '-C', into]);
    await runProgram('sha256sum', ['-c', '--strict', '-'], {
      cwd: into,
      input: await sums(join(into, 'web.mf')),
    });
    await runProgram('xmllint', ['--noout', join(into, 'web.ovf')]);
    await runProgram('qemu-img', ['compare', '-F', 'vmdk', raw, join(into, 'd.vmdk')]);
  }
  const formats = [
    ['tar', '--format=ustar'],
    ['tar', '--format=gnu'],
    ['tar', '--format=pax'],
    ['bsdtar', '--format=pax'],
  ] as const;
  for (const [program, format] of formats) {
    const theirs = join(folder, `${program}${format}.ova`);
    await runProgram(program, [
      '-cf',
      theirs,
      format,
      '-C',
      join(folder, 'tar'),
      'web.ovf',
      'web.mf',
      'd.vmdk',
    ]);
    const reading = await openOva(createReadStream(theirs));
    assert.deepEqual(readOvf(reading.document).result.disks, [
      { ...description.disks[0], source: { kind: 'file', location: 'd.vmdk' } },
    ]);
    const names: string[] = [];
    for await (const { name } of reading.files()) names.push(name);
    assert.deepEqual(names, ['d.vmdk'], format);
    assert.ok(
      reading.findings()?.every(({ state }) => state === 'right'),
      format,
    );
  }
  assert.ok((await readdir(folder)).includes('web.ova'));
});

/** Our manifest as `sha256sum -c` wants it. */
async function sums(manifest: string): Promise<string> {
  const text = await readFile(manifest, 'utf8');
  return text.replaceAll(/^SHA256\((.*)\)= ([0-9a-f]+)$/gm, '$2  $1');
}

test('a member beyond 8 GiB is read by others, and by us', { timeout: 120_000 }, async (t) => {
  const folder = await temporaryFolder(t);
  const large = join(folder, 'large.vmdk');
  await writeFile(large, '');
  await truncate(large, 8 * 1024 * MiB + 512);
  for (const format of ['gnu', 'pax']) {
    const archive = join(folder, `${format}.tar`);
    await writeFile(join(folder, 'x.ovf'), '<a/>');
    // Only the headers are of interest: what follows them would be 8 GiB of zeros.
    const script = `tar -cf - --format=${format} -C "$0" x.ovf large.vmdk | head -c 8192 > "$1"`;
    await runProgram('sh', ['-c', script, folder, archive]);
    const reading = await openOva(createReadStream(archive));
    const files = reading.files()[Symbol.asyncIterator]();
    const { value } = await files.next();
    assert.equal((value as { size: number } | undefined)?.size, 8 * 1024 * MiB + 512, format);
    await reading.close();
  }
  const { stdout } = await runProgram('tar', ['-tvf', '-'], { input: await firstBytes(), accept: [0, 2] });
  assert.match(stdout, /8589935104.*large\.vmdk/);
});

/** The beginning of an archive of ours with a member of more than 8 GiB. */
async function firstBytes(): Promise<Uint8Array> {
  const body = [Buffer.alloc(512)];
  for await (const header of writeTar([{ name: 'large.vmdk', size: 8 * 1024 * MiB + 512, body }]))
    return header;
  throw new Error('nothing was written');
}
