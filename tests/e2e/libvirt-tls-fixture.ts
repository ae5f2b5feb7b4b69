/**
 * The command line and a libvirt host that it reaches by TLS alone, as `far`: its daemon and the NBD servers of its QEMU, each
 * with certificates on both sides. Nothing of it is at hand: no socket, no folder.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { Certificates, freePorts, runPrima, temporaryFolder } from '@prima/testbed';
import { libvirtWorld } from './libvirt-fixture.ts';

interface Backup {
  result: { results: [{ point: { disks: { whyFull?: string }[]; notes: string[]; mode: string } }] };
}

export async function tlsWorld(t: TestContext) {
  const folder = await temporaryFolder(t);
  const certificates = new Certificates(folder);
  await certificates.makeAuthority('authority');
  await certificates.makeAuthority('stranger');
  await certificates.makeCertificate('server', 'authority');
  await certificates.makeCertificate('client', 'authority');
  await certificates.makeCertificate('other', 'authority', 'DNS:elsewhere');
  await certificates.makeCertificate('foreign', 'stranger');
  const pki = await certificates.clientFolder('pki', 'authority', 'client');
  const qemu = await certificates.qemuFolder('qemu', 'authority', 'server');
  const [port = 0] = await freePorts(1);
  const world = await libvirtWorld(t, {
    arguments: ['--listen'],
    config: `
listen_tcp = 0
listen_tls = 1
listen_addr = "127.0.0.1"
tls_port = "${port}"
auth_tls = "none"
ca_file = "${certificates.cert('authority')}"
cert_file = "${certificates.cert('server')}"
key_file = "${certificates.key('server')}"
`,
    qemuConfig: `backup_tls_x509_cert_dir = "${qemu}"\nbackup_tls_x509_verify = 1\n`,
  });
  const env = {
    PRIMA_HOME: join(folder, 'home'),
    PRIMA_REPO: join(folder, 'repository'),
    PRIMA_PASSPHRASE: 'a passphrase of the tests',
  };
  const run = (...args: string[]) => runPrima(args, { env });
  const prima = async (...args: string[]) => {
    const { status, stdout, stderr } = await run(...args);
    assert.equal(status, 0, `prima ${args.join(' ')}: ${stdout}${stderr}`);
    return stdout;
  };
  const uri = `qemu+tls://localhost:${port}/system?pkipath=${pki}`;
  await prima('init');
  await prima('host', 'add', 'far', uri);
  return { ...world, certificates, uri, run, prima };
}

/** Backs up the machine `web`. */
export async function pointOf({ prima }: Awaited<ReturnType<typeof tlsWorld>>, ...args: string[]) {
  const printed = await prima('--json', '--quiet', 'backup', 'far/web', ...args);
  const { result } = JSON.parse(printed.trim().split('\n').at(-1) ?? '') as Backup;
  return result.results[0].point;
}
