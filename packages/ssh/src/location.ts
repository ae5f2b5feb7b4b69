/** Where an SSH server is and who we are there. Secrets are in files, never here. */
export interface SshLocation {
  user: string;
  host: string;
  port: number;
  /** Private key; default: the agent, then ~/.ssh/id_ed25519, id_ecdsa, id_rsa. */
  identityFile?: string;
  /** Holds the passphrase of the private key. */
  passphraseFile?: string;
  /** Holds the password. */
  passwordFile?: string;
  /** Instead of ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts. */
  knownHostsFile?: string;
  /** For all of connecting, and for opening what goes over the connection. */
  timeoutMs: number;
  /** For messages: without parameters. */
  url: string;
  /** How the address names the private key, for messages: `identity`. */
  identityParameter: string;
}
