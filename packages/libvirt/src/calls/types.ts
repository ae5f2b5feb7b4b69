/** The types that calls share. Limits are those of libvirt 9 and later; a daemon that sends more is not believed. */
import { UserError } from '@prima/base';
import { VIR_TYPED_PARAM_STRING_OKAY } from '../constants/features.ts';
import {
  array,
  type Codec,
  defaulting,
  float64,
  flag,
  int32,
  int64,
  optional,
  type Read,
  string,
  struct,
  uint32,
  uint64,
  type XdrReader,
  type XdrWriter,
} from '../xdr.ts';

const textLimitBytes = 4 * 1024 * 1024;

export const text = string(textLimitBytes);
export const optionalText = optional(text);
/** A call's flags: 0 when left out. */
export const flags = defaulting(uint32, 0);
/** Flags of a call that answers with typed parameters: unless told otherwise, those of text are wanted too. */
export const paramFlags = defaulting(uint32, VIR_TYPED_PARAM_STRING_OKAY);
/** Calls that list something can also only count it: that is not asked for. */
export const needResults = defaulting(int32, 1);

export const listLimit = 16_384;

/** `6ba7b810-9dad-11d1-80b4-00c04fd430c8`; 16 bytes on the wire. */
export const uuid: Codec<string> = {
  write(writer, value) {
    const hex = value.replaceAll('-', '');
    if (!/^[0-9a-f]{32}$/i.test(hex)) throw new UserError('usage', `"${value}" is no UUID`);
    writer.place(16).write(hex, 'hex');
  },
  read(reader) {
    const hex = reader.take(16).toString('hex');
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  },
};

/** A machine as libvirt names it; `id` is -1 when it is off. The daemon looks at the UUID. */
export const domain = struct({ name: text, uuid, id: int32 });
export type Domain = Read<typeof domain>;
export const network = struct({ name: text, uuid });
export type Network = Read<typeof network>;
export const nwfilter = struct({ name: text, uuid });
export const networkInterface = struct({ name: text, mac: text });
export const storagePool = struct({ name: text, uuid });
export type StoragePool = Read<typeof storagePool>;
export const storageVolume = struct({ pool: text, name: text, key: text });
export type StorageVolume = Read<typeof storageVolume>;
export const nodeDevice = struct({ name: text });
export const secret = struct({ uuid, usageType: int32, usageId: text });
export type Secret = Read<typeof secret>;
export const snapshot = struct({ name: text, dom: domain });
export type Snapshot = Read<typeof snapshot>;
export const checkpoint = struct({ name: text, dom: domain });
export type Checkpoint = Read<typeof checkpoint>;

/** A named value. Signed and unsigned 64-bit ones are bigints. */
export type TypedParam = { readonly field: string } & (
  | { readonly type: 'int' | 'uint' | 'double'; readonly value: number }
  | { readonly type: 'llong' | 'ullong'; readonly value: bigint }
  | { readonly type: 'boolean'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string }
);

/** virTypedParameterType, by number. */
const paramTypes = ['int', 'uint', 'llong', 'ullong', 'double', 'boolean', 'string'] as const;

export const typedParam: Codec<TypedParam> = {
  write(writer, param) {
    text.write(writer, param.field);
    int32.write(writer, paramTypes.indexOf(param.type) + 1);
    writeValue(writer, param);
  },
  read: (reader) => readParam(text.read(reader), reader),
};

function writeValue(writer: XdrWriter, { type, value }: TypedParam): void {
  switch (type) {
    case 'int':
      return int32.write(writer, value);
    case 'uint':
      return uint32.write(writer, value);
    case 'llong':
      return int64.write(writer, value);
    case 'ullong':
      return uint64.write(writer, value);
    case 'double':
      return float64.write(writer, value);
    case 'boolean':
      return flag.write(writer, value);
    case 'string':
      return text.write(writer, value);
  }
}

function readParam(field: string, reader: XdrReader): TypedParam {
  const number = int32.read(reader);
  const type = paramTypes[number - 1];
  switch (type) {
    case 'int':
      return { field, type, value: int32.read(reader) };
    case 'uint':
      return { field, type, value: uint32.read(reader) };
    case 'llong':
      return { field, type, value: int64.read(reader) };
    case 'ullong':
      return { field, type, value: uint64.read(reader) };
    case 'double':
      return { field, type, value: float64.read(reader) };
    case 'boolean':
      return { field, type, value: flag.read(reader) };
    case 'string':
      return { field, type, value: text.read(reader) };
    default:
      return reader.fail(`parameter ${field} has the type ${number}, which is none`);
  }
}

export const typedParams = (limit: number) => array(typedParam, limit);

/** The values by their names; of a name that is there twice, the last. */
export function paramValues(params: readonly TypedParam[]): Record<string, TypedParam['value']> {
  return Object.fromEntries(params.map(({ field, value }) => [field, value]));
}
