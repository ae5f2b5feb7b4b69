/** Objects of the verification ledger: docs/format/repository.md, "Verification ledger". */
import { assert, IntegrityError } from '@prima/base';
import { checkMagic } from './blob.ts';

const magic = 0x314c5650; // "PVL1"
const headerBytes = 8;
const entryBytes = 40;
/** Entries in one object at most. */
export const ledgerEntries = 65_536;

export interface LedgerEntry {
  /** Of the pack, 64 hex digits. */
  name: string;
  /** When it was read, seconds since 1970. */
  time: number;
  isGood: boolean;
}

export function writeLedger(entries: readonly LedgerEntry[]): Uint8Array {
  assert(entries.length <= ledgerEntries, 'a ledger object has a bound');
  const bytes = Buffer.alloc(headerBytes + entries.length * entryBytes);
  bytes.writeUInt32LE(magic, 0);
  bytes.writeUInt32LE(entries.length, 4);
  for (const [index, { name, time, isGood }] of entries.entries()) {
    const at = headerBytes + index * entryBytes;
    bytes.write(name, at, 'hex');
    bytes.writeUInt32LE(time, at + 32);
    bytes.writeUInt8(isGood ? 1 : 2, at + 36);
  }
  return bytes;
}

export function parseLedger(bytes: Uint8Array, where: string): LedgerEntry[] {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.length < headerBytes) throw new IntegrityError(`${where}: a verification ledger is cut short`);
  checkMagic(view.readUInt32LE(0), magic, where);
  const count = view.readUInt32LE(4);
  if (count > ledgerEntries || headerBytes + count * entryBytes !== view.length) {
    throw new IntegrityError(`${where}: ${count} entries do not fill ${view.length} bytes`);
  }
  return Array.from({ length: count }, (_, index) => {
    const at = headerBytes + index * entryBytes;
    return {
      name: view.toString('hex', at, at + 32),
      time: view.readUInt32LE(at + 32),
      isGood: view.readUInt8(at + 36) === 1,
    };
  });
}
