/** How a server or a worker writes its log. */
import { Option } from 'commander';

const logFormats = ['text', 'json'] as const;
export type LogFormat = (typeof logFormats)[number];

export const logFormatOption = (): Option =>
  new Option('--log-format <format>', 'of standard error (default: text at a terminal, else json)').choices(
    logFormats,
  );
