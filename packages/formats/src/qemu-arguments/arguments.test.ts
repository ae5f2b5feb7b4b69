import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FormatError, GiB, MiB, seededRandom } from '@prima/base';
import { assertCarried } from '../machine/carried-fixture.ts';
import { randomDescription } from '../machine/description-fixture.ts';
import { joinCommand, splitCommand } from './command-text.ts';
import { readQemuArguments } from './read-arguments.ts';
import { writeQemuArguments } from './write-arguments.ts';

/** By us: a script as people keep for a machine on a plain host. */
const script = `qemu-system-x86_64 -name 'web 1',process=web1 -enable-kvm -M q35 -cpu host,+vmx \\
  -smp 4,cores=2,threads=2 -m 2G \\
  -drive if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE.fd \\
  -drive if=pflash,format=raw,file=/srv/web/vars.fd \\
  -drive file=/srv/web/root.qcow2,if=virtio,format=qcow2,cache=none \\
  -blockdev driver=file,node-name=f1,filename=/srv/web/data.raw \\
  -blockdev '{"driver":"raw","node-name":"d1","file":"f1","read-only":true}' \\
  -device virtio-scsi-pci,id=scsi1 -device scsi-hd,bus=scsi1.0,drive=d1,serial=S2,bootindex=1 \\
  -cdrom debian.iso \\
  -nic user,model=virtio-net-pci,mac=52:54:00:01:02:03,hostfwd=tcp::2222-:22 \\
  -vga virtio -display none -vnc 127.0.0.1:1 -serial unix:/run/web.serial,server=on,wait=off \\
  -device virtio-rng-pci -qmp unix:/run/web.qmp,server=on,wait=off   # by hand
`;

test('the command line of a plain host is read, and the rest is listed', () => {
  const { result, notCarried } = readQemuArguments(splitCommand(script), 'x');
  assert.deepEqual(result, {
    name: 'web 1',
    memoryBytes: 2 * GiB,
    cpus: { count: 4, topology: { sockets: 1, cores: 2, threads: 2 }, model: 'host' },
    machineType: 'q35',
    firmware: { kind: 'uefi', loader: '/usr/share/OVMF/OVMF_CODE.fd', nvram: '/srv/web/vars.fd' },
    scsiControllers: [{ index: 1, model: 'virtio-scsi' }],
    disks: [
      {
        slot: { bus: 'scsi', controller: 1, unit: 0 },
        source: { kind: 'file', location: '/srv/web/data.raw' },
        format: 'raw',
        readOnly: true,
        serial: 'S2',
        bootIndex: 1,
      },
      {
        slot: { bus: 'virtio', controller: 0, unit: 0 },
        source: { kind: 'file', location: '/srv/web/root.qcow2' },
        format: 'qcow2',
      },
    ],
    cdroms: [
      { slot: { bus: 'sata', controller: 0, unit: 2 }, source: { kind: 'file', location: 'debian.iso' } },
    ],
    nics: [{ model: 'virtio', mac: '52:54:00:01:02:03', network: { kind: 'nat' } }],
    video: { model: 'virtio' },
    displays: [{ kind: 'vnc', port: 5901, listen: '127.0.0.1' }],
    serialPorts: [{ kind: 'unix', target: '/run/web.serial', server: true }],
  });
  assert.deepEqual(
    notCarried.map(({ where }) => where.replace(/^(-\S+).*(, \S+)$/, '$1$2').slice(0, 40)),
    ['-cpu, +vmx', '-drive, cache', '-nic, hostfwd', '-device virtio-rng-pci'],
  );
});

test('what QEMU adds by itself is part of the machine', () => {
  const { result } = readQemuArguments(['-hda', 'a.img', 'b.img'], 'x');
  assert.equal(result.memoryBytes, 128 * MiB);
  assert.deepEqual(result.nics, [{ model: 'e1000', network: { kind: 'nat' } }]);
  assert.deepEqual(
    result.disks.map(({ slot }) => slot.unit),
    [0, 1],
  );
  assert.deepEqual(readQemuArguments(['-nic', 'none'], 'x').result.nics, []);
  assert.deepEqual(
    readQemuArguments(['-net', 'nic,model=rtl8139', '-net', 'tap,ifname=tap0'], 'x').result.nics,
    [{ model: 'rtl8139', network: { kind: 'tap', name: 'tap0' } }],
  );
});

test('a shell is needed for some command lines, and they are refused', () => {
  assert.deepEqual(splitCommand(`a "b \\"c" d\\ e '' \\\n f#g # h\n'i'"j"`), [
    'a',
    'b "c',
    'd e',
    '',
    'f#g',
    'ij',
  ]);
  for (const text of ['qemu -m $MEM', 'a `b`', 'a | b', 'a > b', 'a; b', 'a "$(b)"', "a 'b", 'a *.img']) {
    assert.throws(() => splitCommand(text), FormatError, text);
  }
  const words = ['', "it's", 'a b', '-drive', 'file=/x,,y', '$HOME', '\n', 'ü'];
  assert.deepEqual(splitCommand(joinCommand(words)), words);
});

test('what is no option is refused with what was found', () => {
  for (const words of [['-m', 'much'], ['-m'], ['-smp', 'x'], ['-device', '{'], ['-uuid', 'none']]) {
    assert.throws(() => readQemuArguments(words, 'x'), FormatError, words.join(' '));
  }
});

test('a description comes back, but for what is listed', () => {
  const seed = Number(process.env['PRIMA_SEED'] ?? Date.now() % 1e9);
  const random = seededRandom(seed);
  for (let round = 0; round < 200; round += 1) {
    const description = randomDescription(random);
    const written = writeQemuArguments(description);
    const read = readQemuArguments(splitCommand(joinCommand(written.result)), 'x').result;
    assertCarried(description, written, read, `seed ${seed}, round ${round}`);
  }
});
