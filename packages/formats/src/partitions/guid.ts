/** GUIDs as UEFI and Microsoft store them: the first three fields little-endian. */

/** @param bytes at least 16 from `offset` on; gives 36 characters in lower case */
export function parseGuid(bytes: Buffer, offset: number): string {
  const hex = [
    bytes.readUInt32LE(offset).toString(16).padStart(8, '0'),
    bytes
      .readUInt16LE(offset + 4)
      .toString(16)
      .padStart(4, '0'),
    bytes
      .readUInt16LE(offset + 6)
      .toString(16)
      .padStart(4, '0'),
    bytes.toString('hex', offset + 8, offset + 10),
    bytes.toString('hex', offset + 10, offset + 16),
  ];
  return hex.join('-');
}

/** A UUID stored as it is written (RFC 9562), as Linux's file systems do. */
export function parseUuid(bytes: Buffer, offset: number): string {
  const hex = bytes.toString('hex', offset, offset + 16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

export const noGuid = '00000000-0000-0000-0000-000000000000';
