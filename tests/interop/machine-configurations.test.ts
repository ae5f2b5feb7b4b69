/** Configurations that Prima writes, before those who have to take them: libvirt's schemas, QEMU itself. */
import assert from 'node:assert/strict';
import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { MiB, runProgram, seededRandom } from '@prima/base';
import {
  type MachineDescription,
  readQemuArguments,
  writeDomain,
  writeQemuArguments,
  writeXml,
} from '@prima/formats';
import { temporaryFolder } from '@prima/testbed';
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
