/** What Node's own modules can do, too, but for whole chunks is called by its C interface: the choice between both. */
import { KiB, toPrimaError } from '@prima/base';

/** Below this, loading what calls C is not worth it: pages and records. */
const leastBytes = 64 * KiB;

export interface Direct<T> {
  /** For messages: "zstd". */
  name: string;
  /** The one through Node's modules; `reason` is why. */
  plain: (reason: string) => T;
  /** The one that calls C. It and `tryOut` raise what is wrong with it. */
  native: () => T & { tryOut: () => void };
}

/** Gives what is to be used for so many bytes; what calls C is loaded once a thread, on first use. */
export function directly<T>({ name, plain, native }: Direct<T>): (length: number) => T {
  const small = plain('it is little');
  let own: T | undefined;
  const load = () => {
    try {
      const tried = native();
      tried.tryOut();
      return tried;
    } catch (error) {
      return plain(`${name} cannot be called directly: ${toPrimaError(error, 'loading koffi').message}`);
    }
  };
  return (length) => {
    if (length < leastBytes) return small;
    own ??= load();
    return own;
  };
}
