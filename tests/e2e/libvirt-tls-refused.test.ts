/** Disks go over TLS to known clients alone: what a host lacks for that is said before its machines are touched. */
import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { defineGuest } from './libvirt-fixture.ts';
import { tlsWorld } from './libvirt-tls-fixture.ts';

test('disks are served to nobody who is not known', async (t) => {
  const world = await tlsWorld(t);
  const { daemon, certificates, uri, run, prima } = world;
  await defineGuest(world, 'web');
  await daemon.virsh('start', 'web');
  const conf = join(daemon.folder, 'etc/qemu.conf');
  const configured = await readFile(conf, 'utf8');
  const refused = async (text: string, pattern: RegExp) => {
    await writeFile(conf, text);
    await daemon.restart();
    const { status, stderr } = await run('backup', 'far/web');
    assert.notEqual(status, 0);
    assert.match(stderr, pattern);
  };
  await refused(
    configured.replace('_verify = 1', '_verify = 0'),
    /to anybody: set backup_tls_x509_verify = 1/,
  );
  const lines = configured.split('\n').filter((line) => !line.startsWith('backup_tls'));
  await refused(lines.join('\n'), /backup_tls_x509_cert_dir in qemu.conf has to name a folder/);
  const folder = await certificates.qemuFolder('elsewhere', 'authority', 'other');
  await refused(
    configured.replace(/cert_dir = ".*"/, `cert_dir = "${folder}"`),
    /QEMU's certificate has to be for localhost/,
  );
  const strange = await certificates.qemuFolder('strange', 'stranger', 'foreign');
  await refused(
    configured.replace(/cert_dir = ".*"/, `cert_dir = "${strange}"`),
    /ours \(clientcert.pem\) by the one in QEMU's ca-cert.pem/,
  );
  await prima('host', 'add', 'trusting', `${uri}&no_verify=1`);
  assert.match((await run('backup', 'trusting/web')).stderr, /a host that is verified only/);
  assert.deepEqual(
    (await readdir(daemon.disks)).filter((name) => name.startsWith('prima')),
    [],
  );
  assert.equal((await daemon.virsh('checkpoint-list', 'web', '--name')).trim(), '');
  assert.equal((await daemon.virsh('list', '--all', '--name')).trim(), 'web');
});
