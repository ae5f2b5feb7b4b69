/**
 * AES-256-GCM for whole chunks, from one piece of memory into another. `node:crypto` makes new memory for each result
 * and looks its cipher up anew each time, which costs four times as much as encrypting itself does; so the OpenSSL that
 * is in Node already is called by its own C interface (EVP_EncryptInit(3) of OpenSSL 3). Where that cannot be done,
 * `node:crypto` does it, and `reason` says why. Both make the same bytes.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import { createRequire } from 'node:module';
import { PrimaError } from '@prima/base';
import { directly } from '../direct.ts';

/** What bytes are sealed with. */
export interface GcmSeal {
  /** 32 bytes. */
  key: Uint8Array;
  /** 12 bytes, never the same twice for one key. */
  nonce: Uint8Array;
  /** Authenticated with them, not encrypted. */
  about: Uint8Array;
}

/** One thread's AES-256-GCM with tags of 16 bytes. */
export interface AesGcm {
  /** Why `node:crypto` is used instead of OpenSSL itself; undefined when it is not. */
  readonly reason: string | undefined;
  /** Encrypts `plain` into the first bytes of `into` (it may be the same memory), and fills `tag`. */
  encrypt(seal: GcmSeal, plain: Uint8Array, into: Uint8Array, tag: Uint8Array): void;
  /**
   * Decrypts `body` into `into`, which has as many bytes; they may be filled whatever is returned.
   * @returns false when body, tag and seal do not belong together
   */
  decrypt(seal: GcmSeal, body: Uint8Array, into: Uint8Array, tag: Uint8Array): boolean;
}

/** This thread's AES-256-GCM for blobs of so many plain bytes. */
export const aesGcmFor = directly<AesGcm>({
  name: 'OpenSSL',
  plain: plainAesGcm,
  native: () => new NativeAesGcm(),
});

/** AES-256-GCM through `node:crypto`. */
export function plainAesGcm(reason: string): AesGcm {
  const name = 'aes-256-gcm';
  return {
    reason,
    encrypt: ({ key, nonce, about }, plain, into, tag) => {
      const cipher = createCipheriv(name, key, nonce).setAAD(about);
      // Buffer's copy is as quick at odd offsets of shared memory; set() takes seven times as long there
      cipher.update(plain).copy(into);
      cipher.final();
      tag.set(cipher.getAuthTag());
    },
    decrypt: ({ key, nonce, about }, body, into, tag) => {
      const decipher = createDecipheriv(name, key, nonce).setAAD(about).setAuthTag(tag);
      decipher.update(body).copy(into);
      try {
        decipher.final();
      } catch {
        return false; // all that final() can say
      }
      return true;
    },
  };
}

/** EVP_CIPHER_CTX_ctrl(3). */
const getTag = 0x10;
const setTag = 0x11;
const tagBytes = 16;

class NativeAesGcm implements AesGcm {
  readonly reason = undefined;
  readonly #library = loadLibrary();
  readonly #cipher: unknown;
  /** How many bytes a call has made: it is that of what it got, so nobody looks. */
  readonly #made = new Int32Array(1);

  constructor() {
    this.#cipher = this.#library.fetch(null, 'AES-256-GCM', null);
    if (this.#cipher === null) throw new PrimaError('state', 'it has no AES-256-GCM');
  }

  encrypt({ key, nonce, about }: GcmSeal, plain: Uint8Array, into: Uint8Array, tag: Uint8Array): void {
    const { encryptInit, encryptUpdate, encryptFinal, control } = this.#library;
    this.#withContext((context) => {
      succeed(encryptInit(context, this.#cipher, null, key, nonce), 'preparing to encrypt');
      succeed(encryptUpdate(context, null, this.#made, about, about.length), 'authenticating');
      succeed(encryptUpdate(context, into, this.#made, plain, plain.length), 'encrypting');
      succeed(encryptFinal(context, into, this.#made), 'encrypting the end');
      succeed(control(context, getTag, tagBytes, tag), 'taking the tag');
    });
  }

  decrypt({ key, nonce, about }: GcmSeal, body: Uint8Array, into: Uint8Array, tag: Uint8Array): boolean {
    const { decryptInit, decryptUpdate, decryptFinal, control, clearErrors } = this.#library;
    return this.#withContext((context) => {
      succeed(decryptInit(context, this.#cipher, null, key, nonce), 'preparing to decrypt');
      succeed(control(context, setTag, tagBytes, tag), 'giving the tag');
      succeed(decryptUpdate(context, null, this.#made, about, about.length), 'authenticating');
      succeed(decryptUpdate(context, into, this.#made, body, body.length), 'decrypting');
      if (decryptFinal(context, into, this.#made) === 1) return true;
      clearErrors(); // or node:crypto takes it for an error of its own next call
      return false;
    });
  }

  /** Holds both directions against `node:crypto`, so that whatever does not fit is found here. */
  tryOut(): void {
    const seal = { key: Buffer.alloc(32, 1), nonce: Buffer.alloc(12, 2), about: Buffer.from('about') };
    const plain = Buffer.alloc(100_003, 'prima');
    const into = Buffer.alloc(plain.length);
    const expected = Buffer.alloc(plain.length);
    const tag = Buffer.alloc(tagBytes);
    const expectedTag = Buffer.alloc(tagBytes);
    this.encrypt(seal, plain, into, tag);
    plainAesGcm('to compare with').encrypt(seal, plain, expected, expectedTag);
    const isSame = into.equals(expected) && tag.equals(expectedTag);
    if (!isSame || !this.decrypt(seal, into, into, tag) || !into.equals(plain))
      throw new PrimaError('state', 'it does not encrypt as node:crypto does');
    tag[0] = (tag[0] ?? 0) ^ 1;
    if (this.decrypt(seal, expected, into, tag)) throw new PrimaError('state', 'it takes a wrong tag');
  }

  /** A context of its own for each message: what is kept in C's memory would stay there when the thread ends. */
  #withContext<T>(work: (context: unknown) => T): T {
    const context = this.#library.newContext();
    if (context === null) throw new PrimaError('state', 'OpenSSL has no memory for encrypting');
    try {
      return work(context);
    } finally {
      this.#library.freeContext(context);
    }
  }
}

function succeed(status: number, doing: string): void {
  if (status !== 1) throw new PrimaError('internal', `${doing}: OpenSSL refuses (${status})`);
}

type Init = (
  context: unknown,
  cipher: unknown,
  ...from: [engine: null, key: Uint8Array, nonce: Uint8Array]
) => number;
/** Without `into`, what comes is authenticated only. */
type Update = (
  context: unknown,
  into: Uint8Array | null,
  made: Int32Array,
  ...from: [bytes: Uint8Array, length: number]
) => number;
type Final = (context: unknown, into: Uint8Array, made: Int32Array) => number;

/** The functions of evp.h; memory is passed by its address, 1 is success. */
interface Library {
  fetch: (library: null, name: string, properties: null) => unknown;
  newContext: () => unknown;
  freeContext: (context: unknown) => void;
  control: (context: unknown, command: number, length: number, memory: Uint8Array) => number;
  encryptInit: Init;
  encryptUpdate: Update;
  encryptFinal: Final;
  decryptInit: Init;
  decryptUpdate: Update;
  decryptFinal: Final;
  clearErrors: () => void;
}

function loadLibrary(): Library {
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
  const process = koffi.load(null);
  const call = (prototype: string) => process.func(prototype) as never;
  const init = (name: string) => call(`int ${name}(void *, void *, void *, const void *, const void *)`);
  const update = (name: string) => call(`int ${name}(void *, void *, void *, const void *, int)`);
  const final = (name: string) => call(`int ${name}(void *, void *, void *)`);
  return {
    fetch: call('void *EVP_CIPHER_fetch(void *, const char *, const char *)'),
    newContext: call('void *EVP_CIPHER_CTX_new()'),
    freeContext: call('void EVP_CIPHER_CTX_free(void *)'),
    control: call('int EVP_CIPHER_CTX_ctrl(void *, int, int, void *)'),
    encryptInit: init('EVP_EncryptInit_ex'),
    encryptUpdate: update('EVP_EncryptUpdate'),
    encryptFinal: final('EVP_EncryptFinal_ex'),
    decryptInit: init('EVP_DecryptInit_ex'),
    decryptUpdate: update('EVP_DecryptUpdate'),
    decryptFinal: final('EVP_DecryptFinal_ex'),
    clearErrors: call('void ERR_clear_error()'),
  };
}
