/** A user's own daemon, run by somebody without rights: seen, read hot and cold, restored, by that user and by root through SSH. */
import assert from 'node:assert/strict';
import { access, cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { runProgram } from '@prima/base';
import { openLibvirtHost } from '@prima/platforms';
import { buildTinyGuest, runPrima, startLibvirtSession, startSshServer, waitUntil } from '@prima/testbed';

interface Backup {
  result: {
    results: [{ point: { disks: { whyFull?: string }[]; mode: string; quiesced: boolean; notes: string[] } }];
  };
}

async function sessionWorld(t: TestContext) {
  const session = await startLibvirtSession(t);
  const env = {
    ...session.env,
    PRIMA_HOME: join(session.folder, 'prima'),
    PRIMA_REPO: join(session.folder, 'repository'),
    PRIMA_PASSPHRASE: 'a passphrase of the tests',
  };
  const prima = async (...args: string[]) => {
    const { status, stdout, stderr } = await runPrima(args, { env, within: session.within, cwd: '/' });
    assert.equal(status, 0, `prima ${args.join(' ')}: ${stdout}${stderr}`);
    return stdout;
  };
  const pointOf = async (machine: string) => {
    const printed = await prima('--json', '--quiet', 'backup', machine);
    const { result } = JSON.parse(printed.trim().split('\n').at(-1) ?? '') as Backup;
    return result.results[0].point;
  };
  await prima('init');
  await prima('host', 'add', 'mine', 'qemu:///session');
  const define = async (name: string, os: string, devices: string) => {
    const path = join(session.disks, `${name}.xml`);
    await writeFile(
      path,
      `<domain type='qemu'><name>${name}</name><memory unit='MiB'>192</memory><os><type arch='x86_64' machine='q35'>hvm</type>${os}</os><features><acpi/></features><cpu mode='maximum'/><devices>${devices}<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>`,
    );
    await session.own();
    await session.virsh('define', path);
  };
  return { ...session, prima, pointOf, define };
}

const diskXml = (path: string) =>
  `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${path}'/><target dev='vda' bus='virtio'/></disk>`;

test('a machine of a user without rights is backed up and comes back', async (t) => {
  const world = await sessionWorld(t);
  const { prima, pointOf, define, virsh, disks } = world;
  const guest = await buildTinyGuest();
  const [kernel, initrd] = [join(disks, 'kernel'), join(disks, 'initrd')];
  await cp(guest.kernel, kernel);
  await cp(guest.initrd, initrd);
  const raw = join(disks, 'raw');
  await guest.rootDisk(raw);
  await runProgram('qemu-img', ['convert', '-O', 'qcow2', raw, join(disks, 'web.qcow2')]);
  const append = guest.kernelArguments({});
  await define(
    'web',
    `<kernel>${kernel}</kernel><initrd>${initrd}</initrd><cmdline>${append}</cmdline>`,
    `${diskXml(join(disks, 'web.qcow2'))}<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>`,
  );
  await prima('machine', 'start', 'mine/web');
  await waitUntil(async () => /Guest agent +answers/.test(await prima('machine', 'show', 'mine/web')), {
    what: 'the agent of web',
    timeoutMs: 120_000,
    intervalMs: 500,
  });
  const first = await pointOf('mine/web');
  assert.deepEqual([first.mode, first.quiesced], ['hot', true]);
  const second = await pointOf('mine/web');
  assert.equal(second.disks[0]?.whyFull, undefined);
  await virsh('destroy', 'web');
  await prima('machine', 'delete', 'mine/web');
  await assert.rejects(access(join(disks, 'web.qcow2')));
  await rm(disks, { recursive: true });
  const images = join(world.folder, '.local/share/libvirt/images');
  await mkdir(images, { recursive: true });
  await world.own();
  await prima('restore', 'latest', '--to-host', 'mine');
  await access(join(images, 'web.qcow2'));
});

test('its firmware and TPM come back, also by somebody else through SSH', async (t) => {
  const world = await sessionWorld(t);
  const { prima, pointOf, define, virsh, config, disks, own } = world;
  await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', join(disks, 'safe.qcow2'), '16M']);
  const nvram = "<nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'/>";
  await define(
    'safe',
    `<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>${nvram}`,
    `${diskXml(join(disks, 'safe.qcow2'))}<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>`,
  );
  await virsh('start', 'safe', '--paused'); // both are made by a start
  await virsh('destroy', 'safe');
  const variables = join(config, 'qemu/nvram/safe_VARS.fd');
  const changed = await readFile(variables);
  changed.write('changed by a guest', 4096);
  await writeFile(variables, changed);
  await own();
  const uuid = async (name: string) => (await virsh('domuuid', name)).trim();
  const tpm = (id: string) => join(config, 'qemu/swtpm', id, 'tpm2/tpm2-00.permall');
  const state = await readFile(tpm(await uuid('safe')));
  assert.equal((await pointOf('mine/safe')).mode, 'cold');
  await prima('restore', 'latest', '--to-host', 'mine', '--as', 'copy');
  assert.deepEqual(await readFile(join(config, 'qemu/nvram/copy_VARS.fd')), changed);
  assert.deepEqual(await readFile(tpm(await uuid('copy'))), state);

  await using sshd = await startSshServer();
  const query = new URLSearchParams({
    socket: world.socket,
    keyfile: sshd.identity,
    known_hosts: sshd.knownHosts,
  });
  const far = openLibvirtHost(
    'far',
    `qemu+ssh://${sshd.user}@127.0.0.1:${sshd.port}/session?${query.toString()}`,
  );
  t.after(() => far.close());
  const reading = await far.openForBackup(await far.find('safe'), { mode: 'cold', owner: 'other' });
  const fileOf = (name: string) => Buffer.from(reading.files.find((file) => file.name === name)?.bytes ?? []);
  assert.deepEqual(fileOf('tpm2-00.permall'), state);
  assert.deepEqual(fileOf('nvram.fd'), changed);
  const bytes = new Uint8Array(4096);
  await reading.disks[0]?.device.read(0, bytes);
  await reading.close();
});
