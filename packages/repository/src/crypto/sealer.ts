/**
 * Turns plain bytes into blobs and back: id, compression, encryption. Pure but for the random salt
 * that is passed in; used on the workers for chunks and on the main thread for small metadata.
 */
import { createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { assert, IntegrityError, MiB, PrimaError } from '@prima/base';
import { zstdFor } from '../compression/zstd.ts';
import {
  type BlobHeader,
  type BlobType,
  blobHeaderBytes,
  blobOverheadBytes,
  blobTagBytes,
  compression,
  parseBlobHeader,
  writeBlobHeader,
} from '../format/blob.ts';
import { aesGcmFor } from './aes-gcm.ts';

/** The secrets and constants that sealing and opening need; can be cloned to a worker. */
export interface SealingKeys {
  /** 16 bytes. */
  repositoryId: Uint8Array;
  idKey: Uint8Array;
  epochs: { epoch: number; key: Uint8Array }[];
  /** The epoch for writing, for sealers that start now. */
  epoch: number;
  /** zstd level. */
  level: number;
}

/** Compression must win at least this share of the plain length, otherwise bytes are stored as they are. */
const worthwhile = 0.97;
/** So many epochs beyond the newest are taken for real; more are a damaged header. */
const epochsToCome = 64;
/** Frames of chunks fit; those of large segments get memory of their own. */
const keptFrameBytes = 4 * MiB;
const nothing = Buffer.alloc(0);

/** HMAC(idKey, type ‖ plain). */
export function blobId(keys: SealingKeys, type: BlobType, plain: Uint8Array): Buffer {
  return createHmac('sha256', keys.idKey).update(Buffer.of(type)).update(plain).digest();
}

/** What is to be sealed. */
export interface Plain {
  type: BlobType;
  id: Uint8Array;
  plain: Uint8Array;
  /** The object's key, for blobs that are objects of their own; blobs in packs have none. */
  objectKey?: string;
}

export class Sealer {
  readonly #keys: SealingKeys;
  readonly #salt = randomBytes(16);
  /** That of the start: a newer key set may change the one in `keys` meanwhile. */
  readonly #epoch: number;
  readonly #key: Buffer;
  #counter = 0;

  /** One sealer per thread and start: its salt is fresh, so its counters never repeat a nonce. */
  constructor(keys: SealingKeys) {
    this.#keys = keys;
    this.#epoch = keys.epoch;
    this.#key = deriveKey(keys, keys.epoch, this.#salt);
  }

  /**
   * Seals `plain` into `into` at `offset` and returns the blob's length.
   * `into` must have room for the plain length and `blobOverheadBytes`.
   */
  seal({ type, id, plain, objectKey = '' }: Plain, into: Uint8Array, offset: number): number {
    assert(plain.length + blobOverheadBytes <= into.length - offset, 'a blob has room');
    const start = offset + blobHeaderBytes;
    const packed = this.#compress(plain, into.subarray(start));
    const body = packed ?? plain;
    const header = into.subarray(offset, start);
    const counter = this.#counter;
    this.#counter += 1;
    writeBlobHeader(
      {
        type,
        compression: packed ? compression.zstd : compression.none,
        epoch: this.#epoch,
        id,
        salt: this.#salt,
        counter,
        plainLength: plain.length,
        cipherLength: body.length,
      },
      header,
    );
    const end = start + body.length;
    const seal = { key: this.#key, nonce: nonceOf(counter), about: aboutBlob(this.#keys, header, objectKey) };
    aesGcmFor(plain.length).encrypt(
      seal,
      body,
      into.subarray(start, end),
      into.subarray(end, end + blobTagBytes),
    );
    return body.length + blobOverheadBytes;
  }

  /** Seals small metadata into a buffer of its own. */
  sealObject(type: BlobType, plain: Uint8Array, objectKey: string): Uint8Array {
    const into = Buffer.alloc(plain.length + blobOverheadBytes);
    const id = blobId(this.#keys, type, plain);
    const length = this.seal({ type, id, plain, objectKey }, into, 0);
    return into.subarray(0, length);
  }

  /** Compresses into `into` where that is worth it. */
  #compress(plain: Uint8Array, into: Uint8Array): Uint8Array | undefined {
    if (plain.length < 64) return undefined;
    const room = into.subarray(0, Math.floor(plain.length * worthwhile));
    const length = zstdFor(plain.length).compress(plain, room, this.#keys.level);
    return length === undefined ? undefined : room.subarray(0, length);
  }
}

/** What a blob must be, and where its bytes are to go. */
export interface WantedBlob {
  type: BlobType;
  /** Where it is known. */
  id?: Uint8Array;
  objectKey?: string;
  /** Memory of exactly its plain length; it may be filled even when an error is raised. */
  into?: Uint8Array;
}

export class Opener {
  readonly #keys: SealingKeys;
  /** Derived keys by epoch and salt; bounded, oldest out. */
  readonly #derived = new Map<string, Buffer>();
  /** For what is decrypted and not yet decompressed. */
  #frame = nothing;

  constructor(keys: SealingKeys) {
    this.#keys = keys;
  }

  /**
   * Opens one blob and checks everything: header, tag, length and id.
   * @param wanted the type and (where known) the id that the blob must have
   * @param where names the place in errors
   * @returns the plain bytes: `wanted.into`, or new memory
   */
  open(blob: Uint8Array, wanted: WantedBlob, where: string): Buffer {
    const plain = this.decode(blob, wanted, where);
    const id = blob.subarray(16, 48);
    if (!blobId(this.#keys, wanted.type, plain).equals(id)) {
      throw new IntegrityError(`${where}: the content is not what its id says`);
    }
    return plain;
  }

  /** `open` without recomputing the id: for reading back what was sealed from known bytes. */
  decode(blob: Uint8Array, wanted: WantedBlob, where: string): Buffer {
    const header = parseBlobHeader(blob, where);
    if (header.type !== wanted.type || (wanted.id && Buffer.compare(header.id, wanted.id) !== 0)) {
      throw new IntegrityError(`${where}: another blob lies where this one should be`);
    }
    const seal = {
      key: this.#keyFor(header.epoch, header.salt, where),
      nonce: nonceOf(header.counter),
      about: aboutBlob(this.#keys, blob.subarray(0, blobHeaderBytes), wanted.objectKey ?? ''),
    };
    const end = blob.length - blobTagBytes;
    const body = this.#bodyMemory(header, wanted.into);
    const gcm = aesGcmFor(header.plainLength);
    if (!gcm.decrypt(seal, blob.subarray(blobHeaderBytes, end), body, blob.subarray(end)))
      throw new IntegrityError(
        `${where}: the blob was changed after it was written (its tag does not match)`,
      );
    return plainOf(body, header, wanted.into, where);
  }

  /** Where a body is decrypted to: the place of the plain bytes, or memory for frames that is kept. */
  #bodyMemory({ compression: how, cipherLength }: BlobHeader, into: Uint8Array | undefined): Buffer {
    if (how === compression.none)
      return into?.length === cipherLength ? viewOf(into) : Buffer.allocUnsafeSlow(cipherLength);
    if (cipherLength > keptFrameBytes) return Buffer.allocUnsafeSlow(cipherLength);
    if (this.#frame.length < cipherLength) this.#frame = Buffer.allocUnsafeSlow(cipherLength);
    return this.#frame.subarray(0, cipherLength);
  }

  #keyFor(epoch: number, salt: Uint8Array, where: string): Buffer {
    const name = `${epoch}:${Buffer.from(salt).toString('latin1')}`;
    const known = this.#derived.get(name);
    if (known) return known;
    if (!this.#keys.epochs.some((entry) => entry.epoch === epoch)) throw this.#unknownEpoch(epoch, where);
    const key = deriveKey(this.#keys, epoch, salt);
    if (this.#derived.size >= 1024) {
      const [oldest] = this.#derived.keys();
      if (oldest !== undefined) this.#derived.delete(oldest);
    }
    this.#derived.set(name, key);
    return key;
  }

  /** A blob of an epoch to come is no damage: it is the key set that is too old. */
  #unknownEpoch(epoch: number, where: string): PrimaError {
    const newest = Math.max(...this.#keys.epochs.map((entry) => entry.epoch));
    if (epoch <= newest || epoch > newest + epochsToCome)
      return new IntegrityError(`${where}: the blob's key epoch ${epoch} is not in the key set`);
    return new PrimaError(
      'wrong-key',
      `${where} was written with data key ${epoch}, but the newest key set that is there ends with ${newest}: newer key sets are missing, the repository was rolled back`,
    );
  }
}

function plainOf(body: Buffer, header: BlobHeader, into: Uint8Array | undefined, where: string): Buffer {
  const { plainLength } = header;
  const isPlain = header.compression === compression.none;
  if (into && plainLength !== into.length)
    throw new IntegrityError(`${where}: the blob has ${plainLength} bytes, wanted ${into.length}`);
  if (isPlain) return body;
  const plain = into ? viewOf(into) : Buffer.allocUnsafeSlow(plainLength);
  try {
    zstdFor(plainLength).decompress(body, plain);
  } catch (error) {
    throw new IntegrityError(`${where}: the blob does not decompress`, { cause: error });
  }
  return plain;
}

function viewOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function deriveKey(keys: SealingKeys, epoch: number, salt: Uint8Array): Buffer {
  const master = keys.epochs.find((entry) => entry.epoch === epoch)?.key ?? nothing;
  assert(master.length === 32, `there is a data key of epoch ${epoch}`);
  return Buffer.from(hkdfSync('sha256', master, salt, 'prima blob 1', 32));
}

function nonceOf(counter: number): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeBigUInt64LE(BigInt(counter), 4);
  return nonce;
}

function aboutBlob(keys: SealingKeys, header: Uint8Array, objectKey: string): Buffer {
  return Buffer.concat([keys.repositoryId, header, Buffer.from(objectKey)]);
}
