/** The environment of the programs that we start. */

/** What a program of QEMU's needs of our environment; nothing secret is handed on. */
export function plainEnvironment(): NodeJS.ProcessEnv {
  const { PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', HOME, TMPDIR } = process.env;
  return {
    PATH,
    LC_ALL: 'C',
    ...(HOME === undefined ? {} : { HOME }),
    ...(TMPDIR === undefined ? {} : { TMPDIR }),
  };
}
