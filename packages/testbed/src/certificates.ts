/** Authorities and certificates for TLS between programs of a test, made by openssl. They are good for two days. */
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { runProgram } from '@prima/base';

const newKey = ['-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];

/** In one folder: `NAME.pem` and `NAME-key.pem` of each. */
export class Certificates {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  cert(name: string): string {
    return join(this.#folder, `${name}.pem`);
  }

  key(name: string): string {
    return join(this.#folder, `${name}-key.pem`);
  }

  async makeAuthority(name: string): Promise<void> {
    const files = ['-keyout', this.key(name), '-out', this.cert(name)];
    await runProgram('openssl', ['req', '-x509', ...newKey, '-subj', `/CN=${name}`, '-days', '2', ...files]);
  }

  /** For `names`, signed by an authority. */
  async makeCertificate(name: string, authority: string, names = 'DNS:localhost'): Promise<void> {
    const request = join(this.#folder, `${name}.csr`);
    const subject = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=${names}`];
    await runProgram('openssl', ['req', ...newKey, ...subject, '-keyout', this.key(name), '-out', request]);
    const signer = ['-CA', this.cert(authority), '-CAkey', this.key(authority), '-CAcreateserial'];
    const files = ['-in', request, '-out', this.cert(name)];
    await runProgram('openssl', [
      'x509',
      '-req',
      ...files,
      ...signer,
      '-copy_extensions',
      'copy',
      '-days',
      '2',
    ]);
  }

  /** A folder as libvirt's clients want it (`pkipath=`). */
  async clientFolder(name: string, ca: string, client?: string): Promise<string> {
    const folder = join(this.#folder, name);
    await mkdir(folder);
    await copyFile(this.cert(ca), join(folder, 'cacert.pem'));
    if (client !== undefined) {
      await copyFile(this.cert(client), join(folder, 'clientcert.pem'));
      await copyFile(this.key(client), join(folder, 'clientkey.pem'));
    }
    return folder;
  }

  /** A folder as QEMU wants it (`backup_tls_x509_cert_dir`). */
  async qemuFolder(name: string, ca: string, server: string): Promise<string> {
    const folder = join(this.#folder, name);
    await mkdir(folder);
    await copyFile(this.cert(ca), join(folder, 'ca-cert.pem'));
    await copyFile(this.cert(server), join(folder, 'server-cert.pem'));
    await copyFile(this.key(server), join(folder, 'server-key.pem'));
    // else QEMU makes its own, for seconds, at every start of an NBD server
    const group = ['-algorithm', 'DH', '-pkeyopt', 'group:ffdhe2048'];
    await runProgram('openssl', ['genpkey', '-genparam', ...group, '-out', join(folder, 'dh-params.pem')]);
    return folder;
  }
}
