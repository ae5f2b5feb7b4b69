import type { ServerChoice } from './server-options.ts';

/** Options that every command has. */
export interface GlobalOptions extends ServerChoice {
  repo?: string;
  passphraseFile?: string;
  keyFile?: string;
  recoveryFile?: string;
  askRecovery?: boolean;
  home?: string;
  limitUpload?: number;
  limitDownload?: number;
  cacheSize?: number;
  json?: boolean;
  quiet?: boolean;
  verbose?: boolean;
}
