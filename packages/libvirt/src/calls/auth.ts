/** Calls that come before `connectOpen`: who is it? */
import { array, chars, flag, int32 } from '../xdr.ts';
import { remote } from './procedure.ts';
import { text } from './types.ts';

const saslLimitBytes = 65_536;
/** `isNull` tells no data from empty data, which are different things in SASL. */
const saslData = { isNull: flag, data: chars(saslLimitBytes) };

/** remote_auth_type. */
export const AuthType = { NONE: 0, SASL: 1, POLKIT: 2 } as const;

export const authCalls = {
  authList: remote(66, {}, { types: array(int32, 20) }),
  authSaslInit: remote(67, {}, { mechanisms: text }),
  authSaslStart: remote(68, { mechanism: text, ...saslData }, { complete: flag, ...saslData }),
  authSaslStep: remote(69, { ...saslData }, { complete: flag, ...saslData }),
  authPolkit: remote(70, {}, { complete: flag }),
};
