/** Passwords as Argon2id (RFC 9106), in PHC strings. */
import { argon2, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

const derive = promisify(argon2);
/** The first choice of OWASP's password storage cheat sheet of 2024 for servers: 19 MiB, two passes, one lane. */
const cost = { memory: 19 * 1024, passes: 2, parallelism: 1 };
const saltBytes = 16;
const tagLength = 32;
/** So many at once: each takes memory and a processor. */
const atOnce = 2;
let running = 0;
const waiting: (() => void)[] = [];

export async function hashPassword(password: string): Promise<string> {
  const nonce = randomBytes(saltBytes);
  const tag = await limited({ ...cost, message: Buffer.from(password.normalize('NFC')), nonce, tagLength });
  const text = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '');
  return `$argon2id$v=19$m=${cost.memory},t=${cost.passes},p=${cost.parallelism}$${text(nonce)}$${text(tag)}`;
}

/** Also of nobody's password (`undefined`), which takes as long and is false. */
export async function isPassword(password: string, hash: string | undefined): Promise<boolean> {
  const pattern = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/;
  const [, memory, passes, parallelism, salt = '', tag = ''] = pattern.exec(hash ?? '') ?? [];
  const wanted = Buffer.from(tag, 'base64');
  const found = await limited({
    message: Buffer.from(password.normalize('NFC')),
    nonce: salt === '' ? Buffer.alloc(saltBytes) : Buffer.from(salt, 'base64'),
    memory: Number(memory ?? cost.memory),
    passes: Number(passes ?? cost.passes),
    parallelism: Number(parallelism ?? cost.parallelism),
    tagLength: wanted.length || tagLength,
  });
  return wanted.length > 0 && timingSafeEqual(found, wanted);
}

async function limited(parameters: Parameters<typeof derive>[1]): Promise<Buffer> {
  if (running >= atOnce) await new Promise<void>((resolve) => waiting.push(resolve));
  else running += 1;
  try {
    return await derive('argon2id', parameters);
  } finally {
    const next = waiting.shift();
    if (next) next();
    else running -= 1;
  }
}
