/** Whether somebody listens on a unix socket, asked without connecting: some servers serve one client and end. */
import { readFile } from 'node:fs/promises';

/** The flag of a listening socket in /proc/net/unix (linux/net.h, __SO_ACCEPTCON). */
const SO_ACCEPTCON = 0x10000;

/** True once a server listens at `path`; its socket has a name a moment before that. */
export async function isListening(path: string): Promise<boolean> {
  const lines = (await readFile('/proc/net/unix', 'utf8')).split('\n');
  return lines.some((line) => {
    const [, , , flags = '', , , , ...name] = line.split(' ').filter((field) => field !== '');
    return name.join(' ') === path && (Number.parseInt(flags, 16) & SO_ACCEPTCON) !== 0;
  });
}
